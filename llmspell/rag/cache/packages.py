"""The packages of the extra ``cache``, imported when a cache is made."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from llmspell.errors import MissingDependency

__all__ = ["required"]


@functools.cache
def required(name: str) -> ModuleType:
    """A module of the extra.

    Raises:
        MissingDependency: it isn't installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency("cache", name.replace("_", "-")) from error
