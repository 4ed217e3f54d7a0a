"""Work in threads of its own, with the context variables of who began it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

__all__ = ["awaited", "begin", "finished"]

_R = TypeVar("_R")


def begin(call: Callable[[], _R]) -> Future[_R]:
    """Start a call in a daemon thread: one that never ends doesn't keep the process.

    Raises:
        RuntimeError: no thread can be started.
    """
    future: Future[_R] = Future()
    future.set_running_or_notify_cancel()
    context = copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except (StopIteration, asyncio.CancelledError) as error:
            # No future of asyncio takes the one, so that who awaits it would wait for ever; the
            # other would say that who awaits it was cancelled.
            future.set_exception(RuntimeError(f"it raised {error!r:.200}"))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="llmspell-tool", daemon=True).start()
    return future


def awaited(call: Callable[[], Awaitable[_R]]) -> _R:
    """What an async call comes to, from code that isn't async; also where a loop runs around it."""

    async def main() -> _R:
        return await call()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    return begin(lambda: asyncio.run(main())).result()


async def finished(future: Future[_R], timeout: float | None) -> _R:
    """What a thread's call comes to; it goes on where the awaiting is cancelled, or over.

    Raises:
        TimeoutError: it isn't done in time.
    """
    wrapped = asyncio.wrap_future(future)
    wrapped.add_done_callback(_looked_at)
    done, _ = await asyncio.wait([wrapped], timeout=timeout)
    if not done:
        raise TimeoutError
    return wrapped.result()


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Or the loop would tell of an exception that nobody has asked for."""
    if not future.cancelled():
        future.exception()
