"""Grammars of tree-sitter, by media type."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

from llmspell.errors import MissingDependency

__all__ = ["grammar", "has_grammar", "is_source"]

#: Module and function of each.
_GRAMMARS: Final = {
    "text/javascript": ("tree_sitter_javascript", "language"),
    "text/x-c": ("tree_sitter_c", "language"),
    "text/x-c++": ("tree_sitter_cpp", "language"),
    "text/x-go": ("tree_sitter_go", "language"),
    "text/x-java": ("tree_sitter_java", "language"),
    "text/x-ruby": ("tree_sitter_ruby", "language"),
    "text/x-rust": ("tree_sitter_rust", "language"),
    "text/x-shellscript": ("tree_sitter_bash", "language"),
    "text/x-tsx": ("tree_sitter_typescript", "language_tsx"),
    "text/x-typescript": ("tree_sitter_typescript", "language_typescript"),
}

#: Modules that were found.
_INSTALLED: Final[set[str]] = set()


def is_source(media_type: str) -> bool:
    """Whether there is a grammar for it, installed or not."""
    return media_type in _GRAMMARS


def has_grammar(media_type: str) -> bool:
    """Whether its grammar is installed; loads nothing."""
    return is_source(media_type) and _is_installed(_GRAMMARS[media_type][0])


def grammar(media_type: str) -> Any:
    """The grammar of a source's language.

    Raises:
        MissingDependency: the extra ``code`` isn't installed.
    """
    module, function = _GRAMMARS[media_type]
    try:
        return getattr(importlib.import_module(module), function)()
    except ImportError as error:
        raise MissingDependency("code", module.replace("_", "-")) from error


def _is_installed(module: str) -> bool:
    # A look takes 70 µs, and a file of which nobody says what it is needs three. One that isn't
    # there is looked for again: a notebook may install it.
    if module not in _INSTALLED and importlib.util.find_spec(module) is not None:
        _INSTALLED.add(module)
    return module in _INSTALLED
