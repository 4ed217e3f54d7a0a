"""Finds a tool's own modules and the libraries that they import, without running any of it.

Each source is parsed and compiled by a process that is confined as a safe tool is, for parsers have
died of less. What that says of it is a list of names, and code that is opaque here: only workers
load it.
"""

from __future__ import annotations

import importlib.machinery
import os
import pkgutil
import re
import signal
import socket
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from llmspell.security.sandbox.worker import processes
from llmspell.security.sandbox.worker.frames import (
    CALL,
    ERROR,
    MAX_CONTAINERS,
    RESULT,
    FrameError,
    pack_frame,
    read_frame,
    shown,
    write_all,
)
from llmspell.security.sandbox.worker.parsing import parse_sources

__all__ = ["OwnModule", "ScanFailed", "Scanned", "scan"]

MAX_MODULES: Final = 2_000
MAX_SOURCE: Final = 16 << 20  # bytes of one module
MAX_PARSED: Final = 64 << 20  # bytes of what is said of it
_MEMORY: Final = 1 << 30
_SECONDS: Final = 60

_NAME: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


class ScanFailed(Exception):
    """A tool's module isn't there, is too large, or isn't Python."""


@dataclass(frozen=True)
class OwnModule:
    """A module of the tool: its marshalled code, and what tracebacks show of it."""

    origin: str
    is_package: bool
    code: bytes
    source: bytes


@dataclass
class Scanned:
    """The modules of a tool by name, and the libraries that these import."""

    own: dict[str, OwnModule] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def scan(confining: ModuleType, order: dict[str, Any], empty: int) -> Scanned:
    """Find what the module of an order is made of; raises ScanFailed."""
    ours, theirs = socket.socketpair()
    this = os.getpid()
    scanner = os.fork()
    if scanner == 0:
        ours.close()
        processes.run(_parse, confining, theirs.fileno(), this, empty)
    theirs.close()
    try:
        return _Scan(order, ours.fileno()).all()
    finally:
        ours.close()
        os.kill(scanner, signal.SIGKILL)  # whatever it is about
        os.waitpid(scanner, 0)


def _parse(confining: ModuleType, talk: int, parent: int, empty: int) -> None:
    confining.confine(
        parent=parent,
        kept=[0, 1, 2, talk],
        directory=empty,
        is_root=False,
        rules=[],
        port=0,
        filter="safe",
        address_space=_MEMORY,
        cpu_seconds=_SECONDS,
        file_size=0,
        open_files=64,
        processes=0,
    )
    os.dup2(1, 2)  # nothing of a parser that was taken over is on the owner's standard error
    parse_sources(talk, MAX_SOURCE, MAX_PARSED)


class _Scan:
    def __init__(self, order: dict[str, Any], scanner: int) -> None:
        self._order = order
        self._scanner = scanner
        self._found = Scanned()
        self._libraries: dict[str, None] = {}
        self._missing: set[str] = set()
        self._top = order["module"].partition(".")[0]
        # Not by recursion: modules may import one another in a chain as long as MAX_MODULES.
        self._waiting: list[str] = []

    def all(self) -> Scanned:
        module = self._order["module"]
        if self._order["source"] is not None:
            self._parse(module, f"<{module}>", False, self._order["source"])
        else:
            self._own_or_library(module, is_asked_for=True)
        while self._waiting:
            self._own_or_library(self._waiting.pop())
        self._found.libraries = list(self._libraries)
        return self._found

    def _own_or_library(self, name: str, *, is_asked_for: bool = False) -> None:
        """Take a module in with its packages, or note that it is a library's."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            whole = ".".join(parts[:count])
            if whole in self._found.own:
                continue
            if whole in self._order["preload"] and not is_asked_for:
                return  # the loader imports it
            spec = None if whole in self._missing else self._spec(whole)
            if spec is not None:
                self._read(whole, spec)
                continue
            self._missing.add(whole)
            if is_asked_for:
                raise ScanFailed(f"there is no module {whole!r}; pass its directory in path=")
            if count == 1:
                self._libraries.setdefault(name)
            return

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """Where a module of the tool's own is; None for what is none."""
        package, _, _ = name.rpartition(".")
        if not package:
            places = self._order["tool_paths"]
            if name == self._top:
                places = [*places, *self._order["libraries"]]
            return importlib.machinery.PathFinder.find_spec(name, places)
        own = self._found.own[package]
        if not own.is_package:
            return None
        # A package without __init__ has its directory for an origin.
        place = os.path.dirname(own.origin) if own.code else own.origin
        # PathFinder would look for the package that holds a directory without __init__ among the
        # modules that are imported.
        finder = pkgutil.get_importer(place)
        return None if finder is None else finder.find_spec(name)

    def _read(self, name: str, spec: importlib.machinery.ModuleSpec) -> None:
        is_package = spec.submodule_search_locations is not None
        if spec.origin is None:
            place = next(iter(spec.submodule_search_locations or [""]))
            self._found.own[name] = OwnModule(place, True, b"", b"")
            return
        if not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            raise ScanFailed(
                f"{name!r} is no source ({spec.origin}); install it where libraries are, and name "
                "it in preload= to have it imported with the rights of one"
            )
        with open(spec.origin, "rb") as file:
            source = file.read(MAX_SOURCE + 1)
        self._parse(name, spec.origin, is_package, source)

    def _parse(self, name: str, origin: str, is_package: bool, source: bytes) -> None:
        if len(self._found.own) >= MAX_MODULES:
            raise ScanFailed(f"more than {MAX_MODULES:,} modules of its own")
        if len(source) > MAX_SOURCE:
            raise ScanFailed(f"{origin}: more than {MAX_SOURCE:,} bytes")
        asked = pack_frame(CALL, [name, origin, is_package, source], MAX_PARSED)
        try:
            write_all(self._scanner, asked)
            answer = read_frame(self._scanner, MAX_PARSED, MAX_CONTAINERS)
        except (OSError, FrameError):
            answer = None
        if answer is None:
            raise ScanFailed(f"{origin}: the parser died of it")
        # A parser that a source has taken over says what it wants.
        match answer:
            case (kind, [list(names), bytes(code)]) if kind == RESULT and code:
                self._found.own[name] = OwnModule(origin, is_package, code, source)
            case (kind, str(why)) if kind == ERROR:
                raise ScanFailed(f"{origin}: {shown(why, 1_000)}")
            case _:
                raise ScanFailed(f"{origin}: what the parser says of it can't be read")
        self._waiting += [
            one
            for one in reversed(names)
            if isinstance(one, str) and len(one) < 500 and _NAME.fullmatch(one)
        ]
