"""Calls of a tool's functions in a worker. Stands alone: loaded without the package."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from types import ModuleType
from typing import Any, Final

from frames import CALL, ERROR, RESULT, FrameError, pack_frame, read_frame, write_all

__all__ = ["find", "serve"]

#: Characters of an error's message, and of its traceback.
MESSAGE_CHARS: Final = 2_000
TRACE_CHARS: Final = 8_000


def find(module: ModuleType, name: str) -> Any:
    """A function by its qualified name."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def serve(descriptor: int, module: ModuleType, *, arguments: int, result: int) -> None:
    """Do calls until the parent is gone; both limits are bytes of msgpack."""
    while (message := read_frame(descriptor, arguments)) is not None:
        kind, value = message
        if kind != CALL:
            raise FrameError(f"a call was expected, got a message of kind {kind}")
        name, positional, named = value
        reply = _call(module, name, positional, named, result)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        write_all(descriptor, reply)


def _call(
    module: ModuleType, name: str, positional: list[Any], named: dict[str, Any], limit: int
) -> bytes:
    try:
        made = find(module, name)(*positional, **named)
        if inspect.isawaitable(made):
            made = asyncio.run(_awaited(made))
    except BaseException as error:
        return _failed(error, limit)
    try:
        return pack_frame(RESULT, made, limit)
    except FrameError as error:
        return pack_frame(ERROR, ["FrameError", f"the result: {error}", ""], limit + MESSAGE_CHARS)


async def _awaited(made: Any) -> Any:
    return await made


def _failed(error: BaseException, limit: int) -> bytes:
    try:
        message = str(error)
        trace = "".join(traceback.format_exception(error))
    except BaseException:
        message, trace = "", ""
    told = [type(error).__name__, message[:MESSAGE_CHARS], trace[-TRACE_CHARS:]]
    return pack_frame(ERROR, told, limit + 8 * (MESSAGE_CHARS + TRACE_CHARS))
