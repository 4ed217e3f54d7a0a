"""Equal events of an interval, counted and not written: a loop of denials fills no disk."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from llmspell.security.audit.event import LOOKED_AT, Event
from llmspell.security.audit.record import AuditOutcome

__all__ = ["MAX_SUBJECTS", "OTHERS", "Counts", "Window"]

#: Of each tenant so many different events of each outcome are told apart in an interval; the rest
#: is one. Of each outcome, lest what is allowed hides what is denied.
MAX_SUBJECTS: Final = 16
#: Of all tenants together, so that a table of them has a bound, too.
MAX_WINDOWS: Final = 65_536
OTHERS: Final = "(others)"
_KEY_CHARS: Final = 512


@dataclass(slots=True, eq=False)
class Window:
    """The interval that begins with the first of equal events.

    Args:
        event: the first of them.
        ends: when it ends, by the monotonic clock.
        notice: number of the record that says that the rest is counted; None before the second.
        count: of those that are in no record yet.
        is_folded: whether it is of events that aren't told apart.
    """

    event: Event
    ends: float
    notice: int | None = None
    count: int = 0
    is_folded: bool = False


class Counts:
    """The windows of one log. Not thread-safe.

    Args:
        interval: seconds that a window lasts.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        # All last as long, so the first in is the first to end.
        self._windows: dict[tuple[object, ...], Window] = {}
        self._subjects: Counter[tuple[str | None, AuditOutcome]] = Counter()
        self._ended: deque[Window] = deque()

    def find(self, event: Event, now: float) -> Window | None:
        """The window that an event falls in, if one is open."""
        window = self._windows.get(_key(event))
        if window is None:
            window = self._windows.get(_key(self._folded(event)))
        return window if window is not None and now < window.ends else None

    def open(self, event: Event, now: float) -> Window:
        """Begin a window for an event that falls in none, once the ended ones are taken out."""
        shown = self._folded(event)
        # Without what only the first record shows, and no more of a subject than is looked at.
        kept = replace(shown, subject=shown.subject[: LOOKED_AT + 1], details=None)
        window = Window(kept, now + self._interval, is_folded=shown is not event)
        self._windows[_key(kept)] = window
        self._subjects[kept.tenant, kept.outcome] += 1
        return window

    def drop(self, window: Window) -> None:
        """Forget a window, of which nothing was recorded."""
        if self._windows.pop(_key(window.event), None) is not None:
            self._leave(window)

    def end(self, now: float | None) -> None:
        """End the windows whose time has come; all for None."""
        while self._windows:
            key = next(iter(self._windows))
            window = self._windows[key]
            if now is not None and now < window.ends:
                return
            del self._windows[key]
            self._leave(window)
            # Also a count of none: its notice says that a record will tell.
            if window.notice is not None:
                self._ended.append(window)

    def ended(self) -> Iterator[Window]:
        """The ended windows whose counts aren't recorded yet, each until :meth:`settle`."""
        while self._ended:
            yield self._ended[0]

    def settle(self) -> None:
        """The count of the first of :meth:`ended` is recorded."""
        self._ended.popleft()

    def left(self) -> int:
        """How many events of ended windows aren't recorded."""
        return sum(window.count for window in self._ended)

    def next_end(self) -> float | None:
        """When the next window with a count ends; None where there is nothing to wait for."""
        if self._ended:
            return self._ended[0].ends
        return next((w.ends for w in self._windows.values() if w.notice is not None), None)

    def _folded(self, event: Event) -> Event:
        if len(self._windows) >= MAX_WINDOWS and event.tenant is not None:
            return replace(event, subject=OTHERS, tenant=None, details=None)
        if self._subjects[event.tenant, event.outcome] >= MAX_SUBJECTS:
            return replace(event, subject=OTHERS, details=None)
        return event

    def _leave(self, window: Window) -> None:
        group = (window.event.tenant, window.event.outcome)
        self._subjects[group] -= 1
        if not self._subjects[group]:
            del self._subjects[group]


def _key(event: Event) -> tuple[object, ...]:
    return (event.kind, event.tenant, event.outcome, event.subject[:_KEY_CHARS])
