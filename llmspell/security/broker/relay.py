"""Bytes carried between two sockets, both ways, until both have said all."""

from __future__ import annotations

import contextlib
import selectors
import socket
from dataclasses import dataclass, field

from llmspell.errors import EgressFailed, EgressTimeout
from llmspell.security.broker.connection import READ_SIZE, Charge
from llmspell.security.broker.deadline import Deadline

__all__ = ["relay"]


class _Gone(Exception):
    """A side broke its connection."""

    def __init__(self, side: socket.socket) -> None:
        self.side = side


@dataclass(slots=True)
class _Way:
    """One direction: what was read and isn't written yet is one read's worth at most."""

    source: socket.socket
    sink: socket.socket
    outward: bool
    waiting: memoryview = field(default_factory=lambda: memoryview(b""))
    ended: bool = False

    @property
    def reads(self) -> bool:
        """Whether it can take more."""
        return not self.ended and not self.waiting

    def move(self, charge: Charge) -> None:
        """Read and write what can be at once."""
        if self.reads and (data := self._read()) is not None:
            charge(*((len(data), 0) if self.outward else (0, len(data))), 1)
            self.waiting = memoryview(data)
            if not data:
                self.ended = True
                with contextlib.suppress(OSError):  # it has gone as well
                    self.sink.shutdown(socket.SHUT_WR)
        if self.waiting:
            self._write()

    def _read(self) -> bytes | None:
        try:
            return self.source.recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _Gone(self.source) from error

    def _write(self) -> None:
        try:
            self.waiting = self.waiting[self.sink.send(self.waiting) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise _Gone(self.sink) from error


def relay(
    inner: socket.socket,
    outer: socket.socket,
    *,
    silence: float,
    deadline: Deadline,
    charge: Charge,
) -> None:
    """Carry bytes both ways until both sides have ended, or the worker's has gone.

    Args:
        inner: the worker's.
        outer: the host's.
        silence: seconds that both may be silent.
        deadline: when it ends at the latest.
        charge: told of the bytes, and of each read as a part.

    Raises:
        EgressDenied: ``charge`` refuses.
        EgressTimeout: silence, or the deadline.
        EgressFailed: the host's connection broke.
    """
    outward, inward = _Way(inner, outer, outward=True), _Way(outer, inner, outward=False)
    ways = (outward, inward)
    for side in (inner, outer):
        side.setblocking(False)
    with selectors.DefaultSelector() as selector:
        while any(way.waiting or not way.ended for way in ways):
            for side, out, into in ((inner, outward, inward), (outer, inward, outward)):
                reading = selectors.EVENT_READ if out.reads else 0
                _watch(selector, side, reading | (selectors.EVENT_WRITE if into.waiting else 0))
            if not selector.select(deadline.left(silence)):
                deadline.left()
                raise EgressTimeout(f"nothing was said for {silence:g} s", reason="time")
            try:
                for way in ways:
                    way.move(charge)
            except _Gone as error:
                if error.side is inner:  # which may leave when it likes
                    return
                raise EgressFailed("the connection broke", reason="connection") from error


def _watch(selector: selectors.BaseSelector, side: socket.socket, wanted: int) -> None:
    known = side in selector.get_map()
    if not wanted:
        if known:
            selector.unregister(side)
    elif known:
        selector.modify(side, wanted)
    else:
        selector.register(side, wanted)
