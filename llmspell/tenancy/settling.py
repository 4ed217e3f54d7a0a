"""Charging what was used before it could be refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmspell.errors import QuotaExceeded
from llmspell.quota import Quota

if TYPE_CHECKING:
    from llmspell.quota import Slot

__all__ = ["charge_used"]


def charge_used(
    slot: Slot, due: Mapping[Quota, int]
) -> tuple[dict[Quota, int], QuotaExceeded | None]:
    """Charge as much as fits; may ask a server.

    It was used, so it doesn't matter whether the tenant is suspended by now.

    Args:
        slot: of the tenant.
        due: amounts above 0.

    Returns:
        What was charged, and the refusal where that isn't all.

    Raises:
        ClosedError: the tenant was dropped.
    """
    left, refusal = dict(due), None
    while left:
        try:
            slot.reserve(**{quota.name.lower(): n for quota, n in left.items()}).settle()
            break
        except QuotaExceeded as error:
            refusal = error
            full = next(quota for quota in left if quota.limit_name == error.quota)
            left[full] = min(error.limit - error.used, left[full] - 1)
            left = {quota: n for quota, n in left.items() if n > 0}
    return left, refusal
