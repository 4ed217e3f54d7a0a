"""Exact quotas, counted in a ledger that all processes of a data directory share.

:class:`SharedLedger` counts them for several hosts.
"""

from llmspell.quota.crossings import count_kept, forget_kept, outside_of_locks, told_after
from llmspell.quota.header import check_header
from llmspell.quota.joined import SHARED_QUOTAS, JoinedSlot
from llmspell.quota.ledger import Ledger, Reservation, Slot
from llmspell.quota.model import MILLIONTHS, OnCrossing, Quota, QuotaUsage, Usage
from llmspell.quota.places import HeldPlaces, Place, Places
from llmspell.quota.shared import SharedLedger, SharedReservation, SharedSlot, WhenAway

__all__ = [
    "MILLIONTHS",
    "SHARED_QUOTAS",
    "HeldPlaces",
    "JoinedSlot",
    "Ledger",
    "OnCrossing",
    "Place",
    "Places",
    "Quota",
    "QuotaUsage",
    "Reservation",
    "SharedLedger",
    "SharedReservation",
    "SharedSlot",
    "Slot",
    "Usage",
    "WhenAway",
    "check_header",
    "count_kept",
    "forget_kept",
    "outside_of_locks",
    "told_after",
]
