"""What the server and its loaders do with their processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import NoReturn

__all__ = ["open_empty_directory", "reap", "run"]


def run(body: Callable[..., None], *given: object) -> NoReturn:
    """What a forked child does: it never comes back to what its parent was about."""
    code = 1
    try:
        body(*given)
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:4096])
    finally:
        os._exit(code)


def reap() -> None:
    """Let go of the children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def open_empty_directory() -> int:
    """Descriptor of a directory that was removed: nothing can be made in it."""
    path = tempfile.mkdtemp(prefix="llmspell-")
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.rmdir(path)
