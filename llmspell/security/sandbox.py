"""Calls of tools in workers that the kernel confines."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import msgpack

from llmspell.errors import LlmspellError
from llmspell.security.worker import frames

__all__ = ["Confined", "Limits", "Sandbox", "SandboxUnavailable", "ToolFailed", "ToolTimeout"]

_SERVER: Final = Path(__file__).with_name("worker") / "server.py"

#: A module of tools is imported in this time and memory.
LOADING_SECONDS: Final = 60
LOADING_BYTES: Final = 4 << 30

START_SECONDS: Final = 10.0


class SandboxUnavailable(LlmspellError):
    """This kernel can't enforce what a level needs."""


class ToolFailed(LlmspellError):
    """A tool raised an error, or broke a limit; the message names it."""


class ToolTimeout(ToolFailed):
    """A tool took longer than it may, and was killed."""


@dataclass(frozen=True)
class Limits:
    """What one call may take; bytes and seconds."""

    memory: int = 50 << 20
    cpu_seconds: int = 5
    file_size: int = 0
    open_files: int = 64
    processes: int = 0
    arguments: int = 1 << 20
    result: int = 1 << 20
    output: int = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """What a call gave, and what it printed."""

    value: Any
    stdout: bytes = b""
    stderr: bytes = b""


class _Worker:
    """A confined process that waits for a call. For one thread at a time."""

    def __init__(self, channel: _Channel) -> None:
        self._talk, theirs = socket.socketpair()
        out, out_theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        err, err_theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # The tool's ends wait for room, as a program expects.
        for end in (out_theirs, err_theirs):
            os.set_blocking(end, True)
        self._streams = (out, err)
        try:
            self.process, self._handle = channel.fork([theirs.fileno(), out_theirs, err_theirs])
        finally:
            theirs.close()
            os.close(out_theirs)
            os.close(err_theirs)
        self._talk.setblocking(False)

    def call(
        self, name: str, given: Sequence[Any], named: dict[str, Any], limits: Limits, timeout: float
    ) -> Outcome:
        """Call a function; the worker is dead where this raises anything but what the tool raised."""
        deadline = time.monotonic() + timeout
        printed = (bytearray(), bytearray())
        poll = select.poll()
        poll.register(self._talk, select.POLLIN | select.POLLOUT)
        for stream in self._streams:
            poll.register(stream, select.POLLIN)
        unsent = memoryview(
            frames.pack_frame(frames.CALL, [name, list(given), named], limits.arguments)
        )
        answer = bytearray()
        while True:
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1e3)
            if not ready:
                self.kill()
                raise ToolTimeout(f"{name}: not done in {timeout:g} s")
            for descriptor, events in ready:
                if descriptor != self._talk.fileno():
                    self._drain(self._streams.index(descriptor), printed, limits.output, poll)
                    continue
                if events & select.POLLOUT and unsent:
                    unsent = unsent[self._talk.send(unsent) :]
                    if not unsent:
                        poll.modify(self._talk, select.POLLIN)
                if events & (select.POLLIN | select.POLLHUP):
                    part = self._talk.recv(1 << 20)
                    if not part:
                        self._drain(1, printed, limits.output, None)
                        raise ToolFailed(f"{name}: its process ended: {printed[1][-300:]!r}")
                    answer += part
            message = self._message(answer, limits)
            if message is not None:
                break
        for index in range(2):
            self._drain(index, printed, limits.output, None)
        kind, value = message
        if kind == frames.RESULT:
            return Outcome(value, bytes(printed[0]), bytes(printed[1]))
        error, text, trace = value
        failed = ToolFailed(f"{name}: {error}: {text}")
        if trace:
            failed.add_note(str(trace))
        raise failed

    def kill(self) -> None:
        """End it, whatever it does."""
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """End it and give back what it took."""
        self.kill()
        self._talk.close()
        for descriptor in (*self._streams, self._handle):
            os.close(descriptor)

    def _message(self, answer: bytearray, limits: Limits) -> tuple[int, Any] | None:
        if len(answer) < frames.HEADER.size:
            return None
        limit = limits.result + (1 << 17)
        kind, length = frames.unpack_head(bytes(answer[: frames.HEADER.size]), limit)
        if len(answer) < frames.HEADER.size + length:
            return None
        return kind, frames.unpack_payload(bytes(answer[frames.HEADER.size :]))

    def _drain(
        self, index: int, printed: tuple[bytearray, bytearray], limit: int, poll: select.poll | None
    ) -> None:
        try:
            part = os.read(self._streams[index], 1 << 16)
        except BlockingIOError:
            return
        if not part and poll is not None:
            poll.unregister(self._streams[index])
        kept = printed[index]
        kept += part[: limit - len(kept)]


