"""Bytes carried between two sockets, both ways, until both have said all."""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass, field

from llmspell.errors import EgressFailed, EgressTimeout
from llmspell.security.broker.connection import READ_SIZE, Charge
from llmspell.security.broker.deadline import Deadline

__all__ = ["relay"]


@dataclass(slots=True)
class _Way:
    """One direction: what was read and isn't written yet is one read's worth at most."""

    source: socket.socket
    sink: socket.socket
    outward: bool
    waiting: memoryview = field(default_factory=lambda: memoryview(b""))
    ended: bool = False

    def move(self, charge: Charge) -> bool:
        """Read and write what can be at once; whether anything was."""
        moved = False
        try:
            if not self.waiting and not self.ended:
                data = self.source.recv(READ_SIZE)
                charge(*((len(data), 0) if self.outward else (0, len(data))))
                self.waiting = memoryview(data)
                moved = True
                if not data:
                    self.ended = True
                    self.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        try:
            if self.waiting:
                self.waiting = self.waiting[self.sink.send(self.waiting) :]
                moved = True
        except BlockingIOError:
            pass
        return moved


def relay(
    inner: socket.socket,
    outer: socket.socket,
    *,
    silence: float,
    deadline: Deadline,
    charge: Charge,
) -> None:
    """Carry bytes both ways until both sides have ended.

    Args:
        inner: the worker's.
        outer: the host's.
        silence: seconds that both may be silent.
        deadline: when it ends at the latest.
        charge: told of the bytes.

    Raises:
        EgressDenied: ``charge`` refuses.
        EgressTimeout: silence, or the deadline.
        EgressFailed: a connection broke.
    """
    ways = (_Way(inner, outer, outward=True), _Way(outer, inner, outward=False))
    for side in (inner, outer):
        side.setblocking(False)
    with selectors.DefaultSelector() as selector:
        while not all(way.ended and not way.waiting for way in ways):
            for side, out, into in ((inner, ways[0], ways[1]), (outer, ways[1], ways[0])):
                wanted = 0
                if not out.ended and not out.waiting:
                    wanted |= selectors.EVENT_READ
                if into.waiting:
                    wanted |= selectors.EVENT_WRITE
                _watch(selector, side, wanted)
            if not selector.select(deadline.left(silence)):
                deadline.left()
                raise EgressTimeout(f"nothing was said for {silence:g} s", reason="time")
            try:
                for way in ways:
                    way.move(charge)
            except OSError as error:
                if isinstance(error, BlockingIOError | ConnectionError | TimeoutError):
                    raise EgressFailed("the connection broke", reason="connection") from error
                raise


def _watch(selector: selectors.BaseSelector, side: socket.socket, wanted: int) -> None:
    known = side in selector.get_map()
    if not wanted:
        if known:
            selector.unregister(side)
    elif known:
        selector.modify(side, wanted)
    else:
        selector.register(side, wanted)
