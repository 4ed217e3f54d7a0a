"""Exact quotas, counted in a ledger that all processes of a data directory share.

:class:`SharedLedger` counts them for several hosts.
"""

from llmspell.quota.ledger import Ledger, Reservation, Slot
from llmspell.quota.model import OnCrossing, Quota, QuotaUsage, Usage
from llmspell.quota.shared import SharedLedger, SharedReservation, SharedSlot

__all__ = [
    "Ledger",
    "OnCrossing",
    "Quota",
    "QuotaUsage",
    "Reservation",
    "SharedLedger",
    "SharedReservation",
    "SharedSlot",
    "Slot",
    "Usage",
]
