"""Call quotas that all processes share, kept in the tenant's state."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from llmspell.errors import StateConflict
from llmspell.state import NOTHING, AsyncState, Check, Edit, Set, State
from llmspell.tools.policy import CallQuota

__all__ = ["CALLS", "Refusal", "atake_shared", "shared_of", "take_shared"]

#: Below these parts of keys of the state the times of calls lie, by tool and milliseconds.
CALLS: Final = ("tools", "calls")
#: Calls side by side, in all processes, count in the same list, each in turn.
_TRIES: Final = 64

Refusal: TypeAlias = tuple[str, float]
"""Which quota refuses a call, and for how many seconds."""


class Counted(NamedTuple):
    """A quota that counts a call, and where."""

    name: str
    quota: CallQuota
    key: tuple[str | int, ...]


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
            return None
        except StateConflict as error:
            conflict = error
    raise conflict


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
