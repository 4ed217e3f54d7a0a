"""Calls that the collector ends: their event loop was closed while they were under way."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import Any


@contextmanager
def left_pending(
    call: Callable[[asyncio.Event], Coroutine[Any, Any, object]],
) -> Iterator[None]:
    """Begin a call in a loop and close that; nothing but ``gc.collect()`` ends the call inside.

    Args:
        call: sets the event once it is where it is to be left.
    """

    async def begun() -> None:
        at = asyncio.Event()
        task = asyncio.ensure_future(call(at))
        async with asyncio.timeout(20):
            await at.wait()
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be

    gc.disable()
    try:
        with closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(begun())
        del loop
        yield
    finally:
        gc.enable()


def ended_within(call: Callable[[], object], end: Callable[[], object], moment: int) -> bool:
    """Make a call, and within it another one, where the collector might end what does that.

    Args:
        call: is made.
        end: is called in the same thread, at that ``moment`` of all in which ``call`` calls a
            function or comes back from one.
        moment: from 0 on.

    Returns:
        Whether there are so many.
    """
    left = moment

    def look(*_: object) -> None:
        nonlocal left
        if not left:
            sys.setprofile(None)
            end()
        left -= 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(before)
    return left < 0
