"""The instruments of one database: native counters and histograms, grouped by what they count.

All are thread-safe. They know no tenant: what a tenant uses is read from the ledger when it is
asked for, so a label never multiplies the cost of counting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from llmspell._hot import Counter, Histogram, Operation, now_ns
from llmspell.config import QUOTA_NAMES
from llmspell.observability.calls import AgentMetrics, ToolMetrics

__all__ = [
    "CacheState",
    "Counter",
    "Ingestion",
    "Instruments",
    "Operation",
    "Scrubbing",
    "Stages",
    "now_ns",
]


@dataclass(frozen=True, slots=True, init=False)
class Stages:
    """Time spent in the parts of a search by text.

    Args:
        embed: from text to vectors.
        search: in the vector index.
        lexical: in the lexical index.
        rerank: by a model that reads query and texts together.
        fetch: of texts and metadata of the hits.
    """

    embed: Histogram
    search: Histogram
    lexical: Histogram
    rerank: Histogram
    fetch: Histogram

    def __init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Histogram())


@dataclass(frozen=True, slots=True, init=False)
class Ingestion:
    """What became of ingested documents.

    Args:
        written: documents that were new or changed.
        unchanged: documents whose content was there already.
        skipped: sources that were passed over, such as a binary file in a folder.
        chunks: chunks written.
    """

    written: Counter
    unchanged: Counter
    skipped: Counter
    chunks: Counter

    def __init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Counter())


@dataclass(frozen=True, slots=True, init=False)
class Scrubbing:
    """What scrubs have done.

    Args:
        bytes: read by them.
        damages: found by them, those that they repaired included.
    """

    bytes: Counter
    damages: Counter

    def __init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Counter())


class CacheState(Protocol):
    """What an embedding cache did and holds, as ``EmbeddingCacheStats`` says it."""

    @property
    def memory_hits(self) -> int: ...
    @property
    def disk_hits(self) -> int: ...
    @property
    def shared(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def corrupt(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def memory_entries(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def disk_entries(self) -> int: ...
    @property
    def disk_bytes(self) -> int: ...
    @property
    def redis_hits(self) -> int: ...
    @property
    def redis_read_bytes(self) -> int: ...
    @property
    def redis_written(self) -> int: ...
    @property
    def redis_written_bytes(self) -> int: ...
    @property
    def redis_dropped(self) -> int: ...
    @property
    def redis_failed(self) -> int: ...


class Instruments:
    """All instruments of one database; made with it and read by the collector.

    Attributes:
        upsert, insert, update_metadata, get, delete, search, retrieve, ingest, scan, export,
        import_from, operation, run_agent, state: an :class:`Operation` each; use it as
            ``with instruments.search.timed(): ...``.
        stages: :class:`Stages` of a search.
        ingestion: :class:`Ingestion`.
        scrubbing: :class:`Scrubbing`.
        refusals: counters by quota name.
        tools: :class:`ToolMetrics`, of all tenants together.
        agents: :class:`AgentMetrics`, likewise.
        embedding_cache: gives a :class:`CacheState`; None where the database has no such cache.
    """

    OPERATIONS = (
        *("upsert", "insert", "update_metadata", "get", "delete", "search", "retrieve"),
        *("ingest", "scan", "export", "import_from", "operation", "run_agent", "state"),
    )

    def __init__(self) -> None:
        self.refusals = {name: Counter() for name in QUOTA_NAMES}
        self.upsert = Operation(self.refusals)
        self.insert = Operation(self.refusals)
        self.update_metadata = Operation(self.refusals)
        self.get = Operation(self.refusals)
        self.delete = Operation(self.refusals)
        self.search = Operation(self.refusals)
        self.retrieve = Operation(self.refusals)
        self.ingest = Operation(self.refusals)
        self.scan = Operation(self.refusals)
        self.export = Operation(self.refusals)
        self.import_from = Operation(self.refusals)
        self.operation = Operation(self.refusals)
        self.run_agent = Operation(self.refusals)
        self.state = Operation(self.refusals)
        self.stages = Stages()
        self.ingestion = Ingestion()
        self.scrubbing = Scrubbing()
        self.tools = ToolMetrics()
        self.agents = AgentMetrics()
        self.embedding_cache: Callable[[], CacheState] | None = None

    def operations(self) -> dict[str, Operation]:
        """The operations by name."""
        return {name: getattr(self, name) for name in self.OPERATIONS}
