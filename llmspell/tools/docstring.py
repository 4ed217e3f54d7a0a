"""What a docstring says of a function and of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from llmspell.errors import MissingDependency

__all__ = ["Described", "describe"]


class Described(NamedTuple):
    """A function in words: what it does, and what each argument is."""

    summary: str
    arguments: dict[str, str]


def describe(function: Callable[..., Any]) -> Described:
    """Read a docstring in the style of Google, NumPy, Sphinx or Epydoc.

    Raises:
        MissingDependency: the extra ``tools`` is not installed.
    """
    text = inspect.getdoc(function)
    if not text:
        return Described("", {})
    try:
        import docstring_parser
    except ImportError as error:
        raise MissingDependency("tools", "docstring_parser") from error
    try:
        parsed = _parsed(docstring_parser, text)
    except docstring_parser.ParseError:  # it is for people then
        return Described(text, {})
    parts = [part for part in (parsed.short_description, parsed.long_description) if part]
    arguments = {one.arg_name: _flat(one.description or "") for one in parsed.params}
    return Described("\n\n".join(parts), arguments)


def _parsed(parser: Any, text: str) -> Any:
    """In Google's style where that finds arguments: to try all styles takes three times as long."""
    with suppress(parser.ParseError):
        found = parser.parse(text, parser.DocstringStyle.GOOGLE)
        if found.params:
            return found
    return parser.parse(text)


def _flat(text: str) -> str:
    return " ".join(text.split())
