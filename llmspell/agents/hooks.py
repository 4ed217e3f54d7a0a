"""Hooks of a run: derive from the class, and give an object of it to the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell.agents.events import RunState
from llmspell.agents.history import AgentMessage, Answer, Call
from llmspell.tools import ToolResult

if TYPE_CHECKING:
    from llmspell.agents.result import AgentResult
    from llmspell.agents.run import AgentRun

__all__ = ["AgentHooks"]


class AgentHooks:
    """Called at the places of a run; each method does nothing unless it is overridden.

    What a hook raises ends the run. Calls of tools are made side by side, and so are their hooks.
    """

    async def on_state(self, run: AgentRun, state: RunState) -> None:
        """The run is in another state."""

    async def before_run(self, run: AgentRun) -> None:
        """The run begins, or goes on after it was resumed; ``run.history`` has what was before."""

    async def after_run(self, run: AgentRun, result: AgentResult) -> None:
        """The run has come to a result, or waits; what stands in the transcript stays."""

    async def on_error(self, run: AgentRun, error: BaseException) -> None:
        """The run has failed or was cancelled; what this raises is dropped for that."""

    async def before_model(
        self, run: AgentRun, messages: Sequence[AgentMessage]
    ) -> Sequence[AgentMessage]:
        """What the model is to be told; gives what it is told instead."""
        return messages

    async def after_model(self, run: AgentRun, answer: Answer) -> None:
        """The model has answered, and the answer stands in the transcript."""

    async def before_tool(self, run: AgentRun, call: Call) -> ToolResult | None:
        """A tool is to be called; gives a result to take instead, or None."""
        return None

    async def after_tool(self, run: AgentRun, call: Call, result: ToolResult) -> ToolResult:
        """A tool was called; gives what the transcript and the model are told."""
        return result
