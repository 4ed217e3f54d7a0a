"""The owner's end of the fork server and of its loaders."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from llmspell.errors import SandboxUnavailable, ToolNotLoaded
from llmspell.security.sandbox.orders import PACKAGE, library_path
from llmspell.security.sandbox.worker import frames

__all__ = ["ForkServer", "Loader", "is_silent"]

_START: Final = Path(__file__).with_name("worker") / "start.py"
_SECONDS: Final = 30.0
_LOADING_SECONDS: Final = 120.0
_MESSAGE: Final = 1 << 16


def is_silent(talk: socket.socket) -> bool:
    """Whether the other end is there, and has sent nothing that wasn't read."""
    poll = select.poll()
    poll.register(talk, select.POLLIN)
    return not poll.poll(0)


class Loader:
    """A process that has one tool's libraries in memory: asks it for workers. Thread-safe."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._lock = threading.Lock()

    def await_ready(self, module: str) -> None:
        """Wait until all is loaded.

        Raises:
            ToolNotLoaded: what kept it from that.
        """
        self._talk.settimeout(_LOADING_SECONDS)
        try:
            raw = self._talk.recv(_MESSAGE)
        except TimeoutError:
            raise ToolNotLoaded(
                f"{module}: its libraries weren't loaded in {_LOADING_SECONDS:.0f} s"
            ) from None
        except OSError:
            raw = b""
        self._talk.settimeout(_SECONDS)
        message = frames.take_frame(raw, {frames.READY: _MESSAGE, frames.ERROR: _MESSAGE})
        if message is None:
            raise ToolNotLoaded(f"{module}: the process that loads it ended; see stderr")
        kind, value, _ = message
        if kind == frames.ERROR:
            error, text = value
            raise ToolNotLoaded(f"{module}: {text}" if error == "ScanFailed" else
                                f"{module}: {error}: {text}")  # fmt: skip

    def fork(self, descriptors: list[int]) -> int:
        """Pidfd of a new worker that has these descriptors; raises ConnectionError at the end."""
        with self._lock:
            socket.send_fds(self._talk, [b"fork"], descriptors)
            raw, handles, _, _ = socket.recv_fds(self._talk, 32, 1, socket.MSG_CMSG_CLOEXEC)
        if not raw or len(handles) != 1:
            raise ConnectionError("the loader ended")
        return handles[0]

    def is_waiting(self) -> bool:
        """Whether it lives, and has nothing more to say."""
        return is_silent(self._talk)

    def close(self) -> None:
        """It ends with its workers."""
        self._talk.close()


class ForkServer:
    """A process that loaders are forked from, started when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.holds: dict[str, bool] = {}

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            SandboxUnavailable: it doesn't start.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._end()
                self._start()

    def load(self, order: dict[str, Any]) -> Loader:
        """Have a tool loaded; see :meth:`Loader.await_ready`."""
        raw: bytes = msgpack.packb(order)
        written = os.memfd_create("order")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            frames.write_all(written, raw)
            os.lseek(written, 0, os.SEEK_SET)
            for attempt in range(2):
                self.start()
                try:
                    with self._lock:
                        assert self._control is not None
                        socket.send_fds(self._control, [b"load"], [theirs.fileno(), written])
                    return Loader(ours)
                except OSError:
                    if attempt:
                        raise SandboxUnavailable("the fork server ends when it is asked") from None
            raise AssertionError
        finally:
            theirs.close()
            os.close(written)

    def close(self) -> None:
        """End it with all that it has forked."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        extension = find_spec("llmspell._sandbox")
        if extension is None or extension.origin is None:
            raise SandboxUnavailable(f"there is no sandbox for {sys.platform} in this build")
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        owner = os.pidfd_open(os.getpid())
        package = str(PACKAGE.parent)
        command = [sys.executable, "-I", "-S", "-B", str(_START), package, extension.origin]
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(owner), *library_path()],
                pass_fds=[theirs.fileno(), owner],
                # One thread, for it forks; and few arenas, for address space is limited.
                env={
                    "LC_ALL": "C.UTF-8",
                    "MALLOC_ARENA_MAX": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "MKL_NUM_THREADS": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # of libraries as they are imported
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            control.close()
            raise SandboxUnavailable(f"the fork server doesn't start: {error}") from error
        finally:
            theirs.close()
            os.close(owner)
        control.settimeout(_SECONDS)
        try:
            self.holds = msgpack.unpackb(control.recv(_MESSAGE))
        except (OSError, ValueError):
            control.close()
            self._process.kill()
            self._process.wait()
            raise SandboxUnavailable("the fork server ended as it began; see stderr") from None
        self._control = control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
