"""Amounts and quotas that are no integers, on the native ledger and on its pure twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llmspell import errors
from llmspell.quota import Quota, Slot

WRONG: list[Any] = [1.5, 1.0, np.float64(1), "1", None, b"1", [1]]
USES: list[Callable[[Slot, Any], object]] = [
    lambda slot, quota: slot.charge(quota),
    lambda slot, quota: slot.charge_all((quota, 1)),
    lambda slot, quota: slot.refund(quota, 1),
    lambda slot, quota: slot.read(quota),
    lambda slot, quota: slot.set_limit(quota, 5),
    lambda slot, amount: slot.charge(Quota.VECTORS, amount),
    lambda slot, amount: slot.charge_all((Quota.VECTORS, amount)),
    lambda slot, amount: slot.refund(Quota.VECTORS, amount),
    lambda slot, amount: slot.reserve(vectors=amount),
    lambda slot, amount: slot.set_level(Quota.VECTORS, amount),
    lambda slot, amount: slot.set_levels(0, amount, 0, 0),
]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("use", USES)
def test_what_is_no_integer_is_refused_by_name(
    slot: Slot, use: Callable[[Slot, Any], object], value: Any
) -> None:
    with pytest.raises(errors.InputError):
        use(slot, value)
    assert slot.read(Quota.VECTORS) == (0, None)


def test_a_float_is_a_type_error_too(slot: Slot) -> None:
    with pytest.raises(TypeError, match=r"a quota must be an int from 0 to 8, got 1\.5"):
        slot.charge(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an amount must be an int"):
        slot.charge(Quota.VECTORS, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("integer", [int, np.int8, np.int64, np.uint32, bool], ids=str)
def test_integers_of_numpy_are_integers(slot: Slot, integer: Callable[[int], Any]) -> None:
    slot.charge(integer(1), integer(1))
    slot.charge_all((integer(1), integer(1)))
    assert slot.read(integer(1)) == (2, None)


@pytest.mark.parametrize("quota", [-1, 9, 1 << 40, 1 << 70])
def test_a_quota_that_there_is_not_is_named(slot: Slot, quota: int) -> None:
    with pytest.raises(errors.InputError, match="a quota must be an int from 0 to 8"):
        slot.charge(quota)


@pytest.mark.parametrize("lease", ["1", None, True, 0, float("nan"), 86_401])
def test_a_lease_that_is_no_time_is_refused(slot: Slot, lease: Any) -> None:
    with pytest.raises(errors.InputError, match="lease"):
        slot.reserve(vectors=1, lease=lease)
