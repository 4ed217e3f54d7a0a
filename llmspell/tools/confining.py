"""Where the code of a confined tool is: the module that workers import."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from llmspell.errors import ConfigError
from llmspell.security import SecurityRequirements, ToolDefinition
from llmspell.tools.definition import FunctionTool, Tool

__all__ = ["definition_of", "qualified_name"]

_PACKAGE: Final = __name__.partition(".")[0]


def qualified_name(tool: Tool) -> str:
    """Name of a tool's function in its module.

    Raises:
        ConfigError: workers couldn't find it there.
    """
    return _located(tool)[1]


def definition_of(tool: Tool) -> ToolDefinition:
    """What the sandbox is told of a confined tool: its module, and all tools in it.

    Raises:
        ConfigError: workers couldn't find its function, or its module has no source.
    """
    module, own = _located(tool)
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


def _explained(tool: Tool, why: str) -> str:
    return (
        f"{tool.own_name}: a confined tool is imported anew by its workers, and {why}; define it "
        "at the top of a module, or say trusted=True to run it in this process"
    )
