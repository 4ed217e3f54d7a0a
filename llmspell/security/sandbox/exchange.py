"""One message to a worker, and what comes of it until the last one from there.

Whatever a worker writes is data: of bounded size, of the kinds that are expected here, and shown in
errors without what a terminal would obey.
"""

from __future__ import annotations

import math
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmspell.errors import ToolFailed, ToolLimitExceeded, ToolTimeout
from llmspell.security.sandbox.orders import MAX_ANSWER
from llmspell.security.sandbox.worker import frames

if TYPE_CHECKING:
    from llmspell.security.broker.session import Session

__all__ = ["ERROR_BYTES", "Confined", "Exchange", "NeverRead"]

#: What an error may take above the result's limit.
ERROR_BYTES: Final = 1 << 18
_READ: Final = 1 << 18
_TAIL: Final = 300  # characters of stderr in an error
# How many processors one process may keep busy, for when its CPU time is looked at next.
_PROCESSORS: Final = os.cpu_count() or 1


class NeverRead(ToolFailed):
    """The worker's process ended before it had read all of the message: nothing came of that."""


class Confined(Protocol):
    """The worker that is talked to, see :class:`WorkerHandle`."""

    talk: socket.socket
    streams: tuple[int, int]
    output_bytes: int

    def cpu_seconds(self) -> float: ...
    def ran_out_of_memory(self) -> bool: ...
    def kill(self) -> None: ...


class Exchange:
    """One message to a worker, and what comes until the last one from it."""

    def __init__(
        self,
        worker: Confined,
        what: str,
        timeout: float,
        cpu_seconds: float,
        limits: Mapping[int, int],
    ) -> None:
        self._worker = worker
        self._what = what
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._cpu_seconds = cpu_seconds
        self._cpu_before = worker.cpu_seconds() if cpu_seconds < math.inf else 0.0
        self._limits = limits
        self.printed = (bytearray(), bytearray())
        self.is_cut = False
        self._unsent = memoryview(b"")
        self._is_unread = False

    def run(self, message: bytes, session: Session | None) -> tuple[int, Any]:
        talk, streams = self._worker.talk, self._worker.streams
        self._unsent = memoryview(message)
        if message:  # most often it goes at once
            self._send()
        poll = select.poll()
        poll.register(talk, select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN)
        for stream in streams:
            poll.register(stream, select.POLLIN)
        answer = bytearray()
        while True:
            wait = self._wait_ms()
            ready = poll.poll(wait)
            if not ready or not wait:  # also where there is always something to read
                self._require_time()
            for descriptor, events in ready:
                if descriptor != talk.fileno():
                    if not self._drain(streams.index(descriptor)):
                        poll.unregister(descriptor)
                    continue
                if events & select.POLLOUT:
                    self._send()
                    if not self._unsent:
                        poll.modify(talk, select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    answer += self._receive(message)
            found = self._take(answer)
            if found is None:
                continue
            kind, value, end = found
            if len(answer) > end or self._unsent:
                raise self._broken("it says more than it was asked")
            if kind == frames.ASK:
                assert session is not None
                del answer[:end]
                self._unsent = memoryview(self._answer_to(value, session))
                message = b""  # it was read
                poll.modify(talk, select.POLLIN | select.POLLOUT)
                continue
            for index in range(len(self._worker.streams)):
                self._drain(index)
            return kind, value

    def failed(self, value: Any, kind: type[ToolFailed]) -> ToolFailed:
        """The error that a worker told."""
        try:
            given_error, given_text, given_trace = value
        except (TypeError, ValueError):
            return self._broken("its error is none")
        # It need not be what our code there writes.
        error = frames.shown(given_error, 100)
        text = frames.shown(given_text, frames.MESSAGE_CHARS)
        trace = frames.shown(given_trace, frames.TRACE_CHARS)
        if error == "MemoryError" and kind is ToolFailed:
            return ToolLimitExceeded(
                f"{self._what}: {error}: {text}", limit="memory", error=error, trace=trace
            )
        return kind(f"{self._what}: {error}: {text}", error=error, trace=trace)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._worker.talk.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # its end shows where it is read
            self._is_unread = True
            self._unsent = memoryview(b"")

    def _receive(self, message: bytes) -> bytes:
        try:
            part = self._worker.talk.recv(_READ)
        except BlockingIOError:
            return b""
        except ConnectionError:  # it left some of what it was sent
            self._is_unread = True
            part = b""
        if not part:
            raise self._ended(may_be_unread=bool(message))
        return part

    def _take(self, answer: bytearray) -> tuple[int, Any, int] | None:
        try:
            return frames.take_frame(answer, self._limits)
        except frames.FrameError as error:
            raise self._broken(f"its answer can't be read: {error}") from None

    def _answer_to(self, request: Any, session: Session) -> bytes:
        left = max(0.001, self._deadline - time.monotonic())
        answer = session.answer(request, timeout=left)
        try:
            return frames.pack_frame(frames.ANSWER, answer, MAX_ANSWER)
        except frames.FrameError as error:
            raise self._broken(f"what it asked for can't be sent: {error}") from None

    def _wait_ms(self) -> float:
        wait = self._deadline - time.monotonic()
        if self._cpu_seconds < math.inf:
            used = self._worker.cpu_seconds() - self._cpu_before
            wait = min(wait, (self._cpu_seconds - used) / _PROCESSORS + 0.001)
        return max(0.0, wait * 1e3)

    def _require_time(self) -> None:
        used = self._worker.cpu_seconds() - self._cpu_before
        if used >= self._cpu_seconds:
            self._worker.kill()
            raise ToolLimitExceeded(
                f"{self._what}: took its {self._cpu_seconds:g} s of processor time", limit="cpu"
            )
        if time.monotonic() >= self._deadline:
            self._worker.kill()
            raise ToolTimeout(f"{self._what}: not done in {self._timeout:g} s")

    def _ended(self, *, may_be_unread: bool) -> ToolFailed:
        for index in range(len(self._worker.streams)):
            self._drain(index)
        if self._worker.ran_out_of_memory():
            return ToolLimitExceeded(f"{self._what}: took more memory than it may", limit="memory")
        said = frames.shown(bytes(self.printed[1][-_TAIL:]).decode(errors="replace").strip(), _TAIL)
        kind = NeverRead if may_be_unread and (self._is_unread or self._unsent) else ToolFailed
        return kind(f"{self._what}: its process ended" + (f"; it printed: {said}" if said else ""))

    def _broken(self, what: str) -> ToolFailed:
        self._worker.kill()
        return ToolFailed(f"{self._what}: {what}")

    def _drain(self, index: int) -> bool:
        """Take what was printed; False at its end."""
        try:
            part = os.read(self._worker.streams[index], _READ)
        except BlockingIOError:
            return True
        kept = self.printed[index]
        room = self._worker.output_bytes - len(kept)
        self.is_cut |= len(part) > room
        kept += part[:room]
        return bool(part)
