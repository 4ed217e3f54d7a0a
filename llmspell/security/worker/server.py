"""The process that tools' workers are forked from, run by its path: nothing of the package is here.

It was executed before any secret, model or thread existed, and has one thread. For each module of
tools it forks a loader, which confines itself, imports the module, and forks workers, which confine
themselves further. So not even what a module does when it is imported is done outside.

``server.py CONTROL SANDBOX PATH...``: a descriptor of the control socket, the extension module that
confines, and where modules are imported from.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import os
import socket
import sys
from types import ModuleType
from typing import Any, Final, NoReturn

MESSAGE: Final = 1 << 16


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.path[:] = [os.path.dirname(os.path.abspath(__file__)), *sys.argv[3:]]
    import serving  # noqa: F401  # and with it all that workers need, once

    sandbox = _extension("_sandbox", sys.argv[2])
    while True:
        _reap()
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE, 1)
        if not message:
            return
        if os.fork() == 0:
            _run(load, sandbox, descriptors[0], _unpack(message))
        os.close(descriptors[0])


def load(sandbox: ModuleType, channel: int, order: dict[str, Any]) -> None:
    """Confine itself, import a module, and fork a worker for each message of its parent.

    A worker's message brings its socket, and what its output goes to.
    """
    import frames
    import serving

    parent = os.getppid()
    talk = socket.socket(fileno=channel)
    statistics = os.open("/proc/self/statm", os.O_RDONLY)
    rules = [
        *((os.open(path, os.O_PATH), False, True) for path in order["libraries"]),
        *((os.open(path, os.O_PATH), writes, False) for path, writes in order["paths"]),
    ]
    sandbox.confine(
        parent=parent,
        kept=[0, 1, 2, channel, statistics],
        rules=rules,
        filter="loading",
        address_space=order["loading_bytes"],
        cpu_seconds=order["loading_seconds"],
        file_size=order["limits"]["file_size"],
        open_files=256,
        processes=order["processes"],
    )
    try:
        module = importlib.import_module(order["module"])
        for name in order["functions"]:
            serving.find(module, name)
    except BaseException as error:
        talk.send(frames.pack_frame(frames.ERROR, [type(error).__name__, str(error)[:2000]], 8192))
        return
    talk.send(frames.pack_frame(frames.RESULT, None, 16))
    gc.collect()
    gc.freeze()  # what a worker collects it would copy
    this = os.getpid()
    while True:
        _reap()
        message, given, _, _ = socket.recv_fds(talk, 16, 3)
        if not message:
            return
        pages = int(os.pread(statistics, 100, 0).split()[0])
        worker = os.fork()
        if worker == 0:
            _run(_work, sandbox, module, this, given, pages, order)
        for descriptor in given:
            os.close(descriptor)
        handle = os.pidfd_open(worker)
        socket.send_fds(talk, [b"%d" % worker], [handle])
        os.close(handle)


def _work(
    sandbox: ModuleType,
    module: ModuleType,
    parent: int,
    given: list[int],
    pages: int,
    order: dict[str, Any],
) -> None:
    import serving

    limits = order["limits"]
    talk, out, err = given
    os.dup2(out, 1)
    os.dup2(err, 2)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # that of the standard library reseeds itself
    sandbox.confine(
        parent=parent,
        kept=[0, 1, 2, talk],
        rules=[(os.open(path, os.O_PATH), writes, False) for path, writes in order["paths"]],
        filter=order["filter"],
        # What it was forked from isn't its own.
        address_space=limits["memory"] + pages * os.sysconf("SC_PAGESIZE"),
        cpu_seconds=limits["cpu_seconds"],
        file_size=limits["file_size"],
        open_files=limits["open_files"],
        processes=limits["processes"],
    )
    serving.serve(talk, module, arguments=limits["arguments"], result=limits["result"])


def _run(body: Any, *given: Any) -> NoReturn:
    """What a forked child does: it never comes back to what its parent was about."""
    code = 1
    try:
        body(*given)
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:4096])
    finally:
        os._exit(code)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _unpack(message: bytes) -> dict[str, Any]:
    import msgpack

    order: dict[str, Any] = msgpack.unpackb(message)
    return order


def _extension(name: str, path: str) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
