"""The state of one tenant, as its handle gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

from llmspell.errors import InputError, StateConflict
from llmspell.state.edits import Append, Check, Delete, Edit, Set, as_edits
from llmspell.state.model import StateItem, StateKey, StateList, StatePage
from llmspell.storage.room import Room
from llmspell.storage.state_keys import pack_state_key, unpack_state_key
from llmspell.storage.state_table import DeleteState, StateEdit
from llmspell.storage.write import Write

__all__ = ["Enter", "State"]

_R = TypeVar("_R")

MAX_LIMIT = 10_000


class Enter(Protocol):
    """Charges one API call, and calls with the tenant's room while it is kept open."""

    def __call__(self, call: Callable[[Room], _R], /) -> _R: ...


class State:
    """Durable values and lists under keys: ``tenant.state``. Thread-safe.

    A key is a path of texts and 64-bit integers; a str is a path of one part. A value is JSON-like
    (bytes and aware datetimes too), kept as msgpack. Every call is charged as one API call, and
    what is held counts for ``max_storage_mb``: bytes of keys and values. A write is on the disk
    when it returns, whatever the database's ``durability`` is, and is all there or not at all.

    All calls raise what all operations of :class:`llmspell.Tenant` do, and:
        CorruptFile: what is read is damaged.
        InvalidStateKey: no str or tuple of str and int, or longer than 480 bytes.
        QuotaExceeded: nothing was written.
    """

    __slots__ = ("_enter",)

    def __init__(self, enter: Enter) -> None:
        self._enter = enter

    def get(self, key: StateKey, default: Any = None) -> Any:
        """The value of a key, ``default`` where there is none; raises StateConflict for a list."""
        packed = pack_state_key(key)

        def read(room: Room) -> Any:
            with room.store.state() as state:
                return state.get(packed)

        found = self._enter(read)
        if found is None:
            return default
        if found.length is not None:
            raise StateConflict(f"{key!r:.80} has a list, which items() reads")
        return found.value

    def items(self, key: StateKey, start: int = 0, limit: int = MAX_LIMIT) -> StateList:
        """Items of a list from number ``start`` on; without any where there is nothing.

        Args:
            key: of the list.
            start: 0 for the first item; below 0 it counts from the end.
            limit: items to give at most, from 1 to 10,000.

        Raises:
            InputError: limit is out of range, or start no int.
            StateConflict: the key has a value.
        """
        packed = pack_state_key(key)
        if not _is_int(start):
            raise InputError(f"start must be an int, got {start!r}")
        most = _as_limit(limit)

        def read(room: Room) -> tuple[list[Any], int] | None:
            with room.store.state() as state:
                first = start
                if first < 0:
                    found = state.get(packed)
                    first = max(0, first + (0 if found is None else found.length or 0))
                return state.items(packed, first, most)

        found = self._enter(read)
        if found is None:
            raise StateConflict(f"{key!r:.80} has a value, which get() reads")
        return StateList(tuple(found[0]), found[1])

    def scan(
        self, prefix: StateKey = (), *, after: StateKey | None = None, limit: int = 1_000
    ) -> StatePage:
        """Keys at a prefix and below it, in order, as one moment shows them.

        Texts sort by code points, integers by value, and texts before integers.

        Args:
            prefix: leading parts of a key, whole ones; () is all.
            after: ``after`` of the page before.
            limit: keys to give at most, from 1 to 10,000.

        Raises:
            InputError: limit is out of range.
        """
        packed = pack_state_key(prefix, is_prefix=True)
        behind = b"" if after is None else pack_state_key(after)
        most = _as_limit(limit)

        def read(room: Room) -> list[StateItem]:
            with room.store.state() as state:
                return [
                    StateItem(unpack_state_key(key)[0], found.value, found.length)
                    for key, found in islice(state.below(packed, behind), most + 1)
                ]

        items = self._enter(read)
        is_last = len(items) <= most
        return StatePage(tuple(items[:most]), None if is_last else items[most - 1].key)

    def set(self, key: StateKey, value: Any) -> None:
        """Set a key to a value; a list that is there goes with all of its items.

        Raises:
            InvalidStateValue: it isn't JSON-like, or longer than 8 MiB; nothing was written.
        """
        self._write(as_edits([Set(key, value)]))

    def append(self, key: StateKey, *values: Any) -> int:
        """Append values to the list of a key, together; returns how many items it has then.

        Raises:
            InvalidStateValue: as :meth:`set`.
            StateConflict: the key has a value; nothing was written.
        """
        return self._write(as_edits([Append(key, values)]))[0]

    def delete(self, key: StateKey) -> bool:
        """Remove a key with its value or list; returns whether it was there."""
        return bool(self._write(as_edits([Delete(key)]))[0])

    def clear(self, prefix: StateKey) -> int:
        """Remove the key of a prefix and all keys below it; returns how many. () is all."""
        return self._write([DeleteState(pack_state_key(prefix, is_prefix=True), below=True)])[0]

    def write(self, edits: Sequence[Edit]) -> None:
        """Do edits of :mod:`llmspell.state` in order, all of them or none.

        Args:
            edits: each a ``Set``, ``Append``, ``Delete``, ``Check`` or ``CheckLength``.

        Raises:
            InputError: more than 10,000 edits, or something else among them.
            InvalidStateValue: as :meth:`set`, or more than 64 MiB in all.
            StateConflict: a check didn't hold, or an append met a value; nothing was written.
        """
        self._write(as_edits(edits))

    def compare_and_set(self, key: StateKey, expected: Any, value: Any) -> bool:
        """Set a key where it has the expected value; returns whether it had.

        Args:
            key: to set.
            expected: compared as Python compares; :data:`llmspell.state.NOTHING` where the key
                mustn't be there.
            value: as :meth:`set` takes it.
        """
        try:
            self.write([Check(key, expected), Set(key, value)])
        except StateConflict:
            return False
        return True

    def _write(self, edits: Sequence[StateEdit]) -> tuple[int, ...]:
        return self._enter(lambda room: room.write(Write(state=edits)).state)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_limit(limit: int) -> int:
    if not _is_int(limit) or not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT:,}, got {limit!r}")
    return limit
