"""The process that the workers of one tool are forked from: it has the tool's libraries in memory.

The tool's own code is never run in it, nor parsed: a scanner that is confined as the safest tool is
does the second, and the workers the first, confined by then. So what makes a worker is nobody's but
ours, and the libraries that its owner has installed.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import os
import random
import signal
import socket
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from llmspell.security.sandbox.worker import processes
from llmspell.security.sandbox.worker.frames import ERROR, READY, pack_frame
from llmspell.security.sandbox.worker.scanning import ScanFailed, Scanned, scan
from llmspell.security.sandbox.worker.serving import serve

__all__ = ["load"]

# Imported by others' functions when they are first called, and then it is too late.
_LAZY: Final = (
    *("_strptime", "encodings.idna", "encodings.latin_1", "encodings.utf_16", "encodings.ascii"),
    *("encodings.cp1252", "encodings.punycode", "encodings.unicode_escape", "encodings.utf_8_sig"),
    *("linecache", "tokenize", "traceback", "asyncio", "datetime", "decimal", "stringprep"),
    *("concurrent.futures.thread", "contextvars", "locale", "selectors", "zoneinfo"),
)

# Of a library's import: it is the owner's.
_MESSAGE_CHARS: Final = 4_000


def load(
    confining: ModuleType, channel: int, order_file: int, empty: int, changes_root: bool
) -> None:
    """Load what a tool is made of, and fork a worker for each message of the owner.

    Args:
        confining: the extension module.
        channel: socket to the owner, of packets.
        order_file: the order, as :mod:`llmspell.security.sandbox.orders` writes it.
        empty: a directory that nothing can be made in.
        changes_root: whether this process may give a directory as root.
    """
    confining.die_with(os.getppid())
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    talk = socket.socket(fileno=channel)
    with open(order_file, "rb") as file:
        order: dict[str, Any] = msgpack.unpackb(file.read())
    signal.alarm(order["loading_seconds"])  # whatever an import waits for
    try:
        _prepare(confining, order)
        scanned = scan(confining, order, empty)
        _import_all(_LAZY)
        for name in order["preload"]:
            _import(name)
        _import_all(scanned.libraries)
        _require_one_thread()
    except Exception as error:
        told = [type(error).__name__, str(error)[:_MESSAGE_CHARS]]
        talk.send(pack_frame(ERROR, told, 8 * _MESSAGE_CHARS))
        return
    statistics = os.open("/proc/self/statm", os.O_RDONLY)
    rules = [(os.open(path, os.O_PATH), *rights) for path, *rights in order["rules"]]
    gc.collect()
    gc.freeze()  # what a worker collects it would copy
    signal.alarm(0)
    talk.send(pack_frame(READY, None, 16))
    this = os.getpid()
    reaper = processes.Reaper()
    while True:
        message, given = processes.received(talk, 16, 8)
        if not message:
            return
        if message == processes.HERE:
            talk.send(message)
            continue
        pages = int(os.pread(statistics, 100, 0).split()[0])
        try:
            with reaper.held():
                worker = os.fork()
                if worker == 0:
                    processes.run(
                        _work, confining, scanned, order, given, this, pages, rules,
                        empty, changes_root,
                    )  # fmt: skip
                handle = os.pidfd_open(worker)
        except OSError as error:  # the workers that there are go on
            talk.send(b"%s%d" % (processes.REFUSED, error.errno or 0))
            continue
        finally:
            for descriptor in given:
                os.close(descriptor)
        socket.send_fds(talk, [b"%d" % worker], [handle])
        os.close(handle)


def _prepare(confining: ModuleType, order: dict[str, Any]) -> None:
    sys.path += [path for path in order["libraries"] if path not in sys.path]
    os.environ.update(order["environment"])
    # Of what lies here: what a library does while it is imported reaches no file of anybody else.
    readable = dict.fromkeys([*order["readable"], *order["tool_paths"]])
    rules = [(os.open(path, os.O_PATH), False, True) for path in readable]
    rules += [(os.open(path, os.O_PATH), *rights) for path, *rights in order["rules"]]
    confining.restrict_files(rules)
    for descriptor, _, _ in rules:
        os.close(descriptor)


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        try:
            _import(name)
        except Exception as error:
            if not isinstance(error, ImportError):  # of which some are no modules, some optional
                os.write(2, f"importing {name}: {type(error).__name__}: {error}\n".encode()[:2000])


def _import(name: str) -> None:
    """A module, or what a package gives by that name: it may load it when it is asked for."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        package, _, attribute = name.rpartition(".")
        if not package or not hasattr(importlib.import_module(package), attribute):
            raise


def _require_one_thread() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise ScanFailed(
            f"{threads - 1} threads were started by the libraries that it imports, which a fork "
            "would leave behind; import what starts them in the function that needs it"
        )


def _work(
    confining: ModuleType,
    scanned: Scanned,
    order: dict[str, Any],
    given: list[int],
    parent: int,
    pages: int,
    rules: list[tuple[int, bool, bool]],
    empty: int,
    changes_root: bool,
) -> None:
    limits = order["limits"]
    talk, out, err, *groups = given
    # Not even the end of its input is another's too.
    nothing, end = os.pipe()
    os.close(end)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for group in groups:
        os.write(group, b"0")
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    is_safe = order["filter"] == "safe"
    port = _open_network(confining, talk) if order["filter"] == "networked" else 0
    confining.confine(
        parent=parent,
        kept=[0, 1, 2, talk],
        directory=empty,
        is_root=is_safe and changes_root,
        rules=rules,
        port=port,
        filter=order["filter"],
        # What it was forked from isn't its own.
        address_space=limits["memory"] + pages * os.sysconf("SC_PAGESIZE"),
        cpu_seconds=limits["cpu_seconds"],
        file_size=limits["file_size"],
        open_files=limits["open_files"],
        processes=limits["processes"],
    )
    serve(talk, scanned, order, is_closed=is_safe)


def _open_network(confining: ModuleType, talk: int) -> int:
    """A network of its own, whose only listener the owner is given; returns its port."""
    confining.enter_loopback()
    with socket.socket() as listener, socket.socket(fileno=os.dup(talk)) as owner:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        socket.send_fds(owner, [b"L"], [listener.fileno()])
        port: int = listener.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        os.environ[name] = f"http://127.0.0.1:{port}"
    return port
