"""The table of a tenant's state in one transaction: values under keys, and lists of values."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from llmspell.errors import CorruptFile, StateConflict
from llmspell.storage.chain import FIRST, Chain
from llmspell.storage.codec import UNDECODABLE, unpack
from llmspell.storage.state_keys import ITEM, StateKey, unpack_state_key

__all__ = [
    "NOTHING",
    "AppendItems",
    "CheckContent",
    "CheckItems",
    "DeleteState",
    "PutContent",
    "StateEdit",
    "StateTable",
    "StoredState",
    "judge_state",
]

_VALUE: Final = b"v"
_LIST: Final = b"l"
_COUNT: Final = struct.Struct("<Q")


class _Nothing:
    """Where there is nothing; None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


class PutContent(NamedTuple):
    """Set a key to a value, packed; it replaces a list with all of its items."""

    key: bytes
    content: bytes


class AppendItems(NamedTuple):
    """Append packed values to the list of a key, which is made where there is nothing."""

    key: bytes
    contents: Sequence[bytes]


class DeleteState(NamedTuple):
    """Remove a key, with the items of a list; or all that lies at or below it."""

    key: bytes
    below: bool = False


class CheckContent(NamedTuple):
    """Refuse the write unless a key has this value, or :data:`NOTHING`."""

    key: bytes
    value: Any


class CheckItems(NamedTuple):
    """Refuse the write unless the list of a key has so many items; 0 where nothing is there."""

    key: bytes
    length: int


StateEdit: TypeAlias = PutContent | AppendItems | DeleteState | CheckContent | CheckItems


class StoredState(NamedTuple):
    """What lies under a key: a value, or how many items its list has."""

    value: Any
    length: int | None


