"""The native ledger in terms of llmspell's own types."""

from __future__ import annotations

from llmspell import _hot
from llmspell._hot import Reservation
from llmspell.config import QuotaLimits
from llmspell.quota.model import OnCrossing, Usage, limits_in_units

__all__ = ["Ledger", "Reservation", "Slot"]


class Slot(_hot.Slot):
    """One tenant's counters; see :class:`llmspell._hot.Slot` for the charges."""

    __slots__ = ()

    def set_limits(self, limits: QuotaLimits) -> None:
        """Set all limits. Use beyond a new limit stays; it only admits nothing more."""
        for quota, limit, soft in limits_in_units(limits):
            self.set_limit(quota, limit, soft=soft)

    def usage(self) -> Usage:
        """Use and limit of every quota, read without walking data."""
        return Usage.read(self.read)


class Ledger(_hot.Ledger):
    """Quota counters of all tenants of a data directory; see :class:`llmspell._hot.Ledger`."""

    __slots__ = ()

    def slot(self, key: bytes, on_crossing: OnCrossing | None = None) -> Slot:
        """Find or make the slot of a key of 16 bytes; ``on_crossing`` as :class:`Slot` takes it.

        Raises:
            InputError: the key has another length.
            StorageFull: the disk has no room for more slots.
        """
        return Slot(self, key, on_crossing)
