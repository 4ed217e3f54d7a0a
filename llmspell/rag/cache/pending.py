"""What waits to be written by a thread."""

from __future__ import annotations

import queue
from typing import TypeVar

__all__ = ["Pending"]

_Job = TypeVar("_Job")


class Pending(queue.Queue[_Job]):
    """Jobs of a thread, which may end before all are done. Thread-safe."""

    _is_given_up = False

    def wait(self) -> None:
        """Wait until all are done, or given up."""
        with self.all_tasks_done:
            self.all_tasks_done.wait_for(lambda: self._is_given_up or not self.unfinished_tasks)

    def give_up(self) -> None:
        """Nobody does what is left: let go who waits for it."""
        with self.all_tasks_done:
            self._is_given_up = True
            self.all_tasks_done.notify_all()
