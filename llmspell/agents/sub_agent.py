"""An agent as a tool of another one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from llmspell.agents.events import RunState
from llmspell.agents.run import AgentRun
from llmspell.agents.tool_calls import current_call
from llmspell.agents.transcript import MemoryTranscript
from llmspell.errors import ConfigError, InputError
from llmspell.tools import Tool, ToolContext, ToolOptions

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent

__all__ = ["AgentTool"]


class AgentTool(Tool):
    """Gives a task to an agent; made by :meth:`Agent.as_tool`.

    It is trusted to run here, and does nothing by itself: what its agent's tools may do they say.
    """

    #: A call that was cut off goes on where it was.
    options = ToolOptions(trusted=True, level="safe", idempotent=True)

    def __init__(self, agent: Agent, name: str, description: str) -> None:
        if not isinstance(description, str) or not description.strip():
            raise ConfigError(f"{name}: a model is told what a sub-agent does; describe it")
        self.agent = agent
        self.name = name
        self.description = description

    async def run(self, task: str, context: ToolContext) -> Any:
        """Give the agent a task.

        Args:
            task: in words, with all that it must know: it sees nothing else.
        """
        if not task.strip():
            raise InputError("the task is blank")
        agent, outer = self.agent, current_call()
        if outer is None:
            transcript = MemoryTranscript()
            tenant = agent.tenant or context.tenant
            result = await AgentRun(agent, tenant, uuid.uuid4().hex, task, transcript).run()
        else:
            run = agent.run_within(task, context.tenant, outer)
            try:
                result = await run.run()
            finally:
                outer.calls.used[outer.call.key] = run.budget.used
        if result.state is not RunState.FINISHED:
            if outer is None:
                raise InputError("a call of its tools waits for approval, and nobody is asked")
            outer.calls.stop(outer.call, result.pending)
            return None
        return agent.output.to_data(result.output)
