"""The awaitable form of a tenant's state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from llmspell.state.edits import Edit
from llmspell.state.model import StateKey, StateList, StatePage
from llmspell.state.state import MAX_LIMIT, State

__all__ = ["AsyncState", "Run"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Run(Protocol):
    """Awaits a call that runs in a worker thread."""

    def __call__(
        self, call: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Awaitable[_R]: ...


class AsyncState:
    """The awaitable form of :class:`State`; see there for arguments and errors."""

    __slots__ = ("_run", "_state")

    def __init__(self, state: State, run: Run) -> None:
        self._state = state
        self._run = run

    async def get(self, key: StateKey, default: Any = None) -> Any:
        """As :meth:`State.get`."""
        return await self._run(self._state.get, key, default)

    async def items(self, key: StateKey, start: int = 0, limit: int = MAX_LIMIT) -> StateList:
        """As :meth:`State.items`."""
        return await self._run(self._state.items, key, start, limit)

    async def scan(
        self, prefix: StateKey = (), *, after: StateKey | None = None, limit: int = 1_000
    ) -> StatePage:
        """As :meth:`State.scan`."""
        return await self._run(self._state.scan, prefix, after=after, limit=limit)

    async def set(self, key: StateKey, value: Any) -> None:
        """As :meth:`State.set`."""
        await self._run(self._state.set, key, value)

    async def append(self, key: StateKey, *values: Any) -> int:
        """As :meth:`State.append`."""
        return await self._run(self._state.append, key, *values)

    async def delete(self, key: StateKey) -> bool:
        """As :meth:`State.delete`."""
        return await self._run(self._state.delete, key)

    async def clear(self, prefix: StateKey) -> int:
        """As :meth:`State.clear`."""
        return await self._run(self._state.clear, prefix)

    async def write(self, edits: Sequence[Edit]) -> None:
        """As :meth:`State.write`."""
        await self._run(self._state.write, edits)

    async def compare_and_set(self, key: StateKey, expected: Any, value: Any) -> bool:
        """As :meth:`State.compare_and_set`."""
        return await self._run(self._state.compare_and_set, key, expected, value)