class StateTable:
    """State in one transaction. For its thread alone.

    Attributes:
        storage: bytes that the storage quota counts of it more than before.
        is_changed: whether anything is other than before.
    """

    __slots__ = ("_chain", "is_changed", "storage")

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.storage = 0
        self.is_changed = False

    # --- reads

    def get(self, key: bytes) -> StoredState | None:
        """What lies under a key; raises CorruptFile."""
        content = self._chain.get(key)
        return None if content is None else _decoded(content)

    def items(self, key: bytes, start: int, limit: int) -> tuple[list[Any], int] | None:
        """Items of a list from one on, and how many it has; None where the key has a value."""
        content = self._chain.get(key)
        if content is None:
            return [], 0
        length = _decoded(content).length
        if length is None:
            return None
        found: list[Any] = []
        end = min(length, start + limit)
        if start >= end:
            return found, length
        behind = _item(key, start - 1) if start else key
        for name, item in self._chain.items(behind):
            if name != _item(key, start + len(found)):
                break
            found.append(_decoded(item).value)
            if start + len(found) == end:
                return found, length
        raise CorruptFile(f"state: item {start + len(found)} of a list of {length} is missing")

    def below(self, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, StoredState]]:
        """Keys at or below a prefix and behind a key, in order, without the items of lists."""
        if after < prefix:
            content = self._chain.get(prefix)
            if content is not None:
                yield prefix, _decoded(content)
        place: bytes | None = self._last_of(max(after, prefix)) or FIRST
        while place is not None:
            before, place = place, None
            for key, content in self._chain.items(before):
                if not key.startswith(prefix):
                    return
                found = _decoded(content)
                yield key, found
                if found.length:
                    place = _item(key, found.length - 1)
                    break

    def _last_of(self, key: bytes) -> bytes:
        """The last item of a key's list; the key itself where it has none."""
        content = self._chain.get(key) if key else None
        length = None if content is None else _decoded(content).length
        return _item(key, length - 1) if length else key

    # --- writes

    def edit(self, edits: Sequence[StateEdit]) -> tuple[int, ...]:
        """Do edits in order; raises StateConflict.

        Returns:
            Of each append the length of the list, of each deletion how many keys are gone, of all
            else 0.
        """
        return tuple([self._edit(edit) for edit in edits])

    def _edit(self, edit: StateEdit) -> int:
        match edit:
            case PutContent(key, content):
                self._put(key, _VALUE + content)
            case AppendItems(key, contents):
                return self._append(key, contents)
            case DeleteState(key, below):
                return self._delete_below(key) if below else int(self._delete(key))
            case CheckContent(key, value):
                self._check(key, value)
            case CheckItems(key, length):
                self._check_items(key, length)
        return 0

    def _put(self, key: bytes, content: bytes) -> None:
        old = self._chain.get(key)
        if old == content:
            return
        if old is not None and old[:1] == _LIST:
            self._delete(key)
            old = None
        self._set(key, content, old)

    def _append(self, key: bytes, contents: Sequence[bytes]) -> int:
        old = self._chain.get(key)
        length = 0
        if old is not None:
            found = _decoded(old).length
            if found is None:
                raise StateConflict(
                    f"{_named(key)} has a value, and append takes a list; nothing was written. "
                    "Delete it first, or use another key"
                )
            length = found
        for content in contents:
            self._set(_item(key, length), _VALUE + content, None)
            length += 1
        if contents:
            self._set(key, _LIST + _COUNT.pack(length), old)
        return length

    def _delete(self, key: bytes) -> bool:
        content = self._chain.pop(key)
        if content is None:
            return False
        self._count(-len(key) - len(content))
        for number in range(_decoded(content).length or 0):
            name = _item(key, number)
            item = self._chain.pop(name)
            if item is None:
                raise CorruptFile(f"state: item {number} of a list is missing")
            self._count(-len(name) - len(item))
        return True

    def _delete_below(self, prefix: bytes) -> int:
        keys = [key for key, _ in self.below(prefix, b"")]
        for key in keys:
            self._delete(key)
        return len(keys)

    def _check(self, key: bytes, value: object) -> None:
        found = self.get(key)
        held = NOTHING if found is None else found.value
        is_list = found is not None and found.length is not None
        if is_list or (held is NOTHING) != (value is NOTHING) or held != value:
            what = "nothing" if found is None else "a list" if is_list else "another value"
            raise StateConflict(
                f"{_named(key)} was checked, and the state has {what} there; nothing was written. "
                "Read it again, and decide anew"
            )

    def _check_items(self, key: bytes, length: int) -> None:
        found = self.get(key)
        held = 0 if found is None else found.length
        if held != length:
            what = "a value" if held is None else f"{held} items"
            raise StateConflict(
                f"{_named(key)} was to have {length} items, and has {what}; nothing was written. "
                "Read it again, and decide anew"
            )

    def _set(self, key: bytes, content: bytes, old: bytes | None) -> None:
        self._chain.put(key, content)
        self._count(len(content) - len(old) if old is not None else len(key) + len(content))

    def _count(self, storage: int) -> None:
        self.storage += storage
        self.is_changed = True


def judge_state(key: bytes, content: bytes) -> int:
    """Bytes of an entry that the storage quota counts; raises CorruptFile where it can't be."""
    path, number = unpack_state_key(key)
    found = _decoded(content)
    if not path or (number is not None and found.length is not None):
        raise CorruptFile(f"state: the entry of {key!r} can't be")
    return len(key) + len(content)


def _decoded(content: bytes) -> StoredState:
    kind = content[:1]
    try:
        if kind == _VALUE:
            return StoredState(unpack(content[1:]), None)
        if kind == _LIST:
            return StoredState(None, _COUNT.unpack(content[1:])[0])
    except UNDECODABLE as error:
        raise CorruptFile(f"state: a value can't be decoded: {error!r}") from None
    raise CorruptFile(f"state: an entry of kind {kind!r}")


def _item(key: bytes, number: int) -> bytes:
    return key + ITEM + number.to_bytes(8)


def _named(key: bytes) -> str:
    path: StateKey = unpack_state_key(key)[0]
    return repr(path[0] if len(path) == 1 else path)
