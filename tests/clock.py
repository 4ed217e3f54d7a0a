"""A clock that tests move on: a limit of seconds ends when a test says so, on any machine."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

_R = TypeVar("_R")


class Clock:
    """Runs coroutines in a loop whose timers, and deadlines, go by a clock that is ahead.

    Attributes:
        ahead: seconds before the machine's clock.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        # The module, which a function of its name hides in its package.
        module = importlib.import_module("llmspell.remote.deadline")
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.now))

    def now(self) -> float:
        """What it says."""
        return time.monotonic() + self.ahead

    def run(self, main: Coroutine[Any, Any, _R]) -> _R:
        """As ``asyncio.run``."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)

    async def run_out(self, task: asyncio.Future[Any]) -> None:
        """Let minutes pass until a task has ended: whatever limit it waits for, or comes to."""
        while not task.done():
            self.ahead += 60.0
            await asyncio.sleep(0.001)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        self._ahead = clock
        super().__init__()

    def time(self) -> float:
        return self._ahead.now()
