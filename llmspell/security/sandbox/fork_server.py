"""The owner's end of the fork server and of its loaders."""

from __future__ import annotations

import contextlib
import errno
import math
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

from llmspell.errors import ClosedError, SandboxUnavailable, ToolNotLoaded
from llmspell.security.sandbox.orders import PACKAGE, library_path
from llmspell.security.sandbox.worker import frames
from llmspell.security.sandbox.worker.processes import HERE, REFUSED

__all__ = ["ForkServer", "Loader", "is_silent"]

_START: Final = Path(__file__).with_name("worker") / "start.py"
_SECONDS: Final = 30.0
_LOADING_SECONDS: Final = 120.0
_MESSAGE: Final = 1 << 16


def is_silent(talk: socket.socket) -> bool:
    """Whether the other end is there, and has sent nothing that wasn't read."""
    return _is_there(talk, select.POLLIN)


def _is_there(talk: socket.socket, events: int = 0) -> bool:
    """Whether the other end is there, and none of these has come: its end shows without any."""
    poll = select.poll()
    try:
        poll.register(talk, events)
    except ValueError:  # closed, perhaps by another thread a moment ago
        return False
    return not poll.poll(0)


def shut_down(talk: socket.socket) -> None:
    """Tell the other end that this one is gone, and whoever waits for it here."""
    with contextlib.suppress(OSError):
        talk.shutdown(socket.SHUT_RDWR)


def _asked(talk: socket.socket) -> bool:
    """Whether the other end answers; for one thread at a time."""
    try:
        talk.send(HERE)
        return bool(talk.recv(len(HERE)))
    except BaseException as error:
        shut_down(talk)  # what it still answers would be taken for the answer to the next one
        if not isinstance(error, OSError):
            raise
        return False


class Serving:
    """A fork server while it runs, and after it has ended. Thread-safe.

    It is two processes: where either is killed the other ends too, and with them what they forked.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process  # waits for the one at the other end of `control`
        self.control = control
        # Taken again where the garbage collector closes a sandbox in the midst of this.
        self.lock = threading.RLock()

    def is_there(self) -> bool:
        """Whether it runs, as far as can be seen from here."""
        return self.process.poll() is None and _is_there(self.control)

    def answers(self) -> bool:
        """Whether it runs; it is asked. What ended before this was asked didn't end with it."""
        with self.lock:
            return _asked(self.control)


class Loader:
    """A process that has one tool's libraries in memory: asks it for workers. Thread-safe.

    Args:
        talk: with it.
        serving: the server that it came of, and ends with.
    """

    def __init__(self, talk: socket.socket, serving: Serving) -> None:
        self._talk = talk
        self._serving = serving
        self._lock = threading.RLock()  # see Serving

    def await_ready(self, module: str) -> None:
        """Wait until all is loaded.

        Raises:
            ToolNotLoaded: what kept it from that.
        """
        self._talk.settimeout(_LOADING_SECONDS)
        try:
            raw = self._talk.recv(_MESSAGE)
            self._talk.settimeout(_SECONDS)
        except TimeoutError:
            raise ToolNotLoaded(
                f"{module}: its libraries weren't loaded in {_LOADING_SECONDS:.0f} s"
            ) from None
        except OSError:
            raw = b""
        try:
            message = frames.take_frame(raw, {frames.READY: _MESSAGE, frames.ERROR: _MESSAGE})
        except frames.FrameError as error:
            raise ToolNotLoaded(f"{module}: what its loader says can't be read: {error}") from None
        if message is None:
            raise ToolNotLoaded(f"{module}: the process that loads it ended; see stderr")
        match message:
            case (frames.READY, _, _):
                return
            case (_, ["ScanFailed", text], _):
                raise ToolNotLoaded(f"{module}: {frames.shown(text, _MESSAGE)}")
            case (_, [error, text], _):
                kind = frames.shown(error, 100)
                raise ToolNotLoaded(f"{module}: {kind}: {frames.shown(text, _MESSAGE)}")
        raise ToolNotLoaded(f"{module}: what its loader says is no error")

    def fork(self, descriptors: list[int]) -> int:
        """Pidfd of a new worker that has these descriptors.

        Raises:
            OSError: the loader ended, or is ended here, for it didn't answer; or this process can't
                take the descriptor.
        """
        with self._lock:
            try:
                socket.send_fds(self._talk, [b"fork"], descriptors)
                raw, handles, _, _ = socket.recv_fds(self._talk, 32, 1, socket.MSG_CMSG_CLOEXEC)
            except BaseException:
                # What it still answers would be taken for the answer to the next one, and another
                # worker's handle for that one's.
                shut_down(self._talk)
                raise
        if not raw:
            raise ConnectionError("the loader ended")
        if raw.startswith(REFUSED):
            number = int(raw[len(REFUSED) :])
            raise OSError(number, f"the loader can't fork it: {os.strerror(number)}")
        if len(handles) != 1:
            raise OSError(errno.EMFILE, "no room for the descriptor of a worker")
        return handles[0]

    def is_alive(self) -> bool:
        """Whether it and its server live, as far as can be seen from here.

        One that has ended may seem to live while a worker that it forked just then has its socket.
        """
        return _is_there(self._talk) and self._serving.is_there()

    def is_served(self) -> bool:
        """Whether its server lives; it is asked."""
        return self._serving.answers()

    def answers(self) -> bool:
        """Whether it and its server live; both are asked.

        The kernel ends a worker after its loader or with it, and the server before them. So a
        worker that had ended before this was asked ended by itself where it is true.
        """
        with self._lock:
            return _asked(self._talk) and self.is_served()

    def give_up(self) -> None:
        """It ends with its workers, and whoever waits for it is told; to be closed all the same."""
        shut_down(self._talk)

    def close(self) -> None:
        """It ends with its workers, even where forks of this process have its socket too."""
        shut_down(self._talk)
        with self._lock:
            self._talk.close()


