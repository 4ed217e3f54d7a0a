"""Prompts that clients of MCP offer to their users, made by functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from llmspell.errors import ConfigError, InputError
from llmspell.tools.arguments import context_parameter, parameters
from llmspell.tools.context import ToolContext
from llmspell.tools.docstring import describe
from llmspell.tools.mcp.completion import Completions, checked_completions
from llmspell.tools.mcp.invoking import invoked

__all__ = ["PromptTemplate"]

_MAX_NAME: Final = 128


class PromptTemplate:
    """A prompt that a function makes; given to :class:`McpServer`. Immutable.

    Its arguments are the function's, each a ``str``, and those without a default are required; one
    of type :class:`llmspell.tools.ToolContext` is given and not told of. It returns a text, a block
    of MCP's content as a dict, a message ``{"role": ..., "content": block}``, or a list of these; a
    text or block is a message of the user's. An ``InputError`` that it raises is told to the
    client.

    Args:
        function: sync, which runs in a thread, or async.
        name: other than the function's.
        description: other than the docstring's.
        title: for people.
        complete: what may be given for an argument, by its name: texts, of which those that begin
            with what was typed are told, or a function of what was typed and the ToolContext, sync
            or async.

    Raises:
        ConfigError: an argument that isn't a ``str``, no description, or a completion of an
            argument that there isn't.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        title: str | None = None,
        complete: Completions | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigError(f"a prompt is made by a function, got {function!r}")
        self.name = function.__name__ if name is None else name
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= _MAX_NAME:
            raise ConfigError(f"a prompt's name is 1 to {_MAX_NAME} characters, got {self.name!r}")
        said = describe(function)
        self.description = description or said.summary
        if not self.description:
            raise ConfigError(f"{self.name}: say what the prompt is for; give it a docstring")
        self.title = title
        self._function = function
        takes = parameters(function)
        self._context_name = context_parameter(takes)
        #: By name: whether it is required, and what it is.
        self.arguments: Mapping[str, tuple[bool, str]] = {
            one.name: (one.default is one.empty, said.arguments.get(one.name, ""))
            for one in takes
            if one.name != self._context_name and _is_text(self.name, one)
        }
        self.complete = checked_completions(self.name, complete, self.arguments)

    def __repr__(self) -> str:
        return f"PromptTemplate({self.name!r})"

    async def make(self, arguments: Mapping[str, str], context: ToolContext) -> list[Any]:
        """The messages, of the SDK.

        Raises:
            InputError: an argument is missing, or there is none of a name.
        """
        unknown = arguments.keys() - self.arguments.keys()
        if unknown:
            raise InputError(f"the prompt {self.name} has no argument {min(unknown)[:80]!r}")
        for name, (is_required, _) in self.arguments.items():
            if is_required and name not in arguments:
                raise InputError(f"the prompt {self.name} needs the argument {name!r}")
        given: dict[str, Any] = dict(arguments)
        if self._context_name is not None:
            given[self._context_name] = context
        return _messages(await invoked(lambda: self._function(**given), self._function))


def _is_text(prompt: str, parameter: inspect.Parameter) -> bool:
    if parameter.annotation not in (str, "str"):
        raise ConfigError(
            f"{prompt}: arguments of prompts are texts; {parameter.name!r} is no str but "
            f"{parameter.annotation!r}"
        )
    return True


def _messages(made: Any) -> list[Any]:
    from mcp import types
    from pydantic import TypeAdapter

    listed = [_as_message(one) for one in (made if isinstance(made, list) else [made])]
    return TypeAdapter(list[types.PromptMessage]).validate_python(listed)


def _as_message(one: Any) -> Any:
    if isinstance(one, str):
        one = {"type": "text", "text": one}
    return one if "role" in one else {"role": "user", "content": one}
