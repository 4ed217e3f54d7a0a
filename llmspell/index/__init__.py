"""The vector index."""

from llmspell.index.arrays import IdBitmap
from llmspell.index.index import Index
from llmspell.index.neighbors import Neighbors

__all__ = ["IdBitmap", "Index", "Neighbors"]
