"""The workers of one tool: forked ahead of need, kept for a tenant, ended when they have served."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from llmspell.errors import (
    ClosedError,
    LlmspellError,
    SandboxUnavailable,
    ToolNotLoaded,
    UseAfterFork,
)
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.definition import ToolDefinition
from llmspell.security.sandbox.fork_server import Loader
from llmspell.security.sandbox.groups import GroupPool
from llmspell.security.sandbox.orders import KEPT_CPU_SECONDS, filter_of
from llmspell.security.sandbox.worker_handle import WorkerHandle

__all__ = ["WorkerPool"]

_log: Final = logging.getLogger(__name__)

# A worker that is kept is replaced after so many calls, with what it gathered.
_CALLS_OF_ONE: Final = 10_000
# Kept workers of one tool, of all tenants together.
_KEPT: Final = 64
_PAUSE: Final = 0.1
# Loaders that may end, with their server or killed by somebody, while one worker is made.
_TRIES: Final = 3


class WorkerPool:
    """Workers of one tool. Thread-safe.

    Args:
        definition: of the tool.
        loads: makes a loader of the tool, and tells of it before it waits until all is loaded;
            called again where one has ended.
        groups: that hold the workers; closed with the pool.
        counters: of the sandbox.
    """

    def __init__(
        self,
        definition: ToolDefinition,
        *,
        loads: Callable[[Callable[[Loader], None]], Loader],
        groups: GroupPool,
        counters: SandboxCounters,
    ) -> None:
        self._definition = definition
        self._loads = loads
        self._groups = groups
        self._counters = counters
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._keeping = threading.RLock()  # whoever looks through `_kept`, or changes it
        self._is_closed = False
        self._is_ended = False
        self._idle: deque[WorkerHandle] = deque()
        self._kept: deque[tuple[str | None, WorkerHandle]] = deque()
        self._spent: deque[WorkerHandle] = deque()
        self._loader: Loader | None = None
        self._loading: Loader | None = None
        self._wanted = threading.Semaphore(0)
        self._filling = threading.Thread(target=self._fill, name="llmspell-workers", daemon=True)

    def start(self) -> None:
        """Load the tool's libraries and fork its first worker, unless that is done.

        Raises:
            ToolNotLoaded, SandboxUnavailable, ClosedError, UseAfterFork: see ConfinedTool.start.
        """
        self._require_usable()
        with self._lock:
            if self._loader is not None:
                return
            self._loader = self._loaded()
            try:
                self._idle.append(self._ready_worker())
                self._start_filling()
            except BaseException:
                loader, self._loader = self._loader, None
                loader.close()
                _end(self._idle)
                raise
            self._wanted.release()

    def take(self, tenant: str | None) -> WorkerHandle:
        """A worker that waits for a call of this tenant; to be given back."""
        self.start()
        while (worker := self._waiting(tenant)) is not None:
            is_waiting = False
            try:
                is_waiting = worker.is_waiting()
            finally:
                if not is_waiting:  # also where the caller is interrupted
                    self._spent.append(worker)
                    self._wanted.release()
            if is_waiting:
                return worker
        self._counters.waited.inc()
        return self._ready_worker()

    def give_back(self, worker: WorkerHandle, tenant: str | None, *, has_failed: bool) -> None:
        """Keep a worker for the tenant's next call; or have it ended, and another forked."""
        is_kept = False
        try:
            is_kept = (
                self._definition.keep_workers
                and not has_failed
                and worker.calls < _CALLS_OF_ONE
                and worker.cpu_seconds() < KEPT_CPU_SECONDS
            )
        finally:  # also where the caller is interrupted
            if is_kept:
                with self._keeping:
                    self._kept.append((tenant, worker))
            else:
                self._spent.append(worker)
            if not is_kept or len(self._kept) > _KEPT:
                self._wanted.release()
        if self._is_closed:
            self._end_all()

    def close(self) -> None:
        """End all its processes; calls that go on fail."""
        if os.getpid() != self._process:  # a thread that isn't in this fork may have the lock
            return
        self._is_closed = True
        for loader in (self._loading, self._loader):
            if loader is not None:
                loader.give_up()  # whoever waits for it, and has the lock, is told
        with self._lock:
            if self._is_ended:
                return
            self._is_ended = True
        if self._loader is not None:
            self._loader.close()  # a worker that isn't ready yet ends with it, and isn't waited for
        if self._filling.is_alive():
            self._wanted.release()
            if self._filling is not threading.current_thread():  # of which garbage may be collected
                self._filling.join()
        self._end_all()
        self._groups.close()

    def _require_usable(self) -> None:
        name = self._definition.module
        if os.getpid() != self._process:
            raise UseAfterFork(f"{name} was loaded before this process was forked; load it anew")
        if self._is_closed:
            raise ClosedError(f"{name} is closed")

    def _waiting(self, tenant: str | None) -> WorkerHandle | None:
        if self._definition.keep_workers:
            with self._keeping:
                for place, (of, worker) in enumerate(self._kept):
                    if of == tenant:
                        del self._kept[place]
                        return worker
        try:
            return self._idle.popleft()
        except IndexError:
            return None

    def _loaded(self) -> Loader:
        """A new loader; for whoever has the lock."""
        self._require_usable()  # it may have been closed while the lock was waited for
        try:
            return self._loads(self._note_loading)
        except ToolNotLoaded:
            self._require_usable()  # was it given up?
            raise
        finally:
            self._loading = None

    def _note_loading(self, loader: Loader) -> None:
        self._loading = loader
        if self._is_closed:
            loader.give_up()

    def _ready_worker(self) -> WorkerHandle:
        """A new worker in which the module has run."""
        for _ in range(_TRIES):
            worker, loader = self._forked_by_a_living_loader()
            try:
                self._await_ready(worker)
                return worker
            except ToolNotLoaded:
                if loader.answers():
                    raise
                # It ended with its loader, in whatever it was about.
            except OSError as error:
                raise self._unavailable(error) from error
        name = self._definition.module
        raise SandboxUnavailable(
            f"{name}: no worker can be forked: {_TRIES} times the process that forks them ended "
            "meanwhile; see who kills processes of this one"
        )

    def _forked_by_a_living_loader(self) -> tuple[WorkerHandle, Loader]:
        loader = self._loader
        assert loader is not None
        if loader.is_alive():
            try:
                return self._forked(loader), loader
            except OSError as error:
                if loader.answers():
                    raise self._unavailable(error) from error
        with self._lock:
            self._require_usable()
            if self._loader is loader:
                self._loader = self._loaded()
                self._counters.reloaded.inc()
                loader.close()
            loader = self._loader
            assert loader is not None
        try:
            return self._forked(loader), loader
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> SandboxUnavailable:
        return SandboxUnavailable(f"{self._definition.module}: no worker can be forked: {error}")

    def _forked(self, loader: Loader) -> WorkerHandle:
        requirements = self._definition.requirements
        worker = WorkerHandle(
            loader,
            self._groups,
            requirements.output_bytes,
            has_listener=filter_of(requirements) == "networked",
        )
        try:
            self._counters.forked.inc()
        except BaseException:  # that interrupts the caller
            worker.close()
            raise
        return worker

    def _await_ready(self, worker: WorkerHandle) -> None:
        try:
            worker.await_ready()
        except BaseException:
            _end(deque([worker]))
            raise

    def _start_filling(self) -> None:
        try:
            if not self._filling.is_alive():
                self._filling.start()
        except RuntimeError as error:
            raise SandboxUnavailable(f"{self._definition.module}: {error}") from error

    def _fill(self) -> None:
        """Fork ahead, and end what has served: until it is closed."""
        while True:
            self._wanted.acquire()
            with self._keeping:
                while len(self._kept) > _KEPT:
                    self._spent.append(self._kept.popleft()[1])
            _end(self._spent)
            if self._is_closed:
                return
            try:
                while len(self._idle) < self._definition.ready:
                    self._idle.append(self._ready_worker())
            except Exception as error:
                # A call forks for itself, and tells why that fails.
                if not isinstance(error, OSError | LlmspellError):
                    _log.exception("%s: no worker is forked ahead", self._definition.module)
                if not self._is_closed:
                    time.sleep(_PAUSE)

    def _end_all(self) -> None:
        with self._keeping:
            while self._kept:
                self._spent.append(self._kept.popleft()[1])
        _end(self._idle)
        _end(self._spent)


def _end(workers: deque[WorkerHandle]) -> None:
    with contextlib.suppress(IndexError):  # others take from it too
        while True:
            worker = workers.popleft()
            try:
                worker.close()
            except OSError as error:
                _log.warning("a worker's group stays behind: %s", error)
