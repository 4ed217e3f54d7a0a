"""What ends with a registry: each thing once, whatever another one raises."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, TypeAlias

from llmspell.errors import CloseFailed
from llmspell.tools.definition import Tool
from llmspell.tools.threads import awaited

__all__ = ["Ending", "aclose_all", "close_all", "endings_of"]

Ending: TypeAlias = tuple[str, Callable[[], Any]]
"""What is closed, by name, and how: sync or async."""

_Failed: TypeAlias = list[tuple[str, Exception]]


def endings_of(tools: Iterable[Tool]) -> Iterator[Ending]:
    """How those are closed that can be."""
    for tool in tools:
        close = getattr(tool, "close", None)
        if callable(close):
            yield tool.own_name, close


def close_all(endings: Iterable[Ending]) -> None:
    """Close all of them, in order; async ones in an event loop of their own.

    Raises:
        CloseFailed: some couldn't be.
    """
    failed: _Failed = []
    with ExitStack() as stack:  # an interrupt of one lets the others be closed, too
        for ending in reversed([*endings]):
            stack.callback(_close, *ending, failed)
    _raise_for(failed)


async def aclose_all(endings: Iterable[Ending]) -> None:
    """As :func:`close_all`; async ones in this event loop, the others in threads."""
    failed: _Failed = []
    async with AsyncExitStack() as stack:
        for ending in reversed([*endings]):
            stack.push_async_callback(_aclose, *ending, failed)
    _raise_for(failed)


def _close(name: str, close: Callable[[], Any], failed: _Failed) -> None:
    try:
        waiting = close()
        if inspect.isawaitable(waiting):
            awaited(lambda: waiting)
    except Exception as error:
        failed.append((name, error))


async def _aclose(name: str, close: Callable[[], Any], failed: _Failed) -> None:
    try:
        is_async = inspect.iscoroutinefunction(close)
        waiting = close() if is_async else await asyncio.to_thread(close)
        if inspect.isawaitable(waiting):
            await waiting
    except Exception as error:
        failed.append((name, error))


def _raise_for(failed: _Failed) -> None:
    if not failed:
        return
    told = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failed)
    raise CloseFailed(
        f"all is closed, but these raised: {told}", errors=tuple(error for _, error in failed)
    ) from failed[0][1]
