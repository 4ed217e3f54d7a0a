"""What reads untrusted bytes, each as a function of bytes that returns or shows a fault.

A fault is an exception that isn't one of the named errors, an invariant that doesn't hold, or a run
that doesn't end.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

__all__ = ["TARGETS", "Target", "target"]

Target: TypeAlias = Callable[[bytes], None]

TARGETS = ("worker", "filters", "settings", "imports", "lines", "texts")


def target(name: str) -> Target:
    """The function of a target; its module is loaded by now."""
    run: Target = import_module(f"{__name__}.{name}").run
    return run
