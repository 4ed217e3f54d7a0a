"""A function's arguments as JSON Schema, and the check of what a model sent.

Both come from pydantic (extra ``tools``), which is imported when the first of them is asked for.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from llmspell.errors import ConfigError, InvalidArguments, MissingDependency
from llmspell.tools.context import ToolContext

__all__ = ["Arguments", "context_parameter", "finite", "require_pydantic"]

#: Of a message to a model; so much of a value that it sent, and so many of its mistakes.
_SHOWN: Final = 80
_MISTAKES: Final = 20


class Arguments:
    """The arguments of one function. Thread-safe.

    Args:
        function: typed; without positional-only arguments, ``*`` and ``**``.
        described: what each argument is, by name.
        hidden: names of arguments that no model gives.

    Raises:
        ConfigError: a type that can't be resolved, or isn't data that JSON Schema describes.
        MissingDependency: the extra ``tools`` is not installed.
    """

    def __init__(
        self, function: Callable[..., Any], described: Mapping[str, str], hidden: Collection[str]
    ) -> None:
        pydantic = require_pydantic()
        import typing_extensions  # pydantic's own; it wants its TypedDict before Python 3.12

        name = _name_of(function)
        hints = _hints(function)
        fields: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for parameter in parameters(function):
            if parameter.name in hidden:
                continue
            kind = hints[parameter.name]
            text = described.get(parameter.name)
            if text:
                kind = typing.Annotated[kind, pydantic.Field(description=text)]
            if parameter.default is not parameter.empty:
                kind = typing.NotRequired[kind]
                defaults[parameter.name] = parameter.default
            fields[parameter.name] = kind
        make_shape: Any = typing_extensions.TypedDict
        shape = make_shape(name, fields)
        shape.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
        try:
            self._adapter = pydantic.TypeAdapter(shape)
            self.schema: dict[str, Any] = finite(self._adapter.json_schema())
        except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
            raise ConfigError(
                f"{name}: its arguments must be of types that JSON Schema describes: {error}"
            ) from error
        self.schema.pop("title", None)
        self.schema.setdefault("properties", {})
        for argument, schema in self.schema["properties"].items():
            schema.pop("title", None)
            if argument in defaults:
                _show_default(schema, defaults[argument])
        self._invalid = pydantic.ValidationError

    def validated(self, given: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """The arguments as the function takes them; those that aren't given are left out.

        Args:
            given: by name, or as JSON.

        Raises:
            InvalidArguments: they don't fit; the message names each mistake.
        """
        try:
            if isinstance(given, str | bytes):
                made = self._adapter.validate_json(given or "{}")
            else:
                made = self._adapter.validate_python(given)
        except self._invalid as error:
            raise InvalidArguments(_mistakes(error)) from None
        except RecursionError:
            raise InvalidArguments("the arguments are nested too deeply") from None
        found: dict[str, Any] = made
        return found


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters, each to be given by name.

    Raises:
        ConfigError: one can't be, or has no type.
    """
    name = _name_of(function)
    if inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name}: it gives values in turn, and a tool gives one; return a list")
    found = list(inspect.signature(function).parameters.values())
    for parameter in found:
        if parameter.name in ("self", "cls") and parameter.annotation is parameter.empty:
            raise ConfigError(
                f"{name}: a tool is a function, and this is a method; derive its class from "
                "llmspell.tools.Tool, or make a tool of the method of an object"
            )
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise ConfigError(f"{name}: {parameter} can't be given by name; a tool's arguments are")
        if parameter.annotation is parameter.empty:
            raise ConfigError(
                f"{name}: {parameter.name!r} has no type, from which the schema is "
                "made; annotate it"
            )
    return found


def context_parameter(function: Callable[..., Any]) -> str | None:
    """Name of the argument that is a :class:`ToolContext`, if there is one."""
    for parameter in parameters(function):
        annotation = parameter.annotation
        if annotation is ToolContext:
            return parameter.name
        if isinstance(annotation, str) and annotation.rpartition(".")[2] == "ToolContext":
            return parameter.name
    return None


def require_pydantic() -> Any:
    """The library. Raises MissingDependency where it isn't installed."""
    try:
        import pydantic
    except ImportError as error:
        raise MissingDependency("tools", "pydantic") from error
    return pydantic


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"{_name_of(function)}: the type of an argument can't be resolved: {error}; import it "
            "where the tool's module is run, not for type checkers alone"
        ) from error


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _show_default(schema: dict[str, Any], value: Any) -> None:
    """Tell of a default as far as JSON can hold it."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        shown = to_jsonable_python(value)
    except (PydanticSerializationError, ValueError):  # of bytes that are no text
        return
    if _is_json(shown):
        schema["default"] = shown


def finite(schema: Any) -> Any:
    """A schema without defaults and bounds that JSON has none of, such as infinity."""
    if isinstance(schema, list):
        return [finite(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: finite(one)
        for name, one in schema.items()
        if isinstance(one, dict)
        or (name != "default" and not isinstance(one, float))
        or _is_json(one)
    }


def _is_json(value: Any) -> bool:
    """Whether JSON can hold it, which has no number that isn't finite."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _mistakes(error: Any) -> str:
    found = error.errors(include_url=False, include_context=False)
    lines = []
    for one in found[:_MISTAKES]:
        place = ".".join(str(part) for part in one["loc"]) or "arguments"
        got = "" if one["type"] == "missing" else f", got {_cut(repr(one['input']))}"
        lines.append(f"{place[:_SHOWN]}: {one['msg'][: 2 * _SHOWN]}{got}")
    if len(found) > _MISTAKES:
        lines.append(f"and {len(found) - _MISTAKES} more")
    return "; ".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
