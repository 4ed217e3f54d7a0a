"""What a run of an agent came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmspell.agents.events import ApprovalAsked, RunState
from llmspell.agents.history import AgentMessage
from llmspell.agents.limits import RunUsage

__all__ = ["AgentResult"]


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What a run came to.

    Args:
        output: text, or data of the type, or by the schema, that the agent was made with; None
            where it waits.
        run_id: of the run.
        state: ``FINISHED``, or ``WAITING`` where calls are to be approved.
        usage: that the run has used, sub-agents and what was before it was resumed included.
        pending: calls to be approved: :meth:`Agent.resume` takes the decisions by their keys.
        finish: why the model ended its last answer: ``length`` where the output was cut off at
            ``max_answer_tokens``, or at what the tenant had left; ``refused`` by the provider's
            filter; otherwise ``stop``, or ``tool_calls`` where it waits.
        messages: that were said, as the model is told them: those of its session before, the input,
            answers of the model, each with its calls, and calls with their results.
    """

    output: Any
    run_id: str
    state: RunState
    usage: RunUsage
    pending: tuple[ApprovalAsked, ...] = ()
    finish: str = "stop"
    messages: tuple[AgentMessage, ...] = field(default=(), repr=False)
