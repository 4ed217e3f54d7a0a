"""The process that tools' workers come of: executed anew, with no secret, model or thread in it.

For each tool it forks a loader, see :mod:`llmspell.security.sandbox.worker.loader`. It enters
namespaces of its own where it may, so that nothing below it has a network, and all of it ends with
it.

``start.py PACKAGE EXTENSION CONTROL OWNER``: where the package is, the extension module that
confines, the descriptors of the control socket and of the process that this is for.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from types import ModuleType
from typing import Final

import msgpack  # type: ignore[import-untyped]

from llmspell.security.sandbox.worker import processes
from llmspell.security.sandbox.worker.loader import load

__all__ = ["main"]

MESSAGE: Final = 1 << 12


def main(confining: ModuleType, control: int, owner: int) -> None:
    """Serve until the owner is gone, in a process that is the first of its namespace."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the owner's thread may have had some blocked
    talk = socket.socket(fileno=control)
    held = confining.enter_namespaces()
    outer = os.getpid()
    first = os.fork()
    if first:
        talk.close()
        os.waitpid(first, 0)
        return
    confining.die_with(0 if held["processes"] else outer)
    # Deleted while it is open: nothing can ever be made in it.
    empty = processes.open_empty_directory()
    held["hidden"] = held["processes"] and held["mounts"] and confining.hide_the_outside()
    talk.send(msgpack.packb(held))
    reaper = processes.Reaper()  # of its loaders, and as init of whatever lost its parent
    watched = select.poll()
    for descriptor in (control, owner):
        watched.register(descriptor, select.POLLIN)
    while not any(ready == owner for ready, _ in watched.poll()):
        message, given = processes.received(talk, MESSAGE, 2)
        if not message:
            break
        if message == processes.HERE:
            talk.send(message)
            continue
        try:
            with reaper.held():
                if os.fork() == 0:
                    talk.close()
                    os.close(owner)
                    processes.run(load, confining, *given, empty, held["root"])
        except OSError as error:  # the owner sees that nobody has the descriptors; others go on
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            for descriptor in given:
                os.close(descriptor)
    sys.exit(0)
