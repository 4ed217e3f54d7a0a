"""Who asked for a call, as far as a tool can speak with them while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["Answer", "CallAgain", "LogLevel", "Sampled", "ToolClient"]

LogLevel: TypeAlias = Literal[
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered to a form.

    Args:
        action: "accept"; "decline", which is a no; "cancel", which is no answer.
        content: of the form's fields by name; it fits the schema. Empty unless accepted.
    """

    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a model of the client's said.

    Args:
        text: of its blocks of text.
        model: that the client took.
        stop_reason: why it ended, in the client's words; None where it doesn't say.
        blocks: all that it said, as MCP's content.
    """

    text: str
    model: str
    stop_reason: str | None
    blocks: Sequence[Mapping[str, Any]]


class CallAgain(Exception):
    """Raised by a client whose answer comes with the same call made again; let it pass."""

    #: Of a span that it leaves.
    is_failure = False


class ToolClient(Protocol):
    """A client that waits for a call, such as one of MCP; an async tool may speak with it.

    It is of one call: when that has ended, so has what is said by it.
    """

    @property
    def can_elicit(self) -> bool:
        """Whether a person can be asked while the tool runs."""

    @property
    def can_sample(self) -> bool:
        """Whether a model of the client's can be asked while the tool runs."""

    async def log(self, level: LogLevel, data: Any, *, logger: str | None = None) -> None:
        """Tell of something, as JSON can hold it; dropped below the level that the client set."""

    async def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell how far the call has come; dropped where the client didn't ask for it."""

    async def elicit(
        self, message: str, schema: Mapping[str, Any], *, timeout: float = 300.0
    ) -> Answer:
        """Ask a person by a form.

        Args:
            message: what is asked, and why.
            schema: JSON Schema of an object whose fields are texts, numbers, truth values and
                choices.
            timeout: seconds to wait.

        Raises:
            ToolFailed: nobody can be asked, none answered in time, or the answer doesn't fit.
            CallAgain: the answer comes with another call; let it pass.
        """

    async def sample(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        system: str | None = None,
        timeout: float = 300.0,
    ) -> Sampled:
        """Ask a model of the client's, which it pays for; its user may read and change both.

        Args:
            messages: a prompt, or messages of MCP, such as
                ``{"role": "user", "content": {"type": "text", "text": ...}}``.
            max_tokens: of the answer.
            system: instructions to the model.
            timeout: seconds to wait.

        Raises:
            ToolFailed: there is none to ask, none answered in time, or the client refused.
            CallAgain: as of :meth:`elicit`.
        """

    def within(self, is_idempotent: bool) -> ToolClient:
        """The client as a tool that runs may speak with it.

        Args:
            is_idempotent: whether the tool may be run again from its beginning, where the client's
                answer comes with another call.
        """

    async def hang_up(self) -> None:
        """Let a client that can come back do so for the result, in place of holding its line."""
