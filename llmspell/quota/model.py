"""What is counted, in which unit, and how use is reported."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Self

from llmspell.config import QuotaLimits

__all__ = ["Quota", "QuotaUsage", "Usage", "limits_in_units"]

BYTES_PER_MIB = 1 << 20


class Quota(enum.IntEnum):
    """A quota of a tenant; the numbers are those of the native ledger.

    The first three are levels, which deletes give back. Embeddings are counted per calendar day in
    UTC. API calls are a rate with a burst of one minute's worth.
    """

    DOCUMENTS = 0
    VECTORS = 1
    STORAGE = 2  #: counted in bytes
    EMBEDDINGS = 3
    API_CALLS = 4

    @property
    def limit_name(self) -> str:
        """Field of :class:`llmspell.QuotaLimits` that limits it, as errors name it."""
        return _LIMIT_NAMES[self]


_LIMIT_NAMES = (
    "max_documents",
    "max_vectors",
    "max_storage_mb",
    "max_embeddings_per_day",
    "max_api_calls_per_minute",
)


def limits_in_units(limits: QuotaLimits) -> Iterator[tuple[Quota, int | None]]:
    """Yield each quota with its limit in the unit that is counted (MiB become bytes)."""
    for quota in Quota:
        limit: int | None = getattr(limits, quota.limit_name)
        if limit is not None and quota is Quota.STORAGE:
            limit *= BYTES_PER_MIB
        yield quota, limit


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """Use of one quota.

    Args:
        used: in use or reserved, in the quota's unit (storage in bytes).
        limit: in the same unit; None is unlimited.
    """

    used: int
    limit: int | None

    @property
    def remaining(self) -> int | None:
        """What would still be admitted; None where unlimited."""
        return None if self.limit is None else max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of each quota of a tenant at one moment.

    Args:
        documents: held now.
        vectors: held now.
        storage: bytes held now.
        embeddings: texts embedded since midnight UTC.
        api_calls: of the burst of one minute's worth; 0 where the rate is unlimited.
    """

    documents: QuotaUsage
    vectors: QuotaUsage
    storage: QuotaUsage
    embeddings: QuotaUsage
    api_calls: QuotaUsage

    @classmethod
    def read(cls, read: Callable[[Quota], tuple[int, int | None]]) -> Self:
        """Build it from a function that gives ``(used, limit)`` of a quota."""
        return cls(*(QuotaUsage(*read(quota)) for quota in Quota))

    def of(self, quota: Quota) -> QuotaUsage:
        """The part that belongs to ``quota``."""
        part: QuotaUsage = getattr(self, fields(self)[quota].name)
        return part
