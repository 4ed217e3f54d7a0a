"""Calls of a tool's functions, in a worker."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from llmspell.security.sandbox.worker.captured import install
from llmspell.security.sandbox.worker.frames import (
    ANSWER,
    ASK,
    CALL,
    ERROR,
    MESSAGE_CHARS,
    READY,
    RESULT,
    TRACE_CHARS,
    FrameError,
    pack_frame,
    read_frame,
    write_all,
)
from llmspell.security.sandbox.worker.functions import called, find_function
from llmspell.security.sandbox.worker.scanning import Scanned

__all__ = ["serve"]

_TOLD: Final = 16 * (MESSAGE_CHARS + TRACE_CHARS)

# Address space is limited, and a thread takes its whole stack of it.
_STACK: Final = 1 << 20


def serve(talk: int, scanned: Scanned, order: dict[str, Any], *, is_closed: bool) -> None:
    """Run the tool's module, say so, and do calls until the owner is gone."""
    limits = order["limits"]
    threading.stack_size(_STACK)
    install(scanned.own, is_closed=is_closed)
    if order["has_network"]:
        _bind_egress(talk, limits)
    try:
        module = importlib.import_module(order["module"])
        for name in order["functions"]:
            find_function(module, name)
    except BaseException as error:
        write_all(talk, _failed(error))
        return
    _rehearse(limits)
    write_all(talk, pack_frame(READY, None, 16))
    functions = frozenset(order["functions"])
    while (message := read_frame(talk, limits["arguments"])) is not None:
        kind, value = message
        if kind != CALL:
            raise FrameError(f"a call was expected, got a message of kind {kind}")
        name, positional, named = value
        if name not in functions:
            raise FrameError(f"{name!r} is none of its functions")
        reply = _call(module, name, positional, named, limits["result"])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        write_all(talk, reply)


def _rehearse(limits: dict[str, Any]) -> None:
    """Do a call of nothing: what it touches is copied from the loader now, and not amid a call."""
    near, far = socket.socketpair()
    with near, far:
        near.sendall(pack_frame(CALL, ["rehearsal", [""], {}], limits["arguments"]))
        message = read_frame(far.fileno(), limits["arguments"])
        assert message is not None
        stage = ModuleType("stage")
        stage.rehearsal = str  # type: ignore[attr-defined]
        name, positional, named = message[1]
        write_all(near.fileno(), _call(stage, name, positional, named, 1 << 10))


def _call(
    module: ModuleType, name: str, positional: list[Any], named: dict[str, Any], limit: int
) -> bytes:
    try:
        made = called(find_function(module, name), positional, named)
    except BaseException as error:
        return _failed(error)
    try:
        return pack_frame(RESULT, made, limit)
    except FrameError as error:
        return pack_frame(ERROR, ["FrameError", f"the result: {error}", ""], _TOLD)


def _failed(error: BaseException) -> bytes:
    try:
        message = str(error)
        trace = "".join(traceback.format_exception(error))
    except BaseException:
        message, trace = "", ""
    told = [type(error).__name__, message[:MESSAGE_CHARS], trace[-TRACE_CHARS:]]
    return pack_frame(ERROR, [_encodable(text) for text in told], _TOLD)


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, as names of files have them."""
    return text.encode(errors="backslashreplace").decode()


def _bind_egress(talk: int, limits: dict[str, Any]) -> None:
    """Where the tool has the client of the broker in memory, join it to this worker's socket."""
    egress = sys.modules.get("llmspell.security.egress")
    if egress is not None:
        egress.bind(_exchange(talk, limits["request"], limits["answer"]))


def _exchange(talk: int, most: int, most_answer: int) -> Callable[[Any], Any]:
    turn = threading.Lock()

    def exchange(request: Any) -> Any:
        with turn:
            write_all(talk, pack_frame(ASK, request, most))
            message = read_frame(talk, most_answer)
        if message is None:
            os._exit(0)
        kind, value = message
        if kind != ANSWER:
            raise FrameError(f"an answer was expected, got a message of kind {kind}")
        return value

    return exchange
