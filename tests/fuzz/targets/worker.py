"""The owner's and the scanner's ends of what a confined process writes.

The first byte says who reads: an exchange, a scan, or a descriptor that blocks. For an exchange
three more follow: flags, the most bytes of one read, and how many sixteenths of the rest the worker
prints; the others are its answer.
"""

from __future__ import annotations

import math
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from llmspell.errors import ToolFailed, ToolNotLoaded, ToolTimeout
from llmspell.security.sandbox.exchange import Exchange
from llmspell.security.sandbox.worker import frames, scanning

MOST = 1 << 16
OUTPUT = 100
ASKS, STAYS = 1, 2
# More than a socket holds would block what writes it.
MOST_INPUT = 1 << 15


def run(data: bytes) -> None:
    """Read as one of those that the first byte names."""
    if data and len(data) < MOST_INPUT:
        (_exchange, _scan, _read)[data[0] % 3](data[1:])


class _InPieces:
    """A socket that gives few bytes at a time."""

    def __init__(self, whole: socket.socket, most: int) -> None:
        self.fileno = whole.fileno
        self.send = whole.send
        self._whole = whole
        self._most = most

    def recv(self, size: int) -> bytes:
        return self._whole.recv(min(size, self._most))


class _Worker:
    output_bytes = OUTPUT

    def __init__(self, talk: Any, streams: tuple[int, int]) -> None:
        self.talk = talk
        self.streams = streams
        self.is_killed = False

    def cpu_seconds(self) -> float:
        return 0.0

    def ran_out_of_memory(self) -> bool:
        return False

    def kill(self) -> None:
        self.is_killed = True


class _Echo:
    def answer(self, request: Any, *, timeout: float) -> Any:
        return request


def _exchange(data: bytes) -> None:
    if len(data) < 3:
        return
    flags, most, sixteenths = data[:3]
    cut = 3 + (len(data) - 3) * (sixteenths % 16) // 16
    ours, theirs = socket.socketpair()
    pipes = [os.pipe(), os.pipe()]
    try:
        ours.setblocking(False)
        theirs.sendall(data[cut:])
        for (reading, writing), printed in zip(pipes, (b"", data[3:cut]), strict=True):
            os.set_blocking(reading, False)
            os.write(writing, printed)
            os.close(writing)
        if not flags & STAYS:
            theirs.shutdown(socket.SHUT_WR)
        worker = _Worker(_InPieces(ours, most or MOST), (pipes[0][0], pipes[1][0]))
        _talk(worker, flags)
    finally:
        ours.close()
        theirs.close()
        for reading, _ in pipes:
            os.close(reading)


def _talk(worker: _Worker, flags: int) -> None:
    timeout = 0.002 if flags & STAYS else 60.0
    kinds = [frames.RESULT, frames.ERROR, *([frames.ASK] if flags & ASKS else [])]
    exchange = Exchange(worker, "it", timeout, math.inf, dict.fromkeys(kinds, MOST))
    try:
        kind, value = exchange.run(b"call", _Echo() if flags & ASKS else None)
    except ToolTimeout:
        assert worker.is_killed and flags & STAYS
    except ToolFailed as error:
        _check_told(error, 1_000)
    else:
        assert kind in (frames.RESULT, frames.ERROR)
        if kind == frames.ERROR:
            for made in (ToolFailed, ToolNotLoaded):
                _check_told(exchange.failed(value, made), 5 * frames.MESSAGE_CHARS)
    assert all(len(kept) <= OUTPUT for kept in exchange.printed)


def _check_told(error: Exception, most: int) -> None:
    """What a worker said is short in an error, and nothing that a terminal obeys."""
    assert len(str(error)) < most
    assert all(one.isprintable() or one in "\n\t" for one in str(error))


def _write_tool(folder: Path) -> None:
    (folder / "pack" / "inner").mkdir(parents=True)
    (folder / "pack" / "bare").mkdir()
    for name in ("tool", "helper", "pack/__init__", "pack/one", "pack/inner/__init__"):
        (folder / f"{name}.py").write_text("import os\n")


_FOLDER = tempfile.TemporaryDirectory(prefix="llmspell-fuzz-")
_TOOL = Path(_FOLDER.name)
_write_tool(_TOOL)


def _scan(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    order = {
        "module": "tool",
        "source": None,
        "tool_paths": [str(_TOOL)],
        "libraries": [],
        "preload": [],
    }
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            found = scanning._Scan(order, ours.fileno()).all()
        except scanning.ScanFailed as error:
            _check_told(error, 10_000)
            return
    assert len(found.own) <= scanning.MAX_MODULES
    for name, module in found.own.items():
        assert isinstance(name, str) and isinstance(module.code, bytes)
        assert len(module.code) <= len(data)
        assert Path(module.origin).is_relative_to(_TOOL)


def _read(data: bytes) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        while (found := frames.read_frame(reading, MOST)) is not None:
            kind, value = found
            # An extension's number is lost by an echo, and no answer of ours has one.
            try:
                again = frames.pack_frame(kind, value, 64 * MOST)
            except frames.FrameError:
                continue
            taken = frames.take_frame(again, {kind: 64 * MOST}, MOST)
            assert taken is not None and taken[0] == kind and taken[2] == len(again)
    except frames.FrameError:
        pass
    finally:
        os.close(reading)
