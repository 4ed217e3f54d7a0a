"""What is counted, in which unit, and how use is reported."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

from llmspell.config import QUOTA_NAMES, QuotaLimits

__all__ = ["OnCrossing", "Quota", "QuotaUsage", "Usage", "limits_in_units"]

#: Called with the name of a quota, 80 or 100 percent, its use, and its limit.
OnCrossing = Callable[[str, int, int, int], object]

BYTES_PER_MIB = 1 << 20
MILLIONTHS = 1_000_000


class Quota(enum.IntEnum):
    """A quota of a tenant; the numbers are those of the native ledger.

    The first four are levels, which deletes give back. Three are counted per calendar day or month
    in UTC. Two are rates with a burst of one period's worth.
    """

    DOCUMENTS = 0
    VECTORS = 1
    STORAGE = 2  #: counted in bytes
    DIMENSIONS = 3  #: of the tenant's vectors; charged when the first of them come
    EMBEDDINGS = 4
    TOKENS = 5
    COST = 6  #: counted in millionths of the unit of the limit
    API_CALLS = 7
    QUERIES = 8

    @property
    def limit_name(self) -> str:
        """Field of :class:`llmspell.QuotaLimits` that limits it, as errors name it."""
        return QUOTA_NAMES[self]


_UNITS = {Quota.STORAGE: BYTES_PER_MIB, Quota.COST: MILLIONTHS}


class UnitLimit(NamedTuple):
    """A limit in the unit that is counted; None is unlimited."""

    quota: Quota
    limit: int | None
    soft: bool


def limits_in_units(limits: QuotaLimits) -> Iterator[UnitLimit]:
    """Yield each quota with its limit in the unit that is counted (MiB become bytes)."""
    for quota in Quota:
        limit: float | None = getattr(limits, quota.limit_name)
        units = None if limit is None else round(limit * _UNITS.get(quota, 1))
        yield UnitLimit(quota, units, quota.limit_name in limits.soft)


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """Use of one quota.

    Args:
        used: in use or reserved, in the quota's unit (storage in bytes, cost in millionths).
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
        dimensions: of the vectors; 0 before the first of them.
        embeddings: texts embedded since midnight UTC.
        tokens: of language models since midnight UTC.
        cost: spent since the month began in UTC, in millionths of the unit of
            ``max_cost_per_month``.
        api_calls: of the burst of one minute's worth; 0 where the rate is unlimited.
        queries: of the burst of one second's worth; 0 where the rate is unlimited.
    """

    documents: QuotaUsage
    vectors: QuotaUsage
    storage: QuotaUsage
    dimensions: QuotaUsage
    embeddings: QuotaUsage
    tokens: QuotaUsage
    cost: QuotaUsage
    api_calls: QuotaUsage
    queries: QuotaUsage

    @classmethod
    def read(cls, read: Callable[[Quota], tuple[int, int | None]]) -> Self:
        """Build it from a function that gives ``(used, limit)`` of a quota."""
        return cls(*(QuotaUsage(*read(quota)) for quota in Quota))

    def of(self, quota: Quota) -> QuotaUsage:
        """The part that belongs to ``quota``."""
        part: QuotaUsage = getattr(self, fields(self)[quota].name)
        return part
