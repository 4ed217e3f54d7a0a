"""The owner's end of one worker: a call goes in, data and what was printed come out."""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from llmspell.errors import InputError, ToolFailed, ToolLimitExceeded, ToolNotLoaded, ToolTimeout
from llmspell.security.sandbox.fork_server import Loader
from llmspell.security.sandbox.groups import GroupPool
from llmspell.security.sandbox.orders import MAX_ANSWER, MAX_ARGUMENTS
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker import frames
from llmspell.security.sandbox.worker.serving import MESSAGE_CHARS, TRACE_CHARS

__all__ = ["Asked", "WorkerHandle"]

#: What an error may take above the result's limit.
_ERROR_BYTES: Final = 1 << 18
_READ: Final = 1 << 18
_READY_SECONDS: Final = 30.0
_TAIL: Final = 300  # characters of stderr in an error
# How many processors one process may keep busy, for when its CPU time is looked at next.
_PROCESSORS: Final = os.cpu_count() or 1


class Asked(Protocol):
    """What answers a worker amid its call: the broker's session."""

    def answer(self, request: Any) -> Any: ...


class WorkerHandle:
    """A confined process that waits for calls. For one thread at a time."""

    def __init__(self, loader: Loader, groups: GroupPool, output_bytes: int) -> None:
        self._output_bytes = output_bytes
        self._groups = groups
        self._is_ready = False
        self._cpu_clock: int | None = None
        self.calls = 0
        with contextlib.ExitStack() as undo:
            taken = groups.take()
            self._group = None if taken is None else taken[0]
            entrances = [] if taken is None else taken[1]
            if self._group is not None:
                undo.callback(groups.give_back, self._group)
            self._talk, theirs = socket.socketpair()
            undo.callback(self._talk.close)
            with contextlib.ExitStack() as given:
                given.callback(theirs.close)
                for entrance in entrances:
                    given.callback(os.close, entrance)
                ends, descriptors = [], [theirs.fileno()]
                for _ in range(2):
                    ours, for_tool = os.pipe2(os.O_CLOEXEC)
                    undo.callback(os.close, ours)
                    given.callback(os.close, for_tool)
                    os.set_blocking(ours, False)
                    ends.append(ours)
                    descriptors.append(for_tool)
                self._streams = (ends[0], ends[1])
                self._pidfd = loader.fork([*descriptors, *entrances])
            self._talk.setblocking(False)
            undo.pop_all()

    def await_ready(self) -> None:
        """Wait until the tool's module has run in it.

        Raises:
            ToolNotLoaded: it raised, or its process ended.
        """
        if self._is_ready:
            return
        exchange = _Exchange(self, "the module", _READY_SECONDS, math.inf, _ERROR_BYTES)
        try:
            kind, value = exchange.run(b"", None)
        except ToolLimitExceeded as error:
            raise ToolNotLoaded(str(error)) from None
        except ToolFailed as error:
            raise ToolNotLoaded(f"the module wasn't loaded: {error}") from None
        if kind == frames.ERROR:
            raise exchange.failed(value, ToolNotLoaded)
        if self._group is not None and self._groups.may_fork:
            self._group.admit(0)  # until it is called
            if len(self._group.members()) > 1:
                raise ToolNotLoaded("the module left processes running when it was loaded")
        self._is_ready = True

    def call(
        self,
        name: str,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
        *,
        result_bytes: int,
        timeout: float,
        cpu_seconds: float,
        asked: Asked | None,
    ) -> ToolResult:
        """Call a function.

        Raises:
            ToolFailed: what the function raised; the worker may be called again then alone.
        """
        try:
            call = frames.pack_frame(
                frames.CALL, [name, list(arguments), dict(named)], MAX_ARGUMENTS
            )
        except frames.FrameError as error:
            raise InputError(f"{name}: its arguments can't be sent: {error}") from None
        self.await_ready()
        if self._group is not None and self._groups.may_fork:
            self._group.admit(self._groups.processes + 1)
        self.calls += 1
        exchange = _Exchange(self, name, timeout, cpu_seconds, result_bytes + _ERROR_BYTES)
        kind, value = exchange.run(call, asked)
        if kind == frames.ERROR:
            raise exchange.failed(value, ToolFailed)
        stdout, stderr = exchange.printed
        return ToolResult(value, bytes(stdout), bytes(stderr), exchange.is_cut)

    def is_waiting(self) -> bool:
        """Whether it lives, and has said nothing that it wasn't asked for."""
        poll = select.poll()
        poll.register(self._talk, select.POLLIN)
        return not poll.poll(0)

    def cpu_seconds(self) -> float:
        """Processor time of the worker with its processes; 0 where it can't be told."""
        if self._group is not None and self._groups.may_fork:
            return self._group.cpu_seconds()
        try:
            if self._cpu_clock is None:
                with open(f"/proc/self/fdinfo/{self._pidfd}", encoding="ascii") as file:
                    found = re.search(r"^Pid:\s*(\d+)$", file.read(), re.MULTILINE)
                # As clock_getcpuclockid(3) makes it.
                self._cpu_clock = (~int(found[1]) << 3) | 2 if found else 0
            return time.clock_gettime(self._cpu_clock) if self._cpu_clock else 0.0
        except OSError:
            return 0.0

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended it for its memory."""
        return self._group is not None and self._group.ran_out_of_memory()

    def kill(self) -> None:
        """End it, whatever it does, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._group is not None and self._groups.may_fork:
            self._group.end_all()

    def close(self) -> None:
        """End it and give back what it took."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        ended.poll(_READY_SECONDS * 1e3)
        self._talk.close()
        for descriptor in (*self._streams, self._pidfd):
            os.close(descriptor)
        if self._group is not None:
            self._groups.give_back(self._group)


def _shown(value: Any, limit: int) -> str:
    """Text from within the sandbox, without what terminals and logs would obey."""
    text = value[:limit] if isinstance(value, str) else repr(type(value))
    return "".join(
        one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text
    )


class _Exchange:
    """One message to a worker, and what comes until the last one from it."""

    def __init__(
        self, worker: WorkerHandle, what: str, timeout: float, cpu_seconds: float, most: int
    ) -> None:
        self._worker = worker
        self._what = what
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._cpu_seconds = cpu_seconds
        self._cpu_before = worker.cpu_seconds() if cpu_seconds < math.inf else 0.0
        self._most = most
        self.printed = (bytearray(), bytearray())
        self.is_cut = False

    def run(self, message: bytes, asked: Asked | None) -> tuple[int, Any]:
        talk, streams = self._worker._talk, self._worker._streams
        unsent = memoryview(message)
        if unsent:  # most often it goes at once
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                unsent = unsent[talk.send(unsent) :]
        poll = select.poll()
        poll.register(talk, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        for stream in streams:
            poll.register(stream, select.POLLIN)
        answer = bytearray()
        while True:
            ready = poll.poll(self._wait_ms())
            if not ready:
                self._require_time()
            for descriptor, events in ready:
                if descriptor != talk.fileno():
                    if not self._drain(streams.index(descriptor)):
                        poll.unregister(descriptor)
                    continue
                if events & select.POLLOUT:
                    unsent = self._send(unsent)
                    if not unsent:
                        poll.modify(talk, select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    answer += self._receive()
            found = self._take(answer)
            if found is None:
                continue
            kind, value, end = found
            if kind == frames.ASK and asked is not None:
                del answer[:end]
                unsent = memoryview(self._answer_to(value, asked))
                poll.modify(talk, select.POLLIN | select.POLLOUT)
                continue
            if kind == frames.ASK or len(answer) > end or unsent:
                raise self._broken("it says more than it was asked")
            for index in range(2):
                self._drain(index)
            return kind, value

    def failed(self, value: Any, kind: type[ToolFailed]) -> ToolFailed:
        """The error that a worker told."""
        try:
            given_error, given_text, given_trace = value
        except (TypeError, ValueError):
            return self._broken("its error is none")
        # It need not be what our code there writes.
        error = _shown(given_error, 100)
        text = _shown(given_text, MESSAGE_CHARS)
        trace = _shown(given_trace, TRACE_CHARS)
        if error == "MemoryError" and kind is ToolFailed:
            return ToolLimitExceeded(
                f"{self._what}: {error}: {text}", limit="memory", error=error, trace=trace
            )
        return kind(f"{self._what}: {error}: {text}", error=error, trace=trace)

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[self._worker._talk.send(unsent) :]
        except BlockingIOError:
            return unsent
        except OSError:
            return memoryview(b"")  # its end shows where it is read

    def _receive(self) -> bytes:
        try:
            part = self._worker._talk.recv(_READ)
        except BlockingIOError:
            return b""
        except ConnectionError:
            part = b""
        if not part:
            raise self._ended()
        return part

    def _take(self, answer: bytearray) -> tuple[int, Any, int] | None:
        try:
            return frames.take_frame(answer, self._most)
        except frames.FrameError as error:
            raise self._broken(f"its answer can't be read: {error}") from None

    def _answer_to(self, request: Any, asked: Asked) -> bytes:
        try:
            return frames.pack_frame(frames.ANSWER, asked.answer(request), MAX_ANSWER)
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

    def _ended(self) -> ToolFailed:
        for index in range(2):
            self._drain(index)
        if self._worker.ran_out_of_memory():
            return ToolLimitExceeded(f"{self._what}: took more memory than it may", limit="memory")
        said = _shown(bytes(self.printed[1][-_TAIL:]).decode(errors="replace").strip(), _TAIL)
        return ToolFailed(
            f"{self._what}: its process ended" + (f"; it printed: {said}" if said else "")
        )

    def _broken(self, what: str) -> ToolFailed:
        self._worker.kill()
        return ToolFailed(f"{self._what}: {what}")

    def _drain(self, index: int) -> bool:
        """Take what was printed; False at its end."""
        try:
            part = os.read(self._worker._streams[index], _READ)
        except BlockingIOError:
            return True
        kept = self.printed[index]
        room = self._worker._output_bytes - len(kept)
        self.is_cut |= len(part) > room
        kept += part[:room]
        return bool(part)
