"""What the cost of a charge is measured on: the ledger, its twin, ``limits``, plain counters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.versions import versions_of
from llmspell.quota import Quota, _pure
from llmspell.quota._native import Ledger

__all__ = ["LEVEL", "LOOP", "SHARED", "Calls", "candidates", "counted"]

LEVEL: Final = "ledger, a level"
LOOP: Final = "the loop alone"
_COUNTER: Final = "counter in shared memory"
#: Those that several processes can charge.
SHARED: Final = (LEVEL, "ledger, a rate", "ledger, a call and a query", _COUNTER)

_LIMIT: Final = 1 << 40
#: A moving window remembers each hit that it admits, so most of the hits timed are refusals.
_WINDOW: Final = 100
_KEY: Final = b"k" * 16
_PAIRS: Final = ((int(Quota.API_CALLS), 1), (int(Quota.QUERIES), 1))

#: Makes a number of charges.
Calls: TypeAlias = Callable[[int], None]


def candidates() -> Mapping[str, Callable[[Path, Any], Calls]]:
    """By name, what makes the charges of a folder; ``limits`` only where it is installed.

    The second argument is a ``multiprocessing.Value`` for the counter in shared memory.
    """
    found: dict[str, Callable[[Path, Any], Calls]] = {
        LOOP: _nothing,
        LEVEL: _level,
        "ledger, a rate": _rate,
        "ledger, a call and a query": _pair,
        "pure twin, a level": partial(_twin, Quota.VECTORS),
        "pure twin, a rate": partial(_twin, Quota.API_CALLS),
        "counter behind a lock": _locked,
        _COUNTER: _in_shared_memory,
    }
    if versions_of(["limits"])["limits"] is not None:
        found["limits, fixed window"] = partial(_limiter, "FixedWindowRateLimiter", _LIMIT)
        found["limits, moving window"] = partial(_limiter, "MovingWindowRateLimiter", _WINDOW)
    return found


def counted(folder: Path) -> int:
    """Units of the level that the ledger of a folder says are used."""
    return int(Ledger(folder / "ledger").slot(_KEY).read(Quota.VECTORS)[0])


def _nothing(folder: Path, shared: Any) -> Calls:
    def pass_often(calls: int) -> None:
        for _ in range(calls):
            pass

    return pass_often


def _level(folder: Path, shared: Any) -> Calls:
    return _native(folder, Quota.VECTORS)


def _rate(folder: Path, shared: Any) -> Calls:
    return _native(folder, Quota.API_CALLS)


def _native(folder: Path, quota: Quota) -> Calls:
    slot = Ledger(folder / "ledger").slot(_KEY)
    slot.set_limit(quota, _LIMIT)
    charge = slot.charge

    def charge_often(calls: int) -> None:
        for _ in range(calls):
            charge(quota)

    return charge_often


def _pair(folder: Path, shared: Any) -> Calls:
    slot = Ledger(folder / "ledger").slot(_KEY)
    for quota, _ in _PAIRS:
        slot.set_limit(quota, _LIMIT)
    charge = slot.charge_all

    def charge_often(calls: int) -> None:
        for _ in range(calls):
            charge(*_PAIRS)

    return charge_often


def _twin(quota: Quota, folder: Path, shared: Any) -> Calls:
    slot = _pure.Ledger(folder / "pure").slot(_KEY)
    slot.set_limit(quota, _LIMIT)
    return _repeat(partial(slot.charge, quota))


def _limiter(strategy: str, limit: int, folder: Path, shared: Any) -> Calls:
    import limits

    limiter = getattr(limits.strategies, strategy)(limits.storage.MemoryStorage())
    rate = limits.RateLimitItemPerMinute(limit)
    return _repeat(partial(limiter.hit, rate, "tenant"))


def _locked(folder: Path, shared: Any) -> Calls:
    lock = threading.Lock()
    used = 0

    def charge(amount: int = 1) -> None:
        nonlocal used
        with lock:
            if used + amount > _LIMIT:
                raise OverflowError
            used += amount

    return _repeat(charge)


def _in_shared_memory(folder: Path, shared: Any) -> Calls:
    def charge(amount: int = 1) -> None:
        with shared:
            if shared.value + amount > _LIMIT:
                raise OverflowError
            shared.value += amount

    return _repeat(charge)


def _repeat(call: Callable[[], object]) -> Calls:
    """Charges that are one call each."""

    def call_often(calls: int) -> None:
        for _ in range(calls):
            call()

    return call_often
