"""What is said in a chat: messages, calls of tools, and what a model may call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llmspell.errors import InputError

__all__ = [
    "Message",
    "OutputSchema",
    "Role",
    "Thought",
    "ToolCall",
    "ToolDefinition",
    "well_formed",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


def well_formed(text: str) -> str:
    """A text with U+FFFD for halves of surrogate pairs, which no request can hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _checked_text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} must be a str, got {type(value).__name__}")
    return value if value.isascii() else well_formed(value)


def _check_schema(schema: object) -> None:
    if not isinstance(schema, Mapping):
        raise InputError(f"a schema must be a mapping, got {type(schema).__name__}")
    try:
        json.dumps(dict(schema), allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"a schema must be JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for.

    Args:
        id: by which its result names it.
        name: of the tool.
        arguments: JSON, as the model wrote it: it may be no object, or no JSON at all.
    """

    id: str
    name: str
    arguments: str

    def __post_init__(self) -> None:
        for field in ("id", "name", "arguments"):
            text = _checked_text(f"{field} of a call", getattr(self, field))
            object.__setattr__(self, field, text)

    def parsed(self) -> dict[str, Any]:
        """The arguments; raises InputError where they aren't a JSON object."""
        try:
            value = json.loads(self.arguments or "{}")
        except (RecursionError, ValueError) as error:
            raise InputError(f"arguments of {self.name!r} aren't JSON: {error}") from None
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise InputError(f"arguments of {self.name!r} must be a JSON object, got {kind}")
        return value


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model thought before it answered, which its provider wants to see again unchanged.

    Args:
        text: of it; empty where it is redacted.
        signature: by which the provider knows it again; of one that is redacted, its content.
        is_redacted: whether it can't be read.
    """

    text: str
    signature: str
    is_redacted: bool = False

    def __post_init__(self) -> None:
        for field in ("text", "signature"):
            object.__setattr__(
                self, field, _checked_text(f"{field} of a thought", getattr(self, field))
            )


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. The constructors below know what belongs to which role.

    Args:
        role: whose it is.
        text: what is said; of a tool, its result. Halves of surrogate pairs, which no request can
            hold, become U+FFFD.
        tool_calls: that an assistant asks for.
        tool_call_id: of a tool: which call this is the result of.
        is_error: of a tool: whether the call failed.
        thoughts: of an assistant, before what it said; told to the provider that they are of, which
            are models of Anthropic.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    thoughts: tuple[Thought, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ("system", "user", "assistant", "tool"):
            raise InputError(f"role must be system, user, assistant or tool, got {self.role!r:.80}")
        object.__setattr__(self, "text", _checked_text("text of a message", self.text))
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise InputError("tool_call_id belongs to a message of role 'tool', and to no other")
        if self.tool_call_id is not None:
            _checked_text("tool_call_id", self.tool_call_id)
        object.__setattr__(self, "tool_calls", tuple(self.tool_calls))
        if self.tool_calls and self.role != "assistant":
            raise InputError("only a message of role 'assistant' has tool_calls")
        object.__setattr__(self, "thoughts", tuple(self.thoughts))
        if self.thoughts and self.role != "assistant":
            raise InputError("only a message of role 'assistant' has thoughts")
        if not all(isinstance(thought, Thought) for thought in self.thoughts):
            raise InputError("thoughts must be of llmspell.providers.Thought")
        if not all(isinstance(call, ToolCall) for call in self.tool_calls):
            raise InputError("tool_calls must be of llmspell.providers.ToolCall")

    @classmethod
    def system(cls, text: str) -> Message:
        """Instructions, ahead of all others."""
        return cls("system", text)

    @classmethod
    def user(cls, text: str) -> Message:
        """What the model is asked."""
        return cls("user", text)

    @classmethod
    def assistant(
        cls,
        text: str,
        tool_calls: tuple[ToolCall, ...] = (),
        thoughts: tuple[Thought, ...] = (),
    ) -> Message:
        """What a model said, which tools it called, and what it thought before."""
        return cls("assistant", text, tuple(tool_calls), thoughts=tuple(thoughts))

    @classmethod
    def tool(cls, call_id: str, text: str, *, is_error: bool = False) -> Message:
        """The result of a call."""
        return cls("tool", text, tool_call_id=call_id, is_error=is_error)


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool that a model may call.

    Args:
        name: letters, digits, ``_`` and ``-``, 64 at most.
        description: for the model.
        schema: JSON Schema of its arguments, an object's.
    """

    name: str
    description: str
    schema: Mapping[str, Any]

    def __post_init__(self) -> None:
        _checked_text("name of a tool", self.name)
        description = _checked_text("description of a tool", self.description)
        object.__setattr__(self, "description", description)
        _check_schema(self.schema)


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """What the answer must be: JSON of a schema.

    Args:
        schema: JSON Schema of an object.
        name: for the model; letters, digits, ``_`` and ``-``.
        is_strict: whether the provider is to enforce it, which not all schemas allow.
    """

    schema: Mapping[str, Any]
    name: str = "answer"
    is_strict: bool = False

    def __post_init__(self) -> None:
        _checked_text("name of an output schema", self.name)
        _check_schema(self.schema)
