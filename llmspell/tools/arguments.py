"""A function's arguments as JSON Schema, and the check of what a model sent.

Both come from pydantic (extra ``tools``), which is imported when the first of them is asked for;
of plain types alone from its core, without the rest.
"""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from llmspell.errors import ConfigError, InvalidArguments, MissingDependency
from llmspell.tools.context import ToolContext

__all__ = ["Arguments", "context_parameter", "finite", "parameters"]

#: Of a message to a model; so much of a value that it sent, and so many of its mistakes.
_SHOWN: Final = 80
_MISTAKES: Final = 20
#: What pydantic's core and JSON Schema call the types that most arguments have. To be told so by
#: pydantic takes longer than all else that makes a tool.
_PLAIN: Final = {
    str: ("str", "string"),
    int: ("int", "integer"),
    float: ("float", "number"),
    bool: ("bool", "boolean"),
}


class Arguments:
    """The arguments of one function. Thread-safe.

    Args:
        function: typed.
        given: those of its :func:`parameters` that a model gives.
        described: what each argument is, by name.

    Raises:
        ConfigError: a type that can't be resolved, or isn't data that JSON Schema describes.
        MissingDependency: the extra ``tools`` is not installed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        given: Sequence[inspect.Parameter],
        described: Mapping[str, str],
    ) -> None:
        core = _require("pydantic_core")
        hints = _hints(function)
        kinds = {one.name: hints[one.name] for one in given}
        defaults = {one.name: one.default for one in given if one.default is not one.empty}
        self.schema: dict[str, Any]
        if all(_is_plain(kind) for kind in kinds.values()):
            self._validator, self.schema = _of_plain(core, kinds, defaults)
        else:
            self._validator, self.schema = _of_any(core, _name_of(function), kinds, defaults)
        # In their order: a model may be told another name than the function's.
        for argument, schema in zip(kinds, self.schema["properties"].values(), strict=True):
            text = described.get(argument) or _annotated(kinds[argument])
            if text:
                schema["description"] = text
            if argument in defaults:
                _show_default(schema, defaults[argument])
        self._invalid = core.ValidationError

    def validated(self, given: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """The arguments as the function takes them; those that aren't given are left out.

        Args:
            given: by name, or as JSON.

        Raises:
            InvalidArguments: they don't fit; the message names each mistake.
        """
        try:
            if isinstance(given, str | bytes):
                made = self._validator.validate_json(given or "{}")
            else:
                made = self._validator.validate_python(given)
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


def context_parameter(found: Sequence[inspect.Parameter]) -> str | None:
    """Name of the parameter that is a :class:`ToolContext`, if there is one among them."""
    for parameter in found:
        annotation = parameter.annotation
        if annotation is ToolContext:
            return parameter.name
        if isinstance(annotation, str) and annotation.rpartition(".")[2] == "ToolContext":
            return parameter.name
    return None


def _require(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency("tools", "pydantic") from error


def _is_plain(kind: object) -> bool:
    return any(kind is plain for plain in _PLAIN)


def _of_plain(
    core: Any, kinds: Mapping[str, Any], optional: Collection[str]
) -> tuple[Any, dict[str, Any]]:
    """What checks arguments of plain types, and their JSON Schema; as :func:`_of_any` for these."""
    fields, properties = {}, {}
    for name, kind in kinds.items():
        own, in_json = _PLAIN[kind]
        is_required = name not in optional
        fields[name] = core.core_schema.typed_dict_field({"type": own}, required=is_required)
        properties[name] = {"type": in_json}
    shape = core.core_schema.typed_dict_schema(fields, extra_behavior="forbid")
    schema = {"additionalProperties": False, "properties": properties, "type": "object"}
    required = [name for name in kinds if name not in optional]
    return core.SchemaValidator(shape), {**schema, "required": required} if required else schema


def _of_any(
    core: Any, name: str, kinds: Mapping[str, Any], optional: Collection[str]
) -> tuple[Any, dict[str, Any]]:
    """What checks arguments of any types, and their JSON Schema."""
    pydantic = _require("pydantic")

    def field(handler: Any, one: str, kind: Any) -> Any:
        is_required = one not in optional
        if not any(isinstance(it, pydantic.fields.FieldInfo) for it in _metadata(kind)):
            inner = handler.generate_schema(kind)
            return core.core_schema.typed_dict_field(inner, required=is_required)
        # What it says beside the type, such as another name, pydantic reads in classes alone.
        import typing_extensions  # pydantic's own; it wants its TypedDict before Python 3.12

        make: Any = typing_extensions.TypedDict
        made = make(name, {one: kind if is_required else typing.NotRequired[kind]})
        return handler.resolve_ref_schema(handler.generate_schema(made))["fields"][one]

    def shape(_: Any, handler: Any) -> Any:
        fields = {one: field(handler, one, kind) for one, kind in kinds.items()}
        return core.core_schema.typed_dict_schema(fields, extra_behavior="forbid")

    try:
        adapter = pydantic.TypeAdapter(
            typing.Annotated[Any, pydantic.GetPydanticSchema(shape)],
            config=pydantic.ConfigDict(extra="forbid"),  # of what has no config of its own within
        )
        schema: dict[str, Any] = finite(adapter.json_schema())
    except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
        raise ConfigError(
            f"{name}: its arguments must be of types that JSON Schema describes: {error}"
        ) from error
    schema.pop("title", None)
    for one in schema["properties"].values():
        one.pop("title", None)
    return adapter.validator, schema


def _metadata(kind: Any) -> tuple[Any, ...]:
    return kind.__metadata__ if typing.get_origin(kind) is typing.Annotated else ()


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"{_name_of(function)}: the type of an argument can't be resolved: {error}; import it "
            "where the tool's module is run, not for type checkers alone"
        ) from error


def _annotated(kind: Any) -> str | None:
    """What a type is annotated with in words: a text, or a ``Doc`` of PEP 727."""
    for one in getattr(kind, "__metadata__", ()):
        text = getattr(one, "documentation", one)
        if isinstance(text, str):
            return text
    return None


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
