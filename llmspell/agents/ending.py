"""What is done to its end although who waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["to_its_end"]


async def to_its_end(doing: Coroutine[Any, Any, None]) -> None:
    """Await what must be done, and known to be; who is cancelled meanwhile is so then."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at: who is cancelled raises that
        raise
