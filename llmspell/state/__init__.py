"""A tenant's durable state: values and lists of values under keys, in the tenant's own room."""

from llmspell.state.aio import AsyncState
from llmspell.state.edits import (
    MAX_EDITS,
    MAX_VALUE_BYTES,
    Append,
    Check,
    CheckLength,
    Delete,
    Edit,
    Set,
)
from llmspell.state.model import NOTHING, StateItem, StateKey, StateList, StatePage
from llmspell.state.state import State

__all__ = [
    "MAX_EDITS",
    "MAX_VALUE_BYTES",
    "NOTHING",
    "Append",
    "AsyncState",
    "Check",
    "CheckLength",
    "Delete",
    "Edit",
    "Set",
    "State",
    "StateItem",
    "StateKey",
    "StateList",
    "StatePage",
]
