"""A tool's functions: found by name, and called, whether they are async or not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = ["called", "find_function"]


def find_function(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function by its qualified name; raises AttributeError, or TypeError where it is none."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{module.__name__}.{name} can't be called")
    made: Callable[..., Any] = found
    return made


def called(function: Callable[..., Any], given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What a function returns, awaited where it is to be."""
    made = function(*given, **named)
    return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made


async def _awaited(made: Any) -> Any:
    return await made
