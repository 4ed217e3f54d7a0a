"""A tool that the kernel confines, as its caller sees it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.errors import InputError, ToolFailed, ToolLimitExceeded, ToolTimeout
from llmspell.security.denials import Denials
from llmspell.security.sandbox.call_cancel import CallCancel
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.definition import ToolDefinition, require_function
from llmspell.security.sandbox.exchange import NeverRead
from llmspell.security.sandbox.pool import WorkerPool
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker_handle import WorkerHandle

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink
    from llmspell.security.broker.broker import Broker
    from llmspell.security.broker.session import Session

__all__ = ["ConfinedTool"]

# Workers that may end, with their loader or killed by somebody, before they have read a call.
_TRIES: Final = 3


class ConfinedTool:
    """Functions that the kernel confines. Thread-safe; made by :class:`Sandbox`.

    Each call has a process of its own, unless the tool is defined with ``keep_workers``: then a
    worker serves one tenant again and again, and never another.
    """

    is_confined: Final = True

    def __init__(
        self,
        definition: ToolDefinition,
        *,
        pool: WorkerPool,
        broker: Broker | None,
        counters: SandboxCounters,
        audit: AuditSink | None,
        forget: Callable[[ConfinedTool], None],
    ) -> None:
        self.definition = definition
        self._pool = pool
        self._broker = broker
        self._counters = counters
        self._audit = audit
        self._forget = forget

    def start(self) -> None:
        """Load its libraries and fork its first worker, unless that is done; calls do it too.

        Raises:
            ToolNotLoaded: there is no such module or function, or loading it failed.
            SandboxUnavailable: the fork server doesn't start, or lacks what the tool needs.
            ClosedError: after :meth:`close`.
            UseAfterFork: in a child of the process that made it.
        """
        self._pool.start()

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
        """Call a function of the tool in a worker, and wait.

        Args:
            function: one of the definition's.
            arguments: positional ones, of what msgpack holds (also datetime with a time zone).
            named: those by name.
            timeout: seconds, at most and by default those of the requirements.
            tenant: whose call it is; a worker that is kept serves no other.
            cancel: by which another thread ends the call.

        Raises:
            ToolFailed: the function raised, its process ended, or the call was cancelled.
            ToolTimeout: it wasn't done in time, and was killed.
            ToolLimitExceeded: it took more memory or processor time than it may.
            ToolNotLoaded: loading it failed, in the first call.
            InputError: arguments that are no data, or a function that isn't the tool's.
            ConfigError: a tenant's id that is none.
            SandboxUnavailable: no worker can be forked.
            ClosedError: after :meth:`close`.
            UseAfterFork: in a child of the process that made it.
        """
        require_function(self.definition, function)
        requirements = self.definition.requirements
        most = requirements.timeout_seconds
        if timeout is not None and not 0 < timeout <= most:
            raise InputError(f"timeout must be above 0 and at most {most:g} s, got {timeout!r}")
        denials = Denials(self._audit, "tool.run", tenant)
        self._counters.calls.inc()
        timeout = most if timeout is None else timeout
        end = time.monotonic() + timeout
        for left in reversed(range(_TRIES)):
            worker = self._pool.take(tenant)
            has_failed = True
            try:
                if cancel is not None:
                    cancel._begin(function, worker)
                with self._way_out(worker, tenant) as session:
                    result = worker.call(
                        function,
                        arguments,
                        named or {},
                        result_bytes=requirements.output_bytes,
                        timeout=timeout,
                        cpu_seconds=requirements.cpu_ms / 1e3,
                        session=session,
                    )
                has_failed = False
                return result
            except NeverRead as error:
                if not left:
                    self._note(error, function, denials)
                    raise ToolFailed(str(error)) from None
            except ToolFailed as error:
                self._note(error, function, denials)
                raise
            finally:
                try:
                    if cancel is not None:
                        cancel._end()
                        has_failed |= cancel.is_cancelled
                finally:  # also where the caller is interrupted
                    self._pool.give_back(worker, tenant, has_failed=has_failed)
            timeout = max(0.001, end - time.monotonic())
        raise AssertionError

    def close(self) -> None:
        """End all its processes; calls that go on fail."""
        self._pool.close()
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _way_out(self, worker: WorkerHandle, tenant: str | None) -> Iterator[Session | None]:
        """What serves a worker's requests during one call, and those of its programs."""
        if self._broker is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            listener = worker.listener()
            if listener is not None:
                from llmspell.security.broker.proxy import EgressProxy

                stack.enter_context(EgressProxy(listener, self._broker, tenant=tenant))
            yield stack.enter_context(self._broker.session(tenant=tenant))

    def _note(self, error: ToolFailed, function: str, denials: Denials) -> None:
        """Count it; what was killed for a limit is a denial too."""
        if isinstance(error, ToolTimeout):
            self._counters.timed_out.inc()
        elif isinstance(error, ToolLimitExceeded):
            self._counters.over_limit.inc()
        else:
            self._counters.failed.inc()
            return
        denials.noted(error, f"{self.definition.module}.{function}")
