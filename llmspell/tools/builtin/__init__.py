"""Tools that come with llmspell, each at the lowest level that works."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.tools.builtin.calculator import calculator
    from llmspell.tools.builtin.clock import current_time, date_difference, shift_date
    from llmspell.tools.builtin.knowledge import search_knowledge
    from llmspell.tools.builtin.texts import (
        decode_text,
        diff_texts,
        encode_text,
        hash_text,
        text_statistics,
    )

__all__ = [
    "calculator",
    "current_time",
    "date_difference",
    "decode_text",
    "diff_texts",
    "encode_text",
    "hash_text",
    "search_knowledge",
    "shift_date",
    "text_statistics",
]

_MODULES = {
    "calculator": ("calculator",),
    "clock": ("current_time", "date_difference", "shift_date"),
    "knowledge": ("search_knowledge",),
    "texts": ("decode_text", "diff_texts", "encode_text", "hash_text", "text_statistics"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a tool with its module, which is run when the first of it is asked for."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
