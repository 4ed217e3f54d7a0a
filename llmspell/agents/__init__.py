"""Agents: a model that calls tools on a tenant's behalf; and workflows of steps.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell._lazy import lazy_names

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.agents.events import (
        AgentEvent,
        Answered,
        ApprovalAsked,
        OutputRejected,
        RunState,
        StateChanged,
        SubAgentEvent,
        TextDelta,
        ToolFinished,
        ToolStarted,
    )
    from llmspell.agents.history import AgentMessage, Answer, Call, Said
    from llmspell.agents.hooks import AgentHooks
    from llmspell.agents.limits import AgentLimits, RunUsage
    from llmspell.agents.memory import Session
    from llmspell.agents.policies import Fail, FailurePolicy, Fallback, Retry, Skip
    from llmspell.agents.replay import ReplayModel
    from llmspell.agents.result import AgentResult
    from llmspell.agents.run import AgentRun
    from llmspell.agents.state_transcript import StateTranscript
    from llmspell.agents.transcript import Entry, FileTranscript, MemoryTranscript, Transcript
    from llmspell.agents.workflows import (
        SKIPPED,
        Step,
        Workflow,
        branch,
        loop,
        parallel,
        sequence,
        step,
    )

__all__ = [
    "SKIPPED",
    "Agent",
    "AgentEvent",
    "AgentHooks",
    "AgentLimits",
    "AgentMessage",
    "AgentResult",
    "AgentRun",
    "Answer",
    "Answered",
    "ApprovalAsked",
    "Call",
    "Entry",
    "Fail",
    "FailurePolicy",
    "Fallback",
    "FileTranscript",
    "MemoryTranscript",
    "OutputRejected",
    "ReplayModel",
    "Retry",
    "RunState",
    "RunUsage",
    "Said",
    "Session",
    "Skip",
    "StateChanged",
    "StateTranscript",
    "Step",
    "SubAgentEvent",
    "TextDelta",
    "ToolFinished",
    "ToolStarted",
    "Transcript",
    "Workflow",
    "branch",
    "loop",
    "parallel",
    "sequence",
    "step",
]

_MODULES = {
    "agent": ("Agent",),
    "events": (
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
    ),
    "history": ("AgentMessage", "Answer", "Call", "Said"),
    "hooks": ("AgentHooks",),
    "limits": ("AgentLimits", "RunUsage"),
    "memory": ("Session",),
    "policies": ("Fail", "FailurePolicy", "Fallback", "Retry", "Skip"),
    "replay": ("ReplayModel",),
    "result": ("AgentResult",),
    "run": ("AgentRun",),
    "state_transcript": ("StateTranscript",),
    "transcript": ("Entry", "FileTranscript", "MemoryTranscript", "Transcript"),
    "workflows": ("SKIPPED", "Step", "Workflow", "branch", "loop", "parallel", "sequence", "step"),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
