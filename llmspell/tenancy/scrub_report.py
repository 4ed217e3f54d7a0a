"""What a scrub found, and how far one has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["DatabaseScrubReport", "OnScrub", "ScrubDamage", "ScrubProgress", "ScrubReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubDamage:
    """One thing that a scrub found damaged.

    Args:
        where: a record by its row and id, an entry of a table, or a file of the tenant by its name.
        what: is wrong with it.
        repaired: whether it is a file of a view, and was written anew from the log.
    """

    where: str
    what: str
    repaired: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (" (repaired)" if self.repaired else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubProgress:
    """How far the scrub of a tenant has come.

    Args:
        tenant_id: of the tenant.
        records: looked at so far.
        total: records that the tenant has; None where its counters are damaged.
        bytes_read: so far, files of views included.
        damages: found so far.
    """

    tenant_id: str
    records: int
    total: int | None
    bytes_read: int
    damages: int


OnScrub: TypeAlias = Callable[[ScrubProgress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What the scrub of a tenant has looked at, and what it found.

    Args:
        tenant_id: of the tenant.
        records: that hold, chunks of documents included, and those that have expired and are still
            there.
        vectors: that hold.
        documents: ingested documents.
        state_entries: values of the state, and lists with each of their items.
        log_entries: of the log.
        snapshots: files that its views open from.
        bytes_read: of all these.
        seconds: wall-clock time, waits for the rate included.
        damages: found, in the order in which they were.
        is_recounted: whether the bytes of all records could be held against the counters: not where
            others wrote all the while, or a record is damaged. Numbers of records, vectors and
            documents are compared in any case.
        is_complete: False where it was cancelled.
    """

    tenant_id: str
    records: int
    vectors: int
    documents: int
    state_entries: int
    log_entries: int
    snapshots: int
    bytes_read: int
    seconds: float
    damages: tuple[ScrubDamage, ...]
    is_recounted: bool
    is_complete: bool

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged, or all that was is repaired, of what it looked at."""
        return all(damage.repaired for damage in self.damages)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseScrubReport:
    """What the scrub of a database has looked at, and what it found.

    Args:
        tenants: a report of each, in the order of the list.
        damages: of the catalog and the ledger.
        bytes_read: of all together.
        seconds: wall-clock time, waits for the rate included.
        is_complete: False where it was cancelled.
    """

    tenants: tuple[ScrubReport, ...]
    damages: tuple[ScrubDamage, ...]
    bytes_read: int
    seconds: float
    is_complete: bool

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged, or all that was is repaired, of what it looked at."""
        own = all(damage.repaired for damage in self.damages)
        return own and all(report.is_sound for report in self.tenants)
