"""Threads in which the async forms of a database and its handles run what blocks."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from llmspell.errors import ClosedError

__all__ = ["Workers"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Workers:
    """Threads that blocking calls run in; more calls than threads wait in line.

    Args:
        threads: at most; those of the event loop that asks, as ``asyncio.to_thread``, where None.
    """

    def __init__(self, threads: int | None) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._executor = (
            None if threads is None else ThreadPoolExecutor(threads, thread_name_prefix="llmspell")
        )
        self._is_closed = False

    async def run(self, call: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Await a call that runs in a thread, with the context variables of the caller.

        A caller that is cancelled goes on at once; the call itself runs to its end.

        Raises:
            ClosedError: the workers are closed.
        """
        import asyncio

        if self._is_closed:
            raise ClosedError("the database is closed")
        loop = asyncio.get_running_loop()
        context = copy_context()
        run = partial(context.run, _for_a_future, partial(call, *args, **kwargs))
        try:
            running = loop.run_in_executor(self._executor, run)
        except RuntimeError:
            if self._is_closed:  # in this very moment, from another thread
                raise ClosedError("the database is closed") from None
            raise
        return await running

    async def run_stoppable(self, call: Callable[[Callable[[], bool]], _R]) -> _R:
        """As :meth:`run`, of a call that takes what it asks now and then whether to stop.

        It is to stop where its caller is cancelled, or the workers are closed.
        """
        is_left = False
        try:
            return await self.run(call, lambda: is_left or self._is_closed)
        except BaseException:
            is_left = True
            raise

    async def close(self, last: Callable[[], None]) -> None:
        """Refuse new calls, let those under way end, then call ``last``.

        A caller that is cancelled waits for that too, and is cancelled then.
        """
        import asyncio

        def end() -> None:
            if self._executor is not None:
                self._executor.shutdown()
            last()

        self._is_closed = True
        ending = asyncio.ensure_future(asyncio.to_thread(end))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise


def _for_a_future(call: Callable[[], _R]) -> _R:
    """What a call gives; in place of StopIteration, which no future takes, another error."""
    try:
        return call()
    except StopIteration as error:
        raise RuntimeError(f"it raised {error!r:.200}") from error
