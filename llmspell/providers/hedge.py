"""Two calls of which the first answer counts; the second begins where the first is late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from llmspell.errors import ProviderError

__all__ = ["hedged", "hedged_stream"]

_R = TypeVar("_R")


async def hedged(
    first: Coroutine[Any, Any, _R], second: Callable[[], Coroutine[Any, Any, _R]], after: float
) -> _R:
    """The first answer of two calls; the other is cancelled.

    Args:
        first: begins at once.
        second: begins where there is no answer after a while.
        after: seconds.
    """
    calls: list[asyncio.Future[_R]] = [asyncio.ensure_future(first)]
    try:
        await _first_answer(calls, lambda: asyncio.ensure_future(second()), after)
        return next(call.result() for call in calls if _has_answer(call))
    finally:
        await _end(calls)


async def hedged_stream(
    first: AsyncGenerator[_R, None], second: Callable[[], AsyncGenerator[_R, None]], after: float
) -> AsyncGenerator[_R, None]:
    """The stream whose first event comes first; the other is closed. As :func:`hedged`."""
    streams = [first]

    def begin() -> asyncio.Future[_R]:
        streams.append(second())
        return asyncio.ensure_future(anext(streams[-1]))

    calls: list[asyncio.Future[_R]] = [asyncio.ensure_future(anext(first))]
    try:
        await _first_answer(calls, begin, after)
        chosen = next(n for n, call in enumerate(calls) if _has_answer(call))
    except BaseException:
        await _end(calls)
        for stream in streams:
            await stream.aclose()
        raise
    async with aclosing(streams.pop(chosen)) as events:
        event = calls.pop(chosen).result()
        await _end(calls)
        for stream in streams:
            await stream.aclose()
        yield event
        async for event in events:
            yield event


async def _first_answer(
    calls: list[asyncio.Future[_R]], begin: Callable[[], asyncio.Future[_R]], after: float
) -> None:
    """Wait until one of them has an answer; raises where none has in the end."""
    done, _ = await asyncio.wait(calls, timeout=after)
    if not done:
        calls.append(begin())
    pending = set(calls)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(_has_answer(call) for call in done):
            return
    # What may have been worked on must not be asked for again, so its error counts first.
    errors = [call.exception() for call in calls]
    raise next(
        (error for error in errors if isinstance(error, ProviderError) and error.is_sent),
        errors[0] or AssertionError("a call without an answer has an error"),
    )


def _has_answer(call: asyncio.Future[Any]) -> bool:
    return call.done() and not call.cancelled() and call.exception() is None


async def _end(calls: list[asyncio.Future[_R]]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
