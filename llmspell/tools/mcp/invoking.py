"""Calls of the functions by which prompts, resources and completions are made."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from llmspell.errors import ToolTimeout
from llmspell.tools.threads import begin, finished

__all__ = ["SECONDS", "invoked"]

#: That one may take; what isn't async runs on in its thread.
SECONDS: Final = 30.0


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
        return await finished(begin(call), SECONDS)
    except TimeoutError as error:
        raise ToolTimeout(f"not done in {SECONDS:g} s") from error
