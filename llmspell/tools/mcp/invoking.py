"""Calls of the functions by which prompts, resources and completions are made."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final

from llmspell.errors import ToolTimeout
from llmspell.tools.threads import begin, finished

__all__ = ["SECONDS", "invoked", "kept_by_threads"]

#: That one may take; what isn't async runs on in its thread.
SECONDS: Final = 30.0

_HELD: ContextVar[ExitStack | None] = ContextVar("llmspell_mcp_held", default=None)


@contextmanager
def kept_by_threads(held: ExitStack) -> Iterator[None]:
    """Let a thread that runs on, when nobody waits for it any more, keep what was held for it."""
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)


async def invoked(call: Callable[[], Any], function: Any) -> Any:
    """What a call of a function comes to: in a thread, where it isn't async.

    Raises:
        ToolTimeout: it isn't done in 30 seconds.
    """
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004
    )
    try:
        if is_async:
            async with asyncio.timeout(SECONDS):
                return await call()
        future = begin(call)
        if (held := _HELD.get()) is not None:
            release = held.pop_all().close
            future.add_done_callback(lambda _: release())
        return await finished(future, SECONDS)
    except TimeoutError as error:
        raise ToolTimeout(f"not done in {SECONDS:g} s") from error
