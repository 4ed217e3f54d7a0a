"""Tools that nothing confines: for hosts without a sandbox, where the owner says so."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.errors import ClosedError, InputError, ToolFailed, ToolNotLoaded
from llmspell.security.sandbox.call_cancel import CallCancel
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.definition import ToolDefinition, require_function
from llmspell.security.sandbox.orders import MAX_ARGUMENTS
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker import frames
from llmspell.security.sandbox.worker.functions import called, find_function

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

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
        definition: ToolDefinition,
        counters: SandboxCounters,
        audit: AuditSink | None,
        *,
        forget: Callable[[UnconfinedTool], None],
    ) -> None:
        self.definition = definition
        self._audit = audit
        self._forget = forget
        self._counters = counters
        self._lock = threading.Lock()
        self._found: dict[str, Any] | None = None
        self._is_closed = False

    def start(self) -> None:
        """Import its module, unless that is done.

        Raises:
            ToolNotLoaded: there is no such module or function, or importing it failed.
        """
        with self._lock:
            if self._found is not None:
                return
            try:
                module = _module_of(self.definition)
                self._found = {one: find_function(module, one) for one in self.definition.functions}
            except Exception as error:
                kind = type(error).__name__
                raise ToolNotLoaded(
                    f"{self.definition.module}: {kind}: {error}", error=kind
                ) from error

    def call(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        tenant: str | None = None,
        cancel: CallCancel | None = None,
    ) -> ToolResult:
        """Call a function, here and now; ``timeout`` means nothing, and once it runs ``cancel``.

        Raises:
            ToolFailed: the function raised, or what it returned is no data or too large.
            InputError: arguments that are no data, or a function that isn't the tool's.
            AuditDamaged, AuditFailed: the call can't be recorded, and wasn't made.
            ClosedError: after :meth:`close`.
        """
        if self._is_closed:
            raise ClosedError(f"{self.definition.module} is closed")
        require_function(self.definition, function)
        self.start()
        if cancel is not None:
            cancel._begin(function, None)
        assert self._found is not None
        found = self._found[function]
        try:
            given = _copied(
                [list(arguments), dict(named or {})], MAX_ARGUMENTS, (MAX_ARGUMENTS, MAX_ARGUMENTS)
            )
        except frames.FrameError as error:
            raise InputError(f"{function}: its arguments can't be sent: {error}") from None
        if self._audit is not None:
            subject = f"{self.definition.module}.{function}"
            self._audit.append("tool.run_unsandboxed", subject=subject, tenant=tenant)
        self._counters.calls.inc()
        self._counters.unsandboxed.inc()
        try:
            made = called(found, *given)
            return ToolResult(_copied(made, self.definition.requirements.output_bytes))
        except Exception as error:
            self._counters.failed.inc()
            kind = type(error).__name__
            raise ToolFailed(f"{function}: {kind}: {error}", error=kind) from error

    def close(self) -> None:
        """Call it no more."""
        self._is_closed = True
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _module_of(definition: ToolDefinition) -> types.ModuleType:
    if definition.source is not None:
        module = types.ModuleType(definition.module)
        code = compile(definition.source, f"<{definition.module}>", "exec", dont_inherit=True)
        exec(code, module.__dict__)
        return module
    with _importing:
        before = list(sys.path)
        sys.path[:0] = definition.path
        try:
            return importlib.import_module(definition.module)
        finally:
            sys.path[:] = before


def _copied(
    value: Any,
    limit: int,
    bounds: tuple[int, int] = (frames.MAX_OTHER_KEYS, frames.MAX_CONTAINERS),
) -> Any:
    raw = frames.pack_frame(frames.CALL, value, limit)
    found = frames.take_frame(raw, {frames.CALL: limit}, *bounds)
    assert found is not None
    return found[1]
