"""What an embedding cache has done, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmspell.observability import Counter

__all__ = ["Counters", "EmbeddingCacheStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCacheStats:
    """Counts since the cache was opened, and what it holds now.

    Each text that was asked for counts once: as a hit of the tier that had it, as ``shared`` where
    another call, or the same one, was embedding it, or as a miss. A call that fails, for the model
    does, leaves its texts counted as misses.

    Args:
        memory_hits, disk_hits: texts whose vector was there.
        shared: texts that waited for the vector that was being made for another.
        misses: texts that were embedded, or were to be.
        evicted: vectors that went from memory for others to stay.
        corrupt: entries on disk, or from Redis, that didn't hold what they were written with; each
            is a miss.
        dropped: vectors that weren't written to disk, for too many waited, or the disk failed.
        memory_entries, memory_bytes: held in memory.
        disk_entries, disk_bytes: keys and values on disk, of the tenants whose cache is open.
        redis_hits: texts whose vector a server had that hosts share.
        redis_read_bytes: values that came from there, sound or not.
        redis_written, redis_written_bytes: vectors written there, and the bytes of their values.
        redis_dropped: vectors that weren't, for too many waited, or the server failed or refused.
        redis_failed: times that the server failed, or didn't answer in time.
    """

    memory_hits: int
    disk_hits: int
    shared: int
    misses: int
    evicted: int
    corrupt: int
    dropped: int
    memory_entries: int
    memory_bytes: int
    disk_entries: int
    disk_bytes: int
    redis_hits: int
    redis_read_bytes: int
    redis_written: int
    redis_written_bytes: int
    redis_dropped: int
    redis_failed: int

    @property
    def hit_share(self) -> float:
        """Share of the texts that needn't be embedded; 0 before the first."""
        hits = self.memory_hits + self.disk_hits + self.redis_hits + self.shared
        return hits / (hits + self.misses) if hits + self.misses else 0.0


@dataclass(frozen=True, slots=True, init=False)
class Counters:
    """The counts of :class:`EmbeddingCacheStats`. Thread-safe."""

    memory_hits: Counter
    disk_hits: Counter
    shared: Counter
    misses: Counter
    evicted: Counter
    corrupt: Counter
    dropped: Counter
    redis_hits: Counter
    redis_read_bytes: Counter
    redis_written: Counter
    redis_written_bytes: Counter
    redis_dropped: Counter
    redis_failed: Counter

    def __init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Counter())

    def values(self) -> dict[str, int]:
        """All of them by name."""
        return {field.name: getattr(self, field.name).value for field in fields(self)}
