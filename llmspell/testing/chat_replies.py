"""What a scripted model replies, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Call", "ChatAsked", "Fault", "Reply"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool that the model asks for.

    Args:
        name: of the tool.
        arguments: a mapping, or the text that stands where JSON should.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Args:
        text: of it.
        calls: of tools.
        finish: ``stop``, ``length`` or ``refused``; with calls it is their reason.
        input_tokens, output_tokens, cached_tokens: the usage that is told.
        after: seconds before it begins.
        thought: what it thinks before, signed, in the format of Anthropic only.
        redacted_thought: as ``thought``, but one that can't be read.
    """

    text: str = ""
    calls: Sequence[Call] = ()
    finish: Literal["stop", "length", "refused"] = "stop"
    input_tokens: int = 10
    output_tokens: int = 5
    cached_tokens: int = 0
    after: float = 0.0
    thought: str = ""
    redacted_thought: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure in place of an answer.

    Args:
        kind: ``status`` answers with an error; ``drop`` closes the connection without an answer;
            ``stall`` never answers; ``truncate`` closes it in the middle; ``garbage`` sends what
            is no answer; ``event`` sends an error inside of a stream; ``endless`` sends an answer,
            or events of one, that has no end; ``endless_event`` an event of a stream that has none.
        status: of ``status`` and ``event``.
        retry_after: of ``status``, as the header says it.
        reply: of which a part is sent before ``truncate``, ``stall`` and ``event`` of a stream.
    """

    kind: Literal[
        "status", "drop", "stall", "truncate", "garbage", "event", "endless", "endless_event"
    ]
    status: int = 500
    retry_after: str | None = None
    reply: Reply = Reply("an answer that ends too soon")


@dataclass(frozen=True, slots=True)
class ChatAsked:
    """A request as it came.

    Args:
        path: of the URL.
        headers: names in lower case.
        body: JSON.
    """

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether it asks for a stream."""
        return bool(self.body.get("stream"))

    @property
    def texts(self) -> list[str]:
        """What its messages say, in order, results of tools included."""
        said: list[str] = []
        for message in self.body.get("messages", ()):
            content = message.get("content")
            blocks: Any = content if isinstance(content, list) else [content]
            for block in blocks:
                text = block
                if isinstance(block, dict):
                    text = block.get("text") or block.get("content")
                if isinstance(text, str):
                    said.append(text)
        return said
