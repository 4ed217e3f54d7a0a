"""An event loop in a thread, for callers that have none."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from llmspell.errors import InputError

__all__ = ["run_in_background"]

_R = TypeVar("_R")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def run_in_background(coroutine: Coroutine[Any, Any, _R]) -> _R:
    """Run a coroutine to its end from a thread without an event loop. Thread-safe.

    It sees the caller's operation and deadline. An interrupt of the caller cancels it.

    Raises:
        InputError: the caller is in an event loop, which would stand still meanwhile.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        coroutine.close()
        raise InputError("this call would hold up the running event loop; await the async form")
    future: Future[_R] = Future()
    context = contextvars.copy_context()
    loop = _running()
    loop.call_soon_threadsafe(_start, loop, coroutine, future, context)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _start(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, _R],
    future: Future[_R],
    context: contextvars.Context,
) -> None:
    task = loop.create_task(coroutine, context=context)

    def end_with(future: Future[_R]) -> None:
        if future.cancelled():
            loop.call_soon_threadsafe(task.cancel)

    def tell(task: asyncio.Task[_R]) -> None:
        # From here on an interrupt of the caller no longer cancels it.
        if not future.set_running_or_notify_cancel():
            return
        if task.cancelled():
            future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    future.add_done_callback(end_with)
    task.add_done_callback(tell)


def _running() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():  # a fork leaves the thread behind
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(
                target=_loop.run_forever, name="llmspell-providers", daemon=True
            ).start()
        return _loop
