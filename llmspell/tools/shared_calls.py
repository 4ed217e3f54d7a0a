"""Call quotas that all processes share, kept in the tenant's state."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llmspell.errors import StateConflict
from llmspell.state import NOTHING, AsyncState, Check, Edit, Set, State
from llmspell.tools.policy import CallQuota

__all__ = [
    "CALLS",
    "Counted",
    "Refusal",
    "agive_back_shared",
    "atake_shared",
    "give_back_shared",
    "shared_of",
    "take_shared",
]

#: Below these parts of keys of the state the times of calls lie, by tool and milliseconds.
CALLS: Final = ("tools", "calls")
#: Calls side by side, in all processes, count in the same list, each in turn.
_TRIES: Final = 64

Refusal: TypeAlias = tuple[str, float]
"""Which quota refuses a call, and for how many seconds."""


@dataclass(slots=True)
class Counted:
    """A quota that counts a call, where, and at what time it has."""

    name: str
    quota: CallQuota
    key: tuple[str | int, ...]
    at: float | None = None


def shared_of(tool: str, quotas: Mapping[str, CallQuota]) -> list[Counted]:
    """Those that count a call of a tool and are shared."""
    return [
        Counted(name, quotas[name], (*CALLS, name, round(quotas[name].seconds * 1_000)))
        for name in (tool, "*")
        if name in quotas and quotas[name].shared
    ]


def take_shared(state: State, counted: Sequence[Counted]) -> Refusal | None:
    """Count a call in all of them, or in none; says which refuses.

    Raises:
        StateConflict: others counted in between, again and again.
        LlmspellError: as calls of the state do.
    """
    for _ in range(_TRIES):
        found = [state.get(one.key) for one in counted]
        edits = _edits(counted, found)
        if isinstance(edits, tuple):
            return edits
        try:
            state.write(edits)
            _note(counted, edits)
            return None
        except StateConflict as error:
            conflict = error
    raise conflict


async def atake_shared(state: AsyncState, counted: Sequence[Counted]) -> Refusal | None:
    """As :func:`take_shared`."""
    for _ in range(_TRIES):
        found = [await state.get(one.key) for one in counted]
        edits = _edits(counted, found)
        if isinstance(edits, tuple):
            return edits
        try:
            await state.write(edits)
            _note(counted, edits)
            return None
        except StateConflict as error:
            conflict = error
    raise conflict


def give_back_shared(state: State, counted: Sequence[Counted]) -> None:
    """Forget a call that was counted: it isn't made. Raises as :func:`take_shared`."""
    for _ in range(_TRIES):
        edits = _without(counted, [state.get(one.key) for one in counted])
        try:
            if edits:
                state.write(edits)
            return
        except StateConflict as error:
            conflict = error
    raise conflict


async def agive_back_shared(state: AsyncState, counted: Sequence[Counted]) -> None:
    """As :func:`give_back_shared`."""
    for _ in range(_TRIES):
        edits = _without(counted, [await state.get(one.key) for one in counted])
        try:
            if edits:
                await state.write(edits)
            return
        except StateConflict as error:
            conflict = error
    raise conflict


def _note(counted: Sequence[Counted], edits: Sequence[Edit]) -> None:
    for one, edit in zip(counted, edits[1::2], strict=True):
        assert isinstance(edit, Set)
        one.at = edit.value[-1]


def _without(counted: Sequence[Counted], found: Sequence[Any]) -> list[Edit]:
    edits: list[Edit] = []
    for one, kept in zip(counted, found, strict=True):
        times = list(kept or ())
        if one.at in times:  # or it is so long ago that it was forgotten
            times.remove(one.at)
            edits += [Check(one.key, kept), Set(one.key, times)]
    return edits


def _edits(counted: Sequence[Counted], found: Sequence[Any]) -> list[Edit] | Refusal:
    now = time.time()
    edits: list[Edit] = []
    for one, kept in zip(counted, found, strict=True):
        calls, seconds = one.quota.calls, one.quota.seconds
        # A clock that was set back opens nothing: what lies ahead of it counts.
        times = [at for at in kept or () if at + seconds > now]
        if len(times) >= calls:
            return one.name, times[len(times) - calls] + seconds - now
        latest = max(now, times[-1]) if times else now
        edits += [Check(one.key, NOTHING if kept is None else kept), Set(one.key, [*times, latest])]
    return edits
