"""The vector index."""

from llmspell.index.arrays import IdBitmap
from llmspell.index.index import Index, check_rows
from llmspell.index.neighbors import Neighbors

__all__ = ["IdBitmap", "Index", "Neighbors", "check_rows"]