class _Channel:
    """To a loader: asks it for workers. Thread-safe."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._lock = threading.Lock()

    def await_ready(self) -> None:
        """Wait until the module is loaded; raises what kept it from that."""
        self._talk.settimeout(LOADING_SECONDS)
        raw = self._talk.recv(1 << 16)
        if not raw:
            raise SandboxUnavailable("the process that loads the tool ended; see its stderr")
        kind, _ = frames.unpack_head(raw[: frames.HEADER.size], 1 << 16)
        if kind == frames.ERROR:
            error, text = frames.unpack_payload(raw[frames.HEADER.size :])
            raise ToolFailed(f"loading: {error}: {text}")

    def fork(self, descriptors: list[int]) -> tuple[int, int]:
        """Process id and pidfd of a new worker that has these descriptors."""
        with self._lock:
            socket.send_fds(self._talk, [b"fork"], descriptors)
            raw, handles, _, _ = socket.recv_fds(self._talk, 32, 1)
        if not raw:
            raise ToolFailed("the process that loads the tool ended")
        return int(raw), handles[0]

    def close(self) -> None:
        """The loader ends with its workers."""
        self._talk.close()


class Confined:
    """The functions of one module, each call in a process of its own. Thread-safe."""

    def __init__(self, channel: _Channel, limits: Limits, ready: int) -> None:
        self._channel = channel
        self._limits = limits
        self._ready = ready
        self._idle: deque[_Worker] = deque()
        self._spent: deque[_Worker] = deque()
        self._wanted = threading.Semaphore(0)
        self._is_closed = False
        self._filling = threading.Thread(target=self._fill, name="llmspell-workers", daemon=True)
        self._filling.start()
        self._wanted.release()

    def call(self, name: str, *given: Any, timeout: float = 10.0, **named: Any) -> Outcome:
        """Call a function by its qualified name.

        Raises:
            ToolFailed: it raised, its process ended, or what it gave is no data or too large.
            ToolTimeout: it took longer than ``timeout`` seconds.
        """
        try:
            worker = self._idle.popleft()
        except IndexError:
            worker = _Worker(self._channel)
        try:
            return worker.call(name, given, named, self._limits, timeout)
        finally:
            # Ending it and forking the next one is no part of this call.
            self._spent.append(worker)
            self._wanted.release()

    def close(self) -> None:
        """End all workers."""
        self._is_closed = True
        self._wanted.release()
        self._filling.join()
        for worker in (*self._idle, *self._spent):
            worker.close()
        self._channel.close()

    def _fill(self) -> None:
        while True:
            self._wanted.acquire()
            if self._is_closed:
                return
            while self._spent:
                self._spent.popleft().close()
            try:
                while len(self._idle) < self._ready:
                    self._idle.append(_Worker(self._channel))
            except (OSError, LlmspellError):
                if not self._is_closed:
                    time.sleep(0.1)
                    self._wanted.release()


@dataclass
class Sandbox:
    """A process that workers are forked from; start it before anything secret is in memory."""

    path: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        extension = find_spec("llmspell._sandbox")
        if extension is None or extension.origin is None:
            raise SandboxUnavailable("this platform has no sandbox")
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        found = [*self.path, *(p for p in sys.path if p and os.path.isdir(p))]
        self._server = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-B",
                str(_SERVER),
                str(theirs.fileno()),
                extension.origin,
                *found,
            ],
            pass_fds=[theirs.fileno()],
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        theirs.close()
        self._lock = threading.Lock()
        self._found = found

    def confine(
        self,
        module: str,
        functions: Sequence[str],
        *,
        limits: Limits = Limits(),
        filter: str = "safe",
        paths: Sequence[tuple[str, bool]] = (),
        ready: int = 2,
    ) -> Confined:
        """Load a module of tools; returns what calls its functions."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        libraries = [*self._found, sysconfig.get_path("stdlib"), sys.base_prefix]
        libraries += [p for p in ("/usr/lib", "/lib", "/lib64", "/usr/lib64", "/etc/ld.so.cache")]
        order = {
            "module": module,
            "functions": list(functions),
            "libraries": [p for p in dict.fromkeys(libraries) if os.path.exists(p)],
            "paths": [list(one) for one in paths],
            "filter": filter,
            "limits": asdict(limits),
            "processes": 4096,
            "loading_bytes": LOADING_BYTES,
            "loading_seconds": LOADING_SECONDS,
        }
        with theirs, self._lock:
            socket.send_fds(self._control, [msgpack.packb(order)], [theirs.fileno()])
        channel = _Channel(ours)
        channel.await_ready()
        return Confined(channel, limits, ready)

    def close(self) -> None:
        """End all that was started."""
        self._control.close()
        self._server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
