"""What the server and its loaders do with their processes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

__all__ = ["HERE", "REFUSED", "Reaper", "open_empty_directory", "received", "run"]

#: The owner's question whether one is there, and the answer.
HERE: Final = b"here"
#: A loader's answer where the kernel makes no worker: before the number of the error.
REFUSED: Final = b"!"


class Reaper:
    """Lets go of children as they end; made anew in each process that has some."""

    def __init__(self) -> None:
        self._is_held = False
        signal.signal(signal.SIGCHLD, self._on_child)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within it a child that has ended still has its process id."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.reap()

    def reap(self) -> None:
        """Let go of those that have ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _on_child(self, number: int, frame: object) -> None:
        if not self._is_held:
            self.reap()


def run(body: Callable[..., None], *given: object) -> NoReturn:
    """What a forked child does: it never comes back to what its parent was about."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        body(*given)
        code = 0
    except BrokenPipeError:  # the owner has closed the tool, or is gone: nobody is left to tell
        pass
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:4096])
    finally:
        os._exit(code)


def received(talk: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """A message with all of its descriptors; of some a worker would be without its group.

    Raises:
        OSError: there wasn't room for all.
    """
    message, given, flags, _ = socket.recv_fds(talk, size, most)
    if flags & socket.MSG_CTRUNC:
        raise OSError(errno.EMFILE, "no room for the descriptors that were sent")
    return message, given


def open_empty_directory() -> int:
    """Descriptor of a directory that was removed: nothing can be made in it."""
    try:
        path = tempfile.mkdtemp(prefix="llmspell-")
    except FileNotFoundError:  # in a container whose files can't be changed
        path = tempfile.mkdtemp(prefix="llmspell-", dir="/dev/shm")
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.rmdir(path)
