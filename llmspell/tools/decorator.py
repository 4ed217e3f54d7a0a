"""``@tool``: a typed function as a tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from llmspell.errors import ConfigError
from llmspell.tools.definition import FunctionTool
from llmspell.tools.options import OptionValues, options_of

__all__ = ["tool"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@overload
def tool(function: Callable[_P, _R], /) -> FunctionTool[_P, _R]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, **options: Unpack[OptionValues]
) -> Callable[[Callable[_P, _R]], FunctionTool[_P, _R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    **options: Unpack[OptionValues],
) -> Any:
    """Make a typed function a tool: its name, docstring and types become what a model is told.

    The docstring's first paragraphs are the description, and what it says of the arguments stands
    in the schema. The function, sync or async, can be called as before. It runs confined, as a SAFE
    tool, unless the options say otherwise; it is imported anew there, so it stands in a module.

    Args:
        name: other than the function's.
        description: other than the docstring's.
        options: see :class:`llmspell.tools.ToolOptions`.

    Raises:
        ConfigError: a class, an argument without a type or that can't be given by name, an option.
        LevelMismatch: the requirements are of another level than the tool.
    """

    def made(function: Callable[..., Any]) -> FunctionTool[..., Any]:
        if inspect.isclass(function):
            raise ConfigError(
                f"@tool is for functions, and {function.__name__} is a class: derive it from "
                "llmspell.tools.Tool, with a method run, and make an object of it"
            )
        return FunctionTool(
            function, name=name, description=description, options=options_of(options)
        )

    return made if function is None else made(function)
