"""The functions of one tool, called in workers that are forked ahead of need."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.errors import (
    ClosedError,
    InputError,
    LlmspellError,
    SandboxUnavailable,
    ToolFailed,
    ToolLimitExceeded,
    ToolNotLoaded,
    ToolTimeout,
    UseAfterFork,
)
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.definition import ToolDefinition, require_function
from llmspell.security.sandbox.fork_server import Loader
from llmspell.security.sandbox.groups import GroupPool
from llmspell.security.sandbox.orders import KEPT_CPU_SECONDS, filter_of
from llmspell.security.sandbox.tool_result import ToolResult
from llmspell.security.sandbox.worker_handle import WorkerHandle

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink
    from llmspell.security.broker.broker import Broker
    from llmspell.security.broker.session import Session

__all__ = ["ConfinedTool"]

_log: Final = logging.getLogger(__name__)

# A worker that is kept is replaced after so many calls, with what it gathered.
_CALLS_OF_ONE: Final = 10_000
# Kept workers of one tool, of all tenants together.
_KEPT: Final = 64
_PAUSE: Final = 0.1


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
        loads: Callable[[], Loader],
        groups: GroupPool,
        broker: Broker | None,
        counters: SandboxCounters,
        audit: AuditSink | None,
    ) -> None:
        self.definition = definition
        self._audit = audit
        self._broker = broker
        self._loads = loads
        self._groups = groups
        self._counters = counters
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._is_closed = False
        self._idle: deque[WorkerHandle] = deque()
        self._kept: deque[tuple[str | None, WorkerHandle]] = deque()
        self._spent: deque[WorkerHandle] = deque()
        self._loader: Loader | None = None
        self._wanted = threading.Semaphore(0)
        self._filling = threading.Thread(target=self._fill, name="llmspell-workers", daemon=True)

    def start(self) -> None:
        """Load its libraries and fork its first worker, unless that is done; calls do it too.

        Raises:
            ToolNotLoaded: there is no such module or function, or loading it failed.
            SandboxUnavailable: the fork server doesn't start.
            ClosedError: after :meth:`close`.
            UseAfterFork: in a child of the process that made it.
        """
        self._require_usable()
        with self._lock:
            if self._loader is not None:
                return
            loader = self._loads()
            try:
                worker = self._ready_worker(loader)
            except BaseException:
                loader.close()
                raise
            self._loader = loader
            self._idle.append(worker)
            self._wanted.release()
            self._filling.start()

    def call(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        tenant: str | None = None,
    ) -> ToolResult:
        """Call a function of the tool in a worker, and wait.

        Args:
            function: one of the definition's.
            arguments: positional ones, of what msgpack holds (also datetime with a time zone).
            named: those by name.
            timeout: seconds, at most and by default those of the requirements.
            tenant: whose call it is; a worker that is kept serves no other.

        Raises:
            ToolFailed: the function raised, or its process ended.
            ToolTimeout: it wasn't done in time, and was killed.
            ToolLimitExceeded: it took more memory or processor time than it may.
            InputError: arguments that are no data, or a function that isn't the tool's.
            SandboxUnavailable: no worker can be forked.
            ToolNotLoaded: loading it failed, in the first call.
            ClosedError: after :meth:`close`.
            UseAfterFork: in a child of the process that made it.
        """
        require_function(self.definition, function)
        requirements = self.definition.requirements
        most = requirements.timeout_seconds
        if timeout is not None and not 0 < timeout <= most:
            raise InputError(f"timeout must be above 0 and at most {most:g} s, got {timeout!r}")
        self.start()
        self._counters.calls.inc()
        worker = self._worker(tenant)
        keeps = False
        try:
            with self._way_out(worker, tenant) as session:
                result = worker.call(
                    function,
                    arguments,
                    named or {},
                    result_bytes=requirements.output_bytes,
                    timeout=most if timeout is None else timeout,
                    cpu_seconds=requirements.cpu_ms / 1e3,
                    session=session,
                )
            keeps = (
                self.definition.keep_workers
                and worker.calls < _CALLS_OF_ONE
                and worker.cpu_seconds() < KEPT_CPU_SECONDS
            )
            return result
        except ToolFailed as error:
            self._count(error)
            if self._audit is not None and isinstance(error, (ToolTimeout, ToolLimitExceeded)):
                from llmspell.security.audit import note_denial

                subject = f"{self.definition.module}.{function}"
                note_denial(self._audit, error, "tool.run", subject=subject, tenant=tenant)
            raise
        finally:
            if keeps:
                self._kept.append((tenant, worker))
            else:
                # Ending it and forking the next is no part of the call.
                self._spent.append(worker)
            self._wanted.release()
            if self._is_closed:
                self._end_all()

    def close(self) -> None:
        """End all its processes; calls that go on fail."""
        with self._lock:
            if self._is_closed or os.getpid() != self._process:
                return
            self._is_closed = True
            loader = self._loader
        if loader is not None:
            self._wanted.release()
            self._filling.join()
            assert self._loader is not None
            self._loader.close()
        self._end_all()
        self._groups.close()

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

                stack.enter_context(EgressProxy(listener, self._broker, tenant=tenant or ""))
            yield stack.enter_context(self._broker.session(tenant=tenant or ""))

    def _count(self, error: ToolFailed) -> None:
        if isinstance(error, ToolTimeout):
            self._counters.timed_out.inc()
        elif isinstance(error, ToolLimitExceeded):
            self._counters.over_limit.inc()
        else:
            self._counters.failed.inc()

    def _require_usable(self) -> None:
        name = self.definition.module
        if os.getpid() != self._process:
            raise UseAfterFork(f"{name} was loaded before this process was forked; load it anew")
        if self._is_closed:
            raise ClosedError(f"{name} is closed")

    def _worker(self, tenant: str | None) -> WorkerHandle:
        while (worker := self._take(tenant)) is not None:
            if worker.is_waiting():
                return worker
            self._spent.append(worker)
        self._counters.waited.inc()
        return self._ready_worker()

    def _take(self, tenant: str | None) -> WorkerHandle | None:
        if self.definition.keep_workers:
            with self._lock:
                for place, (of, worker) in enumerate(self._kept):
                    if of == tenant:
                        del self._kept[place]
                        return worker
        try:
            return self._idle.popleft()
        except IndexError:
            return None

    def _fork(self, loader: Loader) -> WorkerHandle:
        output_bytes = self.definition.requirements.output_bytes
        has_listener = filter_of(self.definition.requirements) == "networked"
        worker = WorkerHandle(loader, self._groups, output_bytes, has_listener=has_listener)
        self._counters.forked.inc()
        return worker

    def _fork_or_reload(self) -> WorkerHandle:
        """A new worker, by a new loader where the one before has ended."""
        loader = self._loader
        assert loader is not None
        try:
            return self._fork(loader)
        except OSError:
            with self._lock:
                self._require_usable()
                if self._loader is loader:
                    self._loader = self._loads()
                    self._counters.reloaded.inc()
                    loader.close()
                loader = self._loader
            assert loader is not None
        try:
            return self._fork(loader)
        except OSError as error:
            name = self.definition.module
            raise SandboxUnavailable(f"{name}: no worker can be forked: {error}") from error

    def _ready_worker(self, loader: Loader | None = None) -> WorkerHandle:
        """A new worker in which the module has run; of ``loader``, or of whichever lives."""
        for is_last in (loader is not None, True):
            worker = self._fork_or_reload() if loader is None else self._fork(loader)
            try:
                worker.await_ready()
                return worker
            except BaseException as error:
                worker.close()
                # With its loader it ends, in whatever it was about.
                is_module_s = isinstance(error, ToolNotLoaded) and _lives(loader or self._loader)
                if is_last or is_module_s or not isinstance(error, ToolNotLoaded):
                    raise
        raise AssertionError

    def _end_all(self) -> None:
        _end(self._idle)
        with contextlib.suppress(IndexError):
            while True:
                self._spent.append(self._kept.popleft()[1])
        _end(self._spent)

    def _fill(self) -> None:
        """Fork ahead, and end what has served: until it is closed."""
        while True:
            self._wanted.acquire()
            while not self._is_closed and len(self._kept) > _KEPT:
                with contextlib.suppress(IndexError):
                    self._spent.append(self._kept.popleft()[1])
            _end(self._spent)
            if self._is_closed:
                return
            try:
                while len(self._idle) < self.definition.ready:
                    self._idle.append(self._ready_worker())
            except (OSError, LlmspellError):
                # A call forks for itself, and tells why that fails.
                time.sleep(_PAUSE)


def _lives(loader: Loader | None) -> bool:
    return loader is not None and loader.is_waiting()


def _end(workers: deque[WorkerHandle]) -> None:
    with contextlib.suppress(IndexError):  # others take from it too
        while True:
            worker = workers.popleft()
            try:
                worker.close()
            except OSError as error:
                _log.warning("a worker's group stays behind: %s", error)
