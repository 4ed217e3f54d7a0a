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
from typing import TYPE_CHECKING, Any, Final

from llmspell.errors import (
    InputError,
    SandboxUnavailable,
    ToolFailed,
    ToolLimitExceeded,
    ToolNotLoaded,
)
from llmspell.security.sandbox.exchange import ERROR_BYTES, Exchange
from llmspell.security.sandbox.fork_server import Loader, is_silent
from llmspell.security.sandbox.groups import GroupPool
from llmspell.security.sandbox.orders import MAX_ARGUMENTS, MAX_REQUEST
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker import frames

if TYPE_CHECKING:
    from llmspell.security.broker.session import Session

__all__ = ["WorkerHandle"]

_LOADING: Final = {frames.READY: 16, frames.ERROR: ERROR_BYTES}
_READY_SECONDS: Final = 30.0


class WorkerHandle:
    """A confined process that waits for calls. For one thread at a time."""

    def __init__(
        self, loader: Loader, groups: GroupPool, output_bytes: int, *, has_listener: bool
    ) -> None:
        self.output_bytes = output_bytes
        self._groups = groups
        self._is_ready = False
        self._has_listener = has_listener
        self._listener: socket.socket | None = None
        self._cpu_clock: int | None = None
        self.calls = 0
        with contextlib.ExitStack() as undo:
            taken = groups.take()
            self._group = None if taken is None else taken[0]
            entrances = [] if taken is None else taken[1]
            if self._group is not None:
                # Not given back: who was forked by one that ended as it answered may enter it yet.
                undo.callback(self._group.remove)
            with contextlib.ExitStack() as given:
                for entrance in entrances:
                    given.callback(os.close, entrance)
                self.talk, theirs = socket.socketpair()
                undo.callback(self.talk.close)
                given.callback(theirs.close)
                ends, descriptors = [], [theirs.fileno()]
                for _ in range(2):
                    ours, for_tool = os.pipe2(os.O_CLOEXEC)
                    undo.callback(os.close, ours)
                    given.callback(os.close, for_tool)
                    os.set_blocking(ours, False)
                    ends.append(ours)
                    descriptors.append(for_tool)
                self.streams = (ends[0], ends[1])
                self._pidfd = loader.fork([*descriptors, *entrances])
                undo.callback(os.close, self._pidfd)
            self.talk.setblocking(False)
            undo.pop_all()

    def await_ready(self) -> None:
        """Wait until the tool's module has run in it.

        Raises:
            ToolNotLoaded: it raised, or its process ended.
        """
        if self._is_ready:
            return
        if self._has_listener and self._listener is None:
            self._listener = self._received_listener()
        exchange = Exchange(self, "the module", _READY_SECONDS, math.inf, _LOADING)
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
        self.cpu_seconds()  # finds its clock
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
        session: Session | None,
    ) -> ToolResult:
        """Call a function.

        Raises:
            ToolFailed: what the function raised; the worker may be called again then alone.
            SandboxUnavailable: this process has no descriptor left to let it have processes.
        """
        try:
            call = frames.pack_frame(
                frames.CALL, [name, list(arguments), dict(named)], MAX_ARGUMENTS
            )
        except frames.FrameError as error:
            raise InputError(f"{name}: its arguments can't be sent: {error}") from None
        self.await_ready()
        if self._group is not None and self._groups.may_fork:
            try:
                self._group.admit(self._groups.processes + 1)
            except OSError as error:
                raise SandboxUnavailable(f"{name}: its group can't be opened: {error}") from error
        self.calls += 1
        limits = {frames.RESULT: result_bytes, frames.ERROR: ERROR_BYTES}
        if session is not None:
            limits[frames.ASK] = MAX_REQUEST
        exchange = Exchange(self, name, timeout, cpu_seconds, limits)
        kind, value = exchange.run(call, session)
        if kind == frames.ERROR:
            raise exchange.failed(value, ToolFailed)
        stdout, stderr = exchange.printed
        return ToolResult(value, bytes(stdout), bytes(stderr), exchange.is_cut)

    def listener(self) -> socket.socket | None:
        """Another descriptor of the listener within the worker's network, to be closed."""
        return None if self._listener is None else self._listener.dup()

    def is_waiting(self) -> bool:
        """Whether it lives, and has said nothing that it wasn't asked for."""
        return is_silent(self.talk)

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
        """Whether the kernel ended it for its memory, as far as that can be read."""
        with contextlib.suppress(OSError, ValueError):
            return self._group is not None and self._group.ran_out_of_memory()
        return False

    def kill(self) -> None:
        """End it, whatever it does, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._group is not None and self._groups.may_fork:
            with contextlib.suppress(OSError):  # no descriptors: it is done as the group comes back
                self._group.end_all()

    def close(self) -> None:
        """End it and give back what it took."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        ended.poll(_READY_SECONDS * 1e3)
        self.talk.close()
        if self._listener is not None:
            self._listener.close()
        for descriptor in (*self.streams, self._pidfd):
            os.close(descriptor)
        if self._group is not None:
            self._groups.give_back(self._group)

    def _received_listener(self) -> socket.socket:
        """What the worker sends before any of the tool's code is in it."""
        poll = select.poll()
        poll.register(self.talk, select.POLLIN)
        poll.poll(_READY_SECONDS * 1e3)
        try:
            _, found, _, _ = socket.recv_fds(self.talk, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            found = []
        if not found:
            raise ToolNotLoaded("the worker has no network of its own")
        return socket.socket(fileno=found[0])
