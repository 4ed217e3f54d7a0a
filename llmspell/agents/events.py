"""What is told of a run while it goes on, and the states that it is in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from llmspell.agents.history import Answer, Call
from llmspell.tools import ToolResult

__all__ = [
    "AgentEvent",
    "Answered",
    "ApprovalAsked",
    "OutputRejected",
    "RunState",
    "StateChanged",
    "SubAgentEvent",
    "TextDelta",
    "ToolFinished",
    "ToolStarted",
]


class RunState(StrEnum):
    """Where a run is.

    - ``CREATED``: nothing has been done.
    - ``RUNNING``: the model is asked, or tools run.
    - ``WAITING``: for somebody's approval. A run that has stopped so is resumed with it.
    - ``FINISHED``: there is an output.
    - ``FAILED``: an exception, a limit among them, has ended it; it may be resumed.
    - ``CANCELLED``: it was cancelled; it may be resumed.
    """

    CREATED = "created"
    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The run is in another state."""

    state: RunState


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of an answer, as the model streams it."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The model has answered."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call of a tool begins; approval comes behind this."""

    call: Call


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A call waits for approval; ``AgentRun.decide`` gives it, where there is no hook.

    Args:
        key: to decide by; of a sub-agent's call with the keys of the calls that it is part of.
        call: that waits.
        arguments: as they will be used.
    """

    key: str
    call: Call
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has a result, which may be a fault."""

    call: Call
    result: ToolResult


@dataclass(frozen=True, slots=True)
class OutputRejected:
    """An answer isn't what is to come out; the model is asked to mend it."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class SubAgentEvent:
    """An event of a sub-agent.

    Args:
        call: of the sub-agent as a tool.
        agent: its name.
        event: what it told.
    """

    call: Call
    agent: str
    event: AgentEvent


AgentEvent: TypeAlias = (
    StateChanged
    | TextDelta
    | Answered
    | ToolStarted
    | ApprovalAsked
    | ToolFinished
    | OutputRejected
    | SubAgentEvent
)
