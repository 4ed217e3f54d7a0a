"""Where the code of a confined tool is: the module that workers import."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import sys
import typing
import uuid
from collections.abc import Callable, Set
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, Final

from llmspell.errors import ConfigError
from llmspell.security import SecurityRequirements, ToolDefinition
from llmspell.tools.definition import FunctionTool, Tool

__all__ = ["definition_of", "qualified_name"]

_PACKAGE: Final = __name__.partition(".")[0]
#: Types whose values msgpack doesn't hold.
_UNSENT: Final = (
    *(Set, PurePath, decimal.Decimal, enum.Enum, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta),
)
#: Of these, what is sent all the same: enums as what they are made of.
_SENT: Final = (str, int, datetime.datetime)


def qualified_name(tool: Tool) -> str:
    """Name of a tool's function in its module.

    Raises:
        ConfigError: workers couldn't find it there.
    """
    return _located(tool)[1]


def definition_of(tool: Tool) -> ToolDefinition:
    """What the sandbox is told of a confined tool: its module, and all tools in it.

    Raises:
        ConfigError: workers couldn't find its function, its module has no source, or an argument is
            of a type that can't be sent to them.
    """
    module, own = _located(tool)
    _require_sendable(tool)
    names = {own}
    for value in vars(module).values():
        if isinstance(value, FunctionTool) and value.function.__module__ == module.__name__:
            names.add(value.function.__qualname__)
    requirements = tool.options.requirements
    assert isinstance(requirements, SecurityRequirements)
    given: dict[str, Any] = {
        "functions": sorted(names),
        "requirements": requirements,
        "preload": tool.options.preload,
    }
    file = getattr(module, "__file__", None)
    if file is None:
        raise ConfigError(_explained(tool, f"the module {module.__name__!r} is in no file"))
    name = module.__name__
    if name == "__main__" or name.partition(".")[0] == _PACKAGE:
        # Neither can be imported there: the one has another name, the other is a library.
        try:
            source = inspect.getsource(module)
        except OSError as error:
            raise ConfigError(_explained(tool, f"{file} has no source")) from error
        flat = "main" if name == "__main__" else name.replace(".", "_")
        return ToolDefinition(module=flat, source=source, **given)
    depth = name.count(".") + (Path(file).name == "__init__.py")
    return ToolDefinition(module=name, path=(str(Path(file).resolve().parents[depth]),), **given)


def _located(tool: Tool) -> tuple[ModuleType, str]:
    if not isinstance(tool, FunctionTool):
        raise ConfigError(
            f"{tool.own_name} keeps its state in this process, so it can't be confined; say "
            "options = ToolOptions(trusted=True)"
        )
    function: Callable[..., Any] = tool.function
    name = getattr(function, "__qualname__", "")
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None:
        raise ConfigError(_explained(tool, "its function is in no module"))
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function and getattr(found, "function", None) is not function:
        raise ConfigError(_explained(tool, f"{module.__name__} has no {name!r} that is it"))
    return module, name


def _require_sendable(tool: Tool) -> None:
    for name, kind in typing.get_type_hints(tool.function).items():
        if name == "return" or name in tool.bound:
            continue
        found = _unsent(kind, set())
        if found is not None:
            raise ConfigError(
                f"{tool.own_name}: its argument {name!r} takes a {found.__name__}, which can't be "
                "sent to the worker that confines it; take a str, a Literal, a list or a dict, and "
                "make it one in the tool, or say trusted=True to run it in this process"
            )


def _unsent(kind: Any, seen: set[Any]) -> type | None:
    """The first type in a type of which msgpack holds no values, as pydantic makes them."""
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        return None
    parts: list[Any] = list(typing.get_args(kind))
    if isinstance(origin, type):
        if origin in seen:
            return None
        if hasattr(origin, "__required_keys__"):  # a TypedDict, whosever
            seen.add(origin)
            parts += typing.get_type_hints(origin).values()
        elif _is_unsent(origin):
            return origin
    return next((one for part in parts if (one := _unsent(part, seen)) is not None), None)


def _is_unsent(kind: type) -> bool:
    is_shape = dataclasses.is_dataclass(kind) or hasattr(kind, "__pydantic_fields__")
    return is_shape or (issubclass(kind, _UNSENT) and not issubclass(kind, _SENT))


def _explained(tool: Tool, why: str) -> str:
    return (
        f"{tool.own_name}: a confined tool is imported anew by its workers, and {why}; define it "
        "at the top of a module, or say trusted=True to run it in this process"
    )
