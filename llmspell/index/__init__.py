"""The vector index."""

from llmspell.index.arrays import IdBitmap
from llmspell.index.audit import GraphFaults, IndexAudit, IndexRepairs
from llmspell.index.calibration import RecallCurve, RecallPoint, as_recall
from llmspell.index.estimate import MemoryEstimate, estimate_memory
from llmspell.index.index import Index, check_rows
from llmspell.index.neighbors import Neighbors, RangeNeighbors
from llmspell.index.pages import SearchPages
from llmspell.index.stats import IndexMemory, IndexStats
from llmspell.index.watch import CancelToken, SearchCounters

__all__ = [
    "CancelToken",
    "GraphFaults",
    "IdBitmap",
    "Index",
    "IndexAudit",
    "IndexMemory",
    "IndexRepairs",
    "IndexStats",
    "MemoryEstimate",
    "Neighbors",
    "RangeNeighbors",
    "RecallCurve",
    "RecallPoint",
    "SearchCounters",
    "SearchPages",
    "as_recall",
    "check_rows",
    "estimate_memory",
]
