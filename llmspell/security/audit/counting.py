"""Equal events of an interval, counted and not written: a loop of denials fills no disk."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from llmspell.security.audit.event import LOOKED_AT, Event
from llmspell.security.audit.record import AuditOutcome
from llmspell.security.audit.tally import SUBJECTS, TENANTS, Tally

__all__ = ["MAX_OTHERS", "MAX_SUBJECTS", "OTHERS", "Counts", "Window"]

#: Of each tenant so many different events of each outcome are told apart in an interval. Of each
#: outcome, lest what is allowed hides what is denied.
MAX_SUBJECTS: Final = 32
#: And so many of the rest, whose subjects are listed together: by method, reason, result or error,
#: lest a request that changes something hides behind many that only ask.
MAX_OTHERS: Final = 16
#: Of all tenants together, so that a table of them has a bound, too.
MAX_WINDOWS: Final = 65_536
OTHERS: Final = "(others)"
_KEY_CHARS: Final = 512


class _Key(NamedTuple):
    """What events have in common that are counted together."""

    kind: str
    tenant: str | None
    outcome: AuditOutcome
    subject: str
    apart: tuple[str, ...]
    is_folded: bool = False


@dataclass(slots=True, eq=False)
class Window:
    """The interval that begins with the first of equal events.

    Args:
        key: what they have in common.
        event: the first of them, without its details; of others with ``(others)`` for a subject.
        ends: when it ends, by the monotonic clock.
        notice: number of the record that says that the rest is counted; None before the second.
        count: of those that are in no record yet.
        tally: of their details.
    """

    key: _Key
    event: Event
    ends: float
    notice: int | None = None
    count: int = 0
    tally: Tally = field(default_factory=Tally)

    def take(self, event: Event) -> None:
        """Count one of them."""
        # First, for only this may raise: where the text of a detail can't be had.
        self.tally.take(event.details)
        if self.key.is_folded:
            is_shown = self.event.tenant == event.tenant
            self.tally.take_subject(event.subject, None if is_shown else event.tenant)
        self.count += 1

    def shown(self, event: Event) -> Event:
        """One of them as its own record tells of it."""
        if not self.key.is_folded:
            return event
        # Before the others, of which too many are cut.
        details = {SUBJECTS: [event.subject]}
        if self.event.tenant != event.tenant:
            details[TENANTS] = [str(event.tenant)]
        known = {k: v for k, v in (event.details or {}).items() if k not in details}
        return replace(self.event, details=details | known)

    def counted(self) -> Event:
        """Those that are counted, as their record tells of them."""
        return replace(self.event, details=self.tally.details())


class Counts:
    """The windows of one log. Not thread-safe.

    Args:
        interval: seconds that a window lasts.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        # All last as long, so the first in is the first to end.
        self._windows: dict[_Key, Window] = {}
        # How many of each tenant and outcome, apart and folded.
        self._apart: Counter[tuple[str | None, AuditOutcome]] = Counter()
        self._folded: Counter[tuple[str | None, AuditOutcome]] = Counter()
        self._ended: deque[Window] = deque()

    def find(self, event: Event, now: float) -> Window | None:
        """The window that an event falls in, if one is open."""
        window = self._windows.get(_key(event)) or self._windows.get(self._place(event))
        return window if window is not None and now < window.ends else None

    def open(self, event: Event, now: float) -> Window:
        """Begin a window for an event that falls in none, once the ended ones are taken out."""
        key = self._place(event)
        # No more of a subject than is looked at.
        subject = OTHERS if key.is_folded else event.subject[: LOOKED_AT + 1]
        kept = replace(event, subject=subject, tenant=key.tenant, details=None)
        window = Window(key, kept, now + self._interval)
        self._windows[key] = window
        self._number(window)[key.tenant, key.outcome] += 1
        return window

    def drop(self, window: Window) -> None:
        """Forget a window, of which nothing was recorded."""
        if self._windows.pop(window.key, None) is not None:
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

    def _place(self, event: Event) -> _Key:
        """What an event is counted by where no window is open for it alone."""
        group = (event.tenant, event.outcome)
        if len(self._windows) >= MAX_WINDOWS and event.tenant is not None:
            return _Key(event.kind, None, event.outcome, OTHERS, (), is_folded=True)
        if self._apart[group] < MAX_SUBJECTS:
            return _key(event)
        folded = _Key(event.kind, *group, OTHERS, event.apart, is_folded=True)
        if folded in self._windows or self._folded[group] < MAX_OTHERS:
            return folded
        return _Key(event.kind, *group, OTHERS, (), is_folded=True)

    def _number(self, window: Window) -> Counter[tuple[str | None, AuditOutcome]]:
        return self._folded if window.key.is_folded else self._apart

    def _leave(self, window: Window) -> None:
        group, number = (window.key.tenant, window.key.outcome), self._number(window)
        number[group] -= 1
        if not number[group]:
            del number[group]


def _key(event: Event) -> _Key:
    subject = event.subject[:_KEY_CHARS]
    return _Key(event.kind, event.tenant, event.outcome, subject, event.apart)
