"""By when something must be done, for all that is called on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from llmspell.errors import InputError, ProviderTimeout

__all__ = ["Deadline", "current_deadline", "deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the clock that goes on evenly.

    Args:
        at: as ``time.monotonic()`` tells it.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 < seconds < math.inf:
            raise InputError(f"a deadline is some seconds away, above 0, got {seconds!r}")
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds that are left; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())

    def require(self, what: str, *, is_sent: bool = False) -> float:
        """Seconds that are left for something; raises ProviderTimeout where there are none.

        Args:
            what: for the message.
            is_sent: whether it is under way already.
        """
        left = self.remaining
        if left <= 0:
            became = "the answer was under way" if is_sent else "nothing was sent"
            raise ProviderTimeout(f"{what}: the deadline had passed; {became}", is_sent=is_sent)
        return left


_CURRENT: ContextVar[Deadline | None] = ContextVar("llmspell_deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline that this code runs under; None where there is none."""
    return _CURRENT.get()


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Let calls of models inside of the ``with`` take so long together, and no more.

    Runs of agents, and calls of tools by :class:`llmspell.tools.TenantTools`, hold it too.
    Within another one the earlier of both holds. Tasks that are started inside keep it, and so do
    calls by ``asyncio.to_thread``.
    """
    made, outer = Deadline.after(seconds), _CURRENT.get()
    if outer is not None and outer.at < made.at:
        made = outer
    token = _CURRENT.set(made)
    try:
        yield made
    finally:
        _CURRENT.reset(token)
