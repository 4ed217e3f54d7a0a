"""What is to come out of a run: text, or data of a type or by a schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from llmspell.errors import ConfigError, InputError, MissingDependency

__all__ = ["Output", "output_of"]

_MISTAKES: Final = 10
_SHOWN: Final = 200
#: Key of data that isn't an object.
_VALUE: Final = "value"
#: Where schemas have the parts that they refer to; the older name is that of draft 7.
_PARTS: Final = ("$defs", "definitions")


class Output:
    """Text: whatever the model says. Base of the others."""

    #: JSON Schema that the model is told; None for text.
    schema: dict[str, Any] | None = None

    def parse(self, text: str) -> Any:
        """What comes out; raises InputError that tells the model what is wrong."""
        return text

    def to_data(self, value: Any) -> Any:
        """It as JSON can hold it, for who reads a transcript and for the agent that asked.

        A type may tell less of itself than it was made of, or otherwise: the value isn't made of
        this again, but of the answer.
        """
        return value


class _Typed(Output):
    """Of a type that pydantic knows: a model of its, a dataclass, a TypedDict, a list of these."""

    def __init__(self, kind: Any) -> None:
        try:
            import pydantic
        except ImportError as error:
            raise MissingDependency("tools", "pydantic") from error
        from llmspell.tools.arguments import finite

        try:
            self._adapter: Any = pydantic.TypeAdapter(kind)
            self.schema, self._is_wrapped = _as_object(finite(self._adapter.json_schema()))
            make_model: Any = pydantic.create_model
            self._around: Any = make_model("Answer", **{_VALUE: (kind, ...)})
        except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
            raise ConfigError(
                f"output must be a type that JSON Schema describes, or a schema: {error}"
            ) from error
        self._invalid = pydantic.ValidationError

    def parse(self, text: str) -> Any:
        # As JSON, in which a strict type takes a date as a text.
        try:
            if not self._is_wrapped:
                return self._adapter.validate_json(_json_of(text))
            _unwrapped(text)  # which says better what is missing
            return getattr(self._around.model_validate_json(_json_of(text)), _VALUE)
        except self._invalid as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise InputError(
                _listed((".".join(map(str, one["loc"])), one["msg"]) for one in found)
            ) from None

    def to_data(self, value: Any) -> Any:
        return self._adapter.dump_python(value, mode="json", by_alias=True)


class _BySchema(Output):
    """Data that a JSON Schema describes."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            import jsonschema  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingDependency("agents", "jsonschema") from error
        given = dict(schema)
        kind = jsonschema.validators.validator_for(given, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(given)
        except jsonschema.SchemaError as error:
            raise ConfigError(f"output is no JSON Schema: {error.message}") from None
        self.schema, self._is_wrapped = _as_object(given)
        import referencing

        self._unresolvable = referencing.exceptions.Unresolvable
        registry: Any = referencing.Registry()  # which fetches nothing
        self._validator = kind(given, registry=registry)

    def parse(self, text: str) -> Any:
        data = _unwrapped(text) if self._is_wrapped else _loaded(text)
        try:
            found = list(self._validator.iter_errors(data))
        except self._unresolvable as error:
            raise ConfigError(f"output is a schema that refers out of it: {error}") from None
        if found:
            raise InputError(_listed((one.json_path, one.message) for one in found))
        return data


def output_of(kind: Any) -> Output:
    """How what is asked for as ``output`` comes out of texts.

    Args:
        kind: None or str for text; a mapping is a JSON Schema; all else a type.

    Raises:
        ConfigError: it is neither.
        MissingDependency: the extra that it needs is not installed.
    """
    if kind is None or kind is str:
        return Output()
    return _BySchema(kind) if isinstance(kind, Mapping) else _Typed(kind)


def _as_object(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema that a model is told, and whether it is of an object around the data.

    Providers take schemas of objects alone, which say so at their root.
    """
    if schema.get("type") == "object":
        return schema, False
    parts = {name: schema[name] for name in _PARTS if isinstance(schema.get(name), Mapping)}
    for name, named in parts.items():
        inside = named.get(str(schema.get("$ref", "")).removeprefix(f"#/{name}/"))
        if isinstance(inside, Mapping) and inside.get("type") == "object":
            return {**inside, **parts}, False  # of a type that holds itself
    inner = {name: part for name, part in schema.items() if name not in parts}
    told = {"type": "object", "properties": {_VALUE: inner}, "required": [_VALUE]}
    return {**told, **parts}, True


def _unwrapped(text: str) -> Any:
    data = _loaded(text)
    if isinstance(data, dict) and _VALUE in data:
        return data[_VALUE]
    raise InputError(f"it must be an object with the key {_VALUE!r}")


def _loaded(text: str) -> Any:
    try:
        return json.loads(_json_of(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON: {error}") from None


def _json_of(text: str) -> str:
    """The JSON in an answer: models put it between fences, whatever they are told."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and len(stripped) >= 6:
        head, _, rest = stripped[3:-3].partition("\n")
        if head.strip().lower() in ("", "json"):
            return rest
    return stripped


def _listed(mistakes: Any) -> str:
    lines = [f"{where or 'the whole'}: {what[:_SHOWN]}" for where, what in mistakes]
    more = f"; and {len(lines) - _MISTAKES} more" if len(lines) > _MISTAKES else ""
    return "; ".join(lines[:_MISTAKES]) + more
