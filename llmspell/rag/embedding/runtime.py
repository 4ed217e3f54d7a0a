"""What models that run here have in common: their libraries, and the cores that they may use."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from llmspell.errors import MissingDependency

__all__ = ["local_module", "usable_cores"]


def local_module(name: str) -> ModuleType:
    """A library of the extra ``local``; raises MissingDependency where it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency("local", name) from error


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
