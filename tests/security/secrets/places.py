"""A place of secrets that tests fill, hold up and take down."""

from __future__ import annotations

import threading

import pytest

from llmspell.errors import SecretUnavailable
from llmspell.security import Secret, SecretRef
from llmspell.security.secrets.ref import place

# From 3.12 on Python warns of forks beside threads, such as those of servers of other tests.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """A backend in memory. Counts what it is asked, and fails while it is ``down``."""

    def __init__(self, scheme: str = "shelf", **values: str) -> None:
        self.scheme = scheme
        self.values = values
        self.asked: list[str] = []
        self.down = False
        self.error: Exception | None = None
        self.gate: threading.Event | None = None
        self.entered = threading.Semaphore(0)

    def ref_for(self, name: str, tenant: str | None) -> SecretRef:
        return SecretRef(self.scheme, place(name, tenant))

    def read(self, ref: SecretRef) -> Secret[str] | None:
        self.asked.append(ref.path)
        value = self.values.get(ref.path)
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        if self.down:
            raise SecretUnavailable("the shelf is down")
        return None if value is None else Secret(value)
