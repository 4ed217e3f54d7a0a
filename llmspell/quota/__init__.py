"""Exact quotas, counted in a ledger that all processes of a data directory share."""

from llmspell.quota.ledger import Ledger, Reservation, Slot
from llmspell.quota.model import OnCrossing, Quota, QuotaUsage, Usage

__all__ = ["Ledger", "OnCrossing", "Quota", "QuotaUsage", "Reservation", "Slot", "Usage"]
