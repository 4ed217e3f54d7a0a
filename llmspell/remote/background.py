"""An event loop in a thread, for callers that have none, or one that ends before what they keep."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

from llmspell.errors import InputError

__all__ = ["await_in_background", "run_in_background"]

_R = TypeVar("_R")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def run_in_background(coroutine: Coroutine[Any, Any, _R], *, holds_up: bool = False) -> _R:
    """Run a coroutine to its end from a thread without an event loop. Thread-safe.

    It sees the caller's operation and deadline. An interrupt of the caller cancels it.

    Args:
        coroutine: to run.
        holds_up: whether it may be called in an event loop, which stands still meanwhile.

    Raises:
        InputError: the caller is in an event loop that would stand still, and mustn't; or in the
            very one that runs the coroutine.
        RuntimeError: no thread can be started.
    """
    here = _loop_here()
    if here is not None and (here is _loop or not holds_up):
        coroutine.close()
        raise InputError("this call would hold up the running event loop; await the async form")
    begun = _Begun(coroutine)
    try:
        return begun.future.result()
    except BaseException:
        begun.cancel()
        raise


async def await_in_background(coroutine: Coroutine[Any, Any, _R]) -> _R:
    """As :func:`run_in_background`, from any event loop. Cancelling it cancels the coroutine.

    It then waits for the end of that.
    """
    begun = _Begun(coroutine)
    ended = asyncio.wrap_future(begun.future)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        begun.cancel()
        await asyncio.wait([ended])
        if not ended.cancelled():
            ended.exception()  # it was looked at
        raise


class _Begun(Generic[_R]):
    """A coroutine that runs in the background; ``future`` ends with it."""

    def __init__(self, coroutine: Coroutine[Any, Any, _R]) -> None:
        self.future: Future[_R] = Future()
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[_R] | None = None
        try:
            self._running = _running()
        except BaseException:
            coroutine.close()
            raise
        self._running.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Cancel it; from any thread. Does nothing where it has ended."""
        if not self.future.done():
            self._running.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        self._task = self._running.create_task(self._coroutine, context=self._context)
        self._task.add_done_callback(self._tell)

    def _cancel(self) -> None:
        assert self._task is not None, "what is told to a loop comes in its order"
        self._task.cancel()

    def _tell(self, task: asyncio.Task[_R]) -> None:
        if task.cancelled():
            self.future.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _running() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():  # a fork leaves the thread behind
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run, args=(loop,), name="llmspell-remote", daemon=True
            )
            try:
                thread.start()
            except BaseException:  # the next call tries again
                loop.close()
                raise
            _loop, _pid = loop, os.getpid()
        return _loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop for ever, whatever code of the user's raises in it."""
    while True:
        # A task tells SystemExit to who waits for it, and ends the loop of all others besides.
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
