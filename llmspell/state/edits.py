"""Edits of a tenant's state, and their checks: what is stored can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llmspell.errors import InputError, InvalidStateValue
from llmspell.state.model import NOTHING, StateKey
from llmspell.storage.codec import UNDECODABLE, pack, unpack
from llmspell.storage.state_keys import pack_state_key
from llmspell.storage.state_table import (
    AppendItems,
    CheckContent,
    CheckItems,
    DeleteState,
    PutContent,
    StateEdit,
)

__all__ = [
    "MAX_EDITS",
    "MAX_VALUE_BYTES",
    "Append",
    "Check",
    "CheckLength",
    "Delete",
    "Edit",
    "Set",
    "as_edits",
]

#: Of one value as msgpack, and so of one item of a list.
MAX_VALUE_BYTES: Final = 8 << 20
#: Of all values of one write together: a transaction is held in memory until it is committed.
MAX_WRITE_BYTES: Final = 64 << 20
#: Edits of one write, and values of one append.
MAX_EDITS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Set:
    """Set a key to a value; it replaces what is there, a list with all of its items too."""

    key: StateKey
    value: Any


@dataclass(frozen=True, slots=True)
class Append:
    """Append values to the list of a key, which is made where there is nothing."""

    key: StateKey
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key with its value or list, where it is there; keys below it stay."""

    key: StateKey


@dataclass(frozen=True, slots=True)
class Check:
    """Refuse the whole write unless a key has this value, or :data:`NOTHING`."""

    key: StateKey
    value: Any


@dataclass(frozen=True, slots=True)
class CheckLength:
    """Refuse the whole write unless the list of a key has so many items; 0 for nothing there."""

    key: StateKey
    length: int


Edit: TypeAlias = Set | Append | Delete | Check | CheckLength


def as_edits(edits: Sequence[Edit]) -> list[StateEdit]:
    """Edits as the storage takes them; raises InputError and its kinds."""
    if not isinstance(edits, (list, tuple)) or len(edits) > MAX_EDITS:
        raise InputError(f"edits must be a list of {MAX_EDITS:,} at most")
    packed = [_packed(edit) for edit in edits]
    size = sum(map(_size, packed))
    if size > MAX_WRITE_BYTES:
        raise InvalidStateValue(
            f"one write takes {MAX_WRITE_BYTES:,} bytes of values, got {size:,}; write several"
        )
    return packed


def _packed(edit: Edit) -> StateEdit:
    match edit:
        case Set(key, value):
            return PutContent(pack_state_key(key), _pack(key, value))
        case Append(key, values):
            if not isinstance(values, (list, tuple)) or len(values) > MAX_EDITS:
                raise InputError(f"append takes a list of {MAX_EDITS:,} values at most")
            return AppendItems(pack_state_key(key), [_pack(key, value) for value in values])
        case Delete(key):
            return DeleteState(pack_state_key(key))
        case Check(key, value):
            held = value if value is NOTHING else unpack(_pack(key, value))
            return CheckContent(pack_state_key(key), held)
        case CheckLength(key, length):
            if isinstance(length, bool) or not isinstance(length, int) or length < 0:
                raise InputError(f"length must be an int of 0 or more, got {length!r}")
            return CheckItems(pack_state_key(key), length)
    raise InputError(
        f"an edit is a Set, Append, Delete, Check or CheckLength, got {type(edit).__name__}"
    )


def _size(edit: StateEdit) -> int:
    if isinstance(edit, PutContent):
        return len(edit.content)
    return sum(map(len, edit.contents)) if isinstance(edit, AppendItems) else 0


def _pack(key: StateKey, value: object) -> bytes:
    try:
        packed = pack(value)
        unpack(packed)  # a mapping with other keys than texts could be written, but not read
    except UNDECODABLE as error:
        raise InvalidStateValue(
            f"the value of {key!r:.80} must be JSON-like: None, bool, int of 64 bits, float, str, "
            f"bytes, aware datetime, and lists and mappings from str of these; {error}"
        ) from None
    if len(packed) > MAX_VALUE_BYTES:
        raise InvalidStateValue(
            f"the value of {key!r:.80} takes {len(packed):,} bytes, and {MAX_VALUE_BYTES:,} are "
            "allowed; split it, or append its parts to a list"
        )
    return packed
