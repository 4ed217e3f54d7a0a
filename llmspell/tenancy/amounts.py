"""Amounts that a caller gives of what quotas count: checked, and in the ledger's own units."""

from __future__ import annotations

import math
from typing import Final

from llmspell.errors import InputError
from llmspell.quota import MILLIONTHS

__all__ = ["as_amount", "as_count", "in_millionths"]

#: What the ledger takes of an amount; far more than any quota admits.
_MAX_COUNT: Final = (1 << 63) - 1
_MAX_MONEY: Final = 1e12


def as_count(name: str, value: object) -> int:
    """A whole number from 0 on; raises InputError, which calls it ``name``."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    if not is_count or not 0 <= value <= _MAX_COUNT:  # type: ignore[operator]
        raise InputError(f"{name} must be an int from 0 to 2**63 - 1, got {value!r}")
    return value  # type: ignore[return-value]


def as_amount(name: str, value: object) -> float:
    """Money, or seconds, from 0 on; raises InputError, which calls it ``name``."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_MONEY:  # type: ignore[operator]
        raise InputError(f"{name} must be a number from 0 to {_MAX_MONEY:,.0f}, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def in_millionths(cost: float) -> int:
    """Money, rounded up, but for the error of a float: 0.07 is 70,000 millionths."""
    return math.ceil(round(cost * MILLIONTHS, 3))
