"""The vector index."""

from llmspell.index.arrays import IdBitmap
from llmspell.index.index import Index, check_rows
from llmspell.index.neighbors import Neighbors, RangeNeighbors
from llmspell.index.pages import SearchPages
from llmspell.index.watch import CancelToken, SearchCounters

__all__ = [
    "CancelToken",
    "IdBitmap",
    "Index",
    "Neighbors",
    "RangeNeighbors",
    "SearchCounters",
    "SearchPages",
    "check_rows",
]
