"""What reads of a tenant's state give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmspell.storage.state_keys import StateKey
from llmspell.storage.state_table import NOTHING

__all__ = ["NOTHING", "StateItem", "StateKey", "StateList", "StatePage"]


@dataclass(frozen=True, slots=True)
class StateItem:
    """A key and what is there.

    Args:
        key: its parts; ``("a",)`` where it was written as ``"a"``.
        value: of the key; None where it has a list.
        length: items of its list; None where it has a value.
    """

    key: tuple[str | int, ...]
    value: Any
    length: int | None = None


@dataclass(frozen=True, slots=True)
class StatePage:
    """Some of the keys that a scan found, in order.

    Args:
        items: keys with their values; of lists the lengths.
        after: what to give to the next scan; None at the end.
    """

    items: tuple[StateItem, ...]
    after: tuple[str | int, ...] | None


@dataclass(frozen=True, slots=True)
class StateList:
    """Some items of a list, in order.

    Args:
        values: the items that were asked for, as far as they are there.
        length: items that the list has.
    """

    values: tuple[Any, ...]
    length: int