class ForkServer:
    """A process that loaders are forked from, started when it is first needed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # see Serving
        self._serving: Serving | None = None
        self._owner = 0
        self._is_closed = False
        self.holds: dict[str, bool] = {}

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The one that ends when all of it has."""
        return None if self._serving is None else self._serving.process

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            SandboxUnavailable: it doesn't start.
            ClosedError: after :meth:`close`.
        """
        with self._lock:
            self._started()

    def load(self, order: dict[str, Any]) -> Loader:
        """Have a tool loaded; see :meth:`Loader.await_ready`."""
        raw: bytes = msgpack.packb({**order, "loading_seconds": math.ceil(_LOADING_SECONDS) + 1})
        with contextlib.ExitStack() as given, contextlib.ExitStack() as undo:
            written = os.memfd_create("order")
            given.callback(os.close, written)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            given.callback(theirs.close)
            undo.callback(ours.close)
            frames.write_all(written, raw)
            os.lseek(written, 0, os.SEEK_SET)
            for attempt in range(2):
                try:
                    with self._lock:  # or another thread closes it between the two
                        serving = self._started()
                        with serving.lock:
                            socket.send_fds(serving.control, [b"load"], [theirs.fileno(), written])
                    undo.pop_all()
                    return Loader(ours, serving)
                except OSError:
                    if attempt:
                        raise SandboxUnavailable("the fork server ends when it is asked") from None
            raise AssertionError

    def close(self) -> None:
        """End it with all that it has forked, for good."""
        if self._owner not in (0, os.getpid()):
            # A fork of the owner lets go of its copy alone; the lock may be another thread's, which
            # isn't in it.
            self._is_closed = True
            if self._serving is not None:
                self._serving.control.close()
            return
        with self._lock:
            self._is_closed = True
            self._end()

    def _started(self) -> Serving:
        if self._is_closed:
            raise ClosedError("the sandbox is closed")
        if self._serving is None or not self._serving.is_there():
            self._end()
            self._serving = self._start()
        return self._serving

    def _start(self) -> Serving:
        extension = find_spec("llmspell._sandbox")
        if extension is None or extension.origin is None:
            raise SandboxUnavailable(f"there is no sandbox for {sys.platform} in this build")
        self._owner = os.getpid()
        package = str(PACKAGE.parent)
        command = [sys.executable, "-I", "-S", "-B", str(_START), package, extension.origin]
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        owner = os.pidfd_open(os.getpid())
        try:
            process = subprocess.Popen(
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
            if self._is_closed:  # by the garbage collector, just now
                raise ClosedError("the sandbox is closed")
        except BaseException as error:
            control.close()
            process.kill()
            process.wait()
            if not isinstance(error, OSError | ValueError):
                raise
            raise SandboxUnavailable("the fork server ended as it began; see stderr") from None
        return Serving(process, control)

    def _end(self) -> None:
        serving, self._serving = self._serving, None
        if serving is None:
            return
        shut_down(serving.control)
        with serving.lock:
            serving.control.close()
        try:
            serving.process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            serving.process.kill()
            serving.process.wait()
