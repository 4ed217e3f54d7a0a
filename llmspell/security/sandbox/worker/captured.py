"""Imports of a tool's own modules from memory, in a worker that reads no files."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import marshal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from llmspell.security.sandbox.worker.scanning import OwnModule

__all__ = ["install"]


def install(own: dict[str, OwnModule], *, is_closed: bool) -> None:
    """Find these modules before all others; where ``is_closed``, and no others on the path."""
    finders: list[object] = [
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        _Captured(own),
    ]
    finders.append(_Closed() if is_closed else importlib.machinery.PathFinder)
    sys.meta_path[:] = finders  # type: ignore[assignment]
    for module in own.values():
        text = module.source.decode(errors="replace")
        lines = text.splitlines(keepends=True)
        linecache.cache[module.origin] = (len(text), None, lines, module.origin)


class _Captured(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, own: dict[str, OwnModule]) -> None:
        self._own = own

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        found = self._own.get(name)
        if found is None:
            return None
        return importlib.util.spec_from_loader(
            name, self, origin=found.origin, is_package=found.is_package
        )

    def exec_module(self, module: ModuleType) -> None:
        found = self._own[module.__name__]
        module.__file__ = found.origin
        if found.code:
            exec(marshal.loads(found.code), module.__dict__)


class _Closed(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> NoReturn:
        raise ModuleNotFoundError(
            f"{name!r} wasn't loaded before the sandbox was closed: an import that isn't written "
            "in the tool's own source is to be named in preload=",
            name=name,
        )
