"""The end of a call before its time, from another thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from llmspell.errors import ToolFailed

if TYPE_CHECKING:
    from llmspell.security.sandbox.worker_handle import WorkerHandle

__all__ = ["CallCancel"]


class CallCancel:
    """Ends one call of a confined tool. Thread-safe; for one call.

    What has no worker yet is given none; a worker is killed with all that it started. A request
    that the broker makes for it meanwhile runs to its end.
    """

    __slots__ = ("_is_cancelled", "_lock", "_worker")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: WorkerHandle | None = None
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._is_cancelled

    def cancel(self) -> None:
        """End the call: it raises ToolFailed. Does nothing where it is over."""
        with self._lock:
            self._is_cancelled = True
            if self._worker is not None:
                self._worker.kill()

    def _begin(self, what: str, worker: WorkerHandle | None) -> None:
        """Called by the tool, when the call has its worker."""
        with self._lock:
            if self._is_cancelled:
                raise ToolFailed(f"{what}: cancelled")
            self._worker = worker

    def _end(self) -> None:
        """Called before the worker is given back: from then on it may be another call's."""
        with self._lock:
            self._worker = None
