"""Crossings that a commit leads to: told of once its locks are free, and only where it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from llmspell._hot import ToldAfter
from llmspell.quota.model import OnCrossing

__all__ = ["count_kept", "forget_kept", "outside_of_locks", "told_after"]


class _Kept(threading.local):
    """What this thread will tell; None where it holds no lock."""

    calls: list[Callable[[], object]] | None = None


_KEPT = _Kept()


def outside_of_locks(told: OnCrossing) -> OnCrossing:
    """Have ``told`` called at once, or after the block of :func:`told_after` that this runs in."""

    def tell(quota: str, percent: int, used: int, limit: int) -> None:
        if _KEPT.calls is None:
            told(quota, percent, used, limit)
        else:
            _KEPT.calls.append(partial(told, quota, percent, used, limit))

    return tell


def told_after() -> AbstractContextManager[None]:
    """Around what takes locks: keep the crossings of this thread, and tell of them at the end."""
    return ToldAfter(_KEPT)


def count_kept() -> int:
    """How many crossings this thread keeps, for :func:`forget_kept`."""
    calls = _KEPT.calls
    return 0 if calls is None else len(calls)


def forget_kept(count: int) -> None:
    """Of the crossings that this thread keeps, forget all but the first so many."""
    if _KEPT.calls is not None:
        del _KEPT.calls[count:]
