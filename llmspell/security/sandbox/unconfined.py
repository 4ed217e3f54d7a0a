"""Tools that nothing confines: for hosts without a sandbox, where the owner says so."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from llmspell.errors import ClosedError, InputError, ToolFailed, ToolNotLoaded
from llmspell.security.requirements import SecurityRequirements
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.orders import MAX_ARGUMENTS
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker import frames

__all__ = ["UnconfinedTool"]

# The path is the whole process's.
_importing: Final = threading.Lock()


class UnconfinedTool:
    """Functions that run in this process, with all that it may do. Thread-safe as they are.

    It is called as :class:`ConfinedTool` is, and takes and gives the same data; but neither files,
    network, memory nor time are limited, nothing that is printed is caught, and a call can't be
    ended.
    """

    is_confined: Final = False

    def __init__(
        self,
        name: str,
        functions: Sequence[str],
        requirements: SecurityRequirements,
        *,
        path: Sequence[str],
        source: str | None,
        counters: SandboxCounters,
    ) -> None:
        self.name = name
        self.functions = tuple(functions)
        self.requirements = requirements
        self._counters = counters
        self._is_closed = False
        try:
            module = _module_of(name, path, source)
            self._found = {one: _function(module, one) for one in functions}
        except Exception as error:
            raise ToolNotLoaded(
                f"{name}: {type(error).__name__}: {error}", error=type(error).__name__
            ) from error

    def call(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        tenant: str | None = None,
    ) -> ToolResult:
        """Call a function, here and now; ``timeout`` and ``tenant`` mean nothing.

        Raises:
            ToolFailed: the function raised, or what it returned is no data or too large.
            InputError: arguments that are no data, or a function that isn't the tool's.
            ClosedError: after :meth:`close`.
        """
        if self._is_closed:
            raise ClosedError(f"{self.name} is closed")
        found = self._found.get(function)
        if found is None:
            raise InputError(
                f"{self.name} has no function {function!r}; it was loaded with "
                f"{', '.join(self.functions)}"
            )
        try:
            given = _copied([list(arguments), dict(named or {})], MAX_ARGUMENTS)
        except frames.FrameError as error:
            raise InputError(f"{function}: its arguments can't be sent: {error}") from None
        self._counters.calls.inc()
        self._counters.unsandboxed.inc()
        try:
            made = found(*given[0], **given[1])
            if inspect.isawaitable(made):
                made = asyncio.run(_awaited(made))
            return ToolResult(_copied(made, self.requirements.output_bytes))
        except Exception as error:
            self._counters.failed.inc()
            kind = type(error).__name__
            raise ToolFailed(f"{function}: {kind}: {error}", error=kind) from error

    def close(self) -> None:
        """Call it no more."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _module_of(name: str, path: Sequence[str], source: str | None) -> types.ModuleType:
    if source is not None:
        module = types.ModuleType(name)
        exec(compile(source, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
        return module
    with _importing:
        before = list(sys.path)
        sys.path[:0] = [os.fspath(place) for place in path]
        try:
            return importlib.import_module(name)
        finally:
            sys.path[:] = before


def _function(module: types.ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} can't be called")
    return found


def _copied(value: Any, limit: int) -> Any:
    raw = frames.pack_frame(frames.CALL, value, limit)
    found = frames.take_frame(raw, limit)
    assert found is not None
    return found[1]


async def _awaited(made: Any) -> Any:
    return await made
