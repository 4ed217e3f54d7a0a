"""Call quotas that all processes share, kept in the tenant's state.

What is kept of one is the times of calls, and leases: calls that a process has taken beforehand,
each a number, when it ends, and how many. A call counts for the length of the quota's stretch from
its time on, and one of a lease from the end of that on, which is no earlier, so that a quota is
never overrun; until the process that has the lease tells when its calls were made.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from llmspell.errors import LlmspellError, StateConflict
from llmspell.state import NOTHING, AsyncState, Check, Edit, Set, State
from llmspell.tools.leases import Key, Lease, Leases
from llmspell.tools.policy import CallQuota

__all__ = [
    "CALLS",
    "Counted",
    "Refusal",
    "Steps",
    "atake_steps",
    "give_back_leases",
    "giving_back",
    "shared_of",
    "taking",
    "take_steps",
]

#: Below these parts of keys of the state calls are counted, by tool and milliseconds.
CALLS: Final = ("tools", "calls")
#: Calls side by side, in all processes, count in the same place, each in turn.
_TRIES: Final = 64
#: A lease lasts for this part of its quota's stretch; at the quota's own pace a hundredth of the
#: calls takes a tenth of that.
_LASTS: Final = 0.1

_R = TypeVar("_R")

Refusal: TypeAlias = tuple[str, float]
"""Which quota refuses a call, and for how many seconds."""

Steps: TypeAlias = Generator[Key | list[Edit], Any, _R]
"""Work on the state: a key is to be read and its value sent, edits are to be written."""


@dataclass(slots=True)
class Counted:
    """A quota that counts a call, where, at what time it has, and of which lease."""

    name: str
    quota: CallQuota
    key: Key
    at: float | None = None
    lease: Lease | None = None


class _Kept(NamedTuple):
    """What the state has of a quota."""

    times: list[float]
    leases: list[tuple[int, float, int]]

    @property
    def counts_from(self) -> list[float]:
        """From when on each call counts, in order."""
        leased = (until for _, until, calls in self.leases for _ in range(calls))
        return sorted([*self.times, *leased])

    def packed(self) -> list[Any]:
        return [self.times, [list(lease) for lease in self.leases]]


def shared_of(tool: str, quotas: Mapping[str, CallQuota]) -> list[Counted]:
    """Those that count a call of a tool and are shared."""
    return [
        Counted(name, quotas[name], (*CALLS, name, round(quotas[name].seconds * 1_000)))
        for name in (tool, "*")
        if name in quotas and quotas[name].shared
    ]


def take_steps(state: State, steps: Steps[_R]) -> _R:
    """Take the steps; raises as calls of the state do."""
    try:
        step = next(steps)
        while True:
            try:
                found = None
                if isinstance(step, list):
                    state.write(step)
                else:
                    found = state.get(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def atake_steps(state: AsyncState, steps: Steps[_R]) -> _R:
    """As :func:`take_steps`."""
    try:
        step = next(steps)
        while True:
            try:
                found = None
                if isinstance(step, list):
                    await state.write(step)
                else:
                    found = await state.get(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


def taking(leases: Leases, counted: Sequence[Counted]) -> Steps[Refusal | None]:
    """Count a call in all of them, or in none; gives which refuses.

    Raises:
        StateConflict: others counted in between, again and again.
    """
    for _ in range(_TRIES):
        missing = [one for one in counted if not _leased(leases, one)]
        if not missing:
            return None
        over = {one.key: leases.pop_over(one.key, time.time()) for one in missing}
        is_counted = False
        try:
            found = []
            for one in missing:
                found.append((yield one.key))
            now = time.time()
            edits: list[Edit] = []
            new: list[Lease | None] = []
            for one, kept in zip(missing, found, strict=True):
                told = _lasting(_told(kept, over[one.key]), one.quota.seconds, now)
                counted_from, most = told.counts_from, one.quota.calls
                if len(counted_from) >= most:
                    return one.name, counted_from[-most] + one.quota.seconds - now
                # A clock that was set back opens nothing: what lies ahead of it counts.
                one.at = max([now, *told.times[-1:]])
                lease = _lease(one, min(one.quota.leased, most - len(counted_from)) - 1)
                leased = [] if lease is None else [(lease.number, lease.until, lease.left)]
                told = _Kept([*told.times, one.at], told.leases + leased)
                edits += _edits(one.key, kept, told)
                new.append(lease)
            yield edits
            is_counted = True
        except StateConflict as error:
            conflict = error
        finally:
            if not is_counted:
                for key, held in over.items():
                    leases.put(key, held)
                for one in counted:
                    if one.lease is not None and one.at is not None:
                        leases.give_back(one.key, one.lease, one.at)
                    one.lease = one.at = None
        if is_counted:
            for one, lease in zip(missing, new, strict=True):
                leases.put(one.key, [] if lease is None else [lease])
            return None
    raise conflict


def giving_back(leases: Leases, counted: Sequence[Counted]) -> Steps[None]:
    """Forget a call that was counted: it isn't made. Raises as :func:`taking`."""
    written = [
        one
        for one in counted
        if one.at is not None
        and (one.lease is None or not leases.give_back(one.key, one.lease, one.at))
    ]
    for _ in range(_TRIES):
        edits: list[Edit] = []
        for one in written:
            kept = yield one.key
            times, held = kept or ([], [])
            if one.at in times:  # or it is so long ago that it was forgotten
                times = list(times)
                times.remove(one.at)
                edits += _edits(one.key, kept, _Kept(times, held))
        try:
            if edits:
                yield edits
            return
        except StateConflict as error:
            conflict = error
    raise conflict


def give_back_leases(leases: Leases) -> None:
    """Tell what was made and what is left, for others; what can't be told is theirs later."""
    state = leases.state
    held = leases.pop_all()
    if state is None:
        return
    for key, over in held.items():
        if over:
            with suppress(LlmspellError):
                take_steps(state, _returning(key, over))


def _returning(key: Key, over: Sequence[Lease]) -> Steps[None]:
    for _ in range(_TRIES):
        kept = yield key
        if kept is None:
            return
        try:
            yield _edits(key, kept, _told(kept, over))
            return
        except StateConflict as error:
            conflict = error
    raise conflict


def _leased(leases: Leases, one: Counted) -> bool:
    taken = leases.take(one.key, time.time())
    if taken is None:
        return False
    one.lease, one.at = taken
    return True


def _lease(one: Counted, calls: int) -> Lease | None:
    if calls < 1 or one.at is None:
        return None
    lasts = one.quota.seconds * _LASTS
    ends = time.monotonic() + lasts
    return Lease(secrets.randbits(62), one.at, one.at + lasts, calls, ends)


def _told(kept: Any, over: Sequence[Lease]) -> _Kept:
    """What is kept, with the times of calls in place of leases that are over."""
    times, leases = kept or ([], [])
    mine = {lease.number: lease for lease in over}
    # Of those that the state knows: it may have been told before, by a write that seemed to fail.
    used = [at for number, _, _ in leases if number in mine for at in mine[number].used]
    others = [(number, until, calls) for number, until, calls in leases if number not in mine]
    return _Kept(sorted([*times, *used]), others)


def _lasting(kept: _Kept, seconds: float, now: float) -> _Kept:
    """What of it still counts."""
    return _Kept(
        [at for at in kept.times if at + seconds > now],
        [lease for lease in kept.leases if lease[1] + seconds > now],
    )


def _edits(key: Key, kept: Any, told: _Kept) -> list[Edit]:
    return [Check(key, NOTHING if kept is None else kept), Set(key, told.packed())]
