"""What an agent asks, and what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from llmspell.agents.history import Answer, Said, ToolSaid
from llmspell.tools import ToolSpec

__all__ = ["AgentMessage", "Model", "ModelRequest"]

AgentMessage: TypeAlias = Said | Answer | ToolSaid
"""What was said, an answer of the model, or a call of a tool with its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model.

    Args:
        instructions: what it is told first; may be empty.
        messages: in order. Behind an answer with calls come their results, in the order of the
            calls.
        tools: that it may call.
        schema: JSON Schema of what it is to answer where it calls no tool; None for text.
        max_tokens: of the answer at most; None leaves that to the model.
        deadline: by ``time.monotonic``: the run is over then.
        on_text: told of text as it comes, where somebody wants to know.
    """

    instructions: str
    messages: Sequence[AgentMessage]
    tools: Sequence[ToolSpec]
    schema: dict[str, Any] | None
    max_tokens: int | None
    deadline: float
    on_text: Callable[[str], Awaitable[None]] | None = None


class Model(Protocol):
    """Answers questions; any number at once, in one event loop."""

    async def answer(self, request: ModelRequest) -> Answer:
        """Answer one question.

        The run charges the tokens and the cost that the answer tells to the tenant. Keys of calls
        may be empty: the run gives them theirs.
        """
