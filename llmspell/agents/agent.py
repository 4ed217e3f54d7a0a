"""An agent: a model, tools and instructions, to run on a tenant's behalf."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.agents.handle import Handle
from llmspell.agents.hooks import AgentHooks
from llmspell.agents.limits import AgentLimits
from llmspell.agents.output import Output, output_of
from llmspell.errors import ConfigError, InputError
from llmspell.tenancy import AsyncTenant, Tenant

if TYPE_CHECKING:
    from llmspell.agents.result import AgentResult
    from llmspell.agents.run import AgentRun
    from llmspell.agents.sub_agent import AgentTool
    from llmspell.agents.tool_calls import CallInRun
    from llmspell.agents.transcript import Transcripts
    from llmspell.providers import ChatModel
    from llmspell.tools import Approval, ApprovalHook, TenantTools, Tool, ToolPolicy, ToolRegistry

__all__ = ["Agent", "Transcripts"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Agent:
    """A model that calls tools until it has an answer, for one tenant.

    Making one opens and loads nothing; an agent may have any number of runs at once, in one event
    loop each. Close it, or use it in a ``with``, where it was given tools rather than a registry:
    their workers end with it.

    A run is one operation of its tenant, in the tenant's quotas: what :class:`AgentLimits` allow is
    reserved first, and the model charges what it used to that. In an operation of the
    tenant it is part of that.

    Args:
        model: that is asked.
        tools: that it may call, or a registry of them.
        instructions: what the model is told first.
        tenant: on whose behalf it runs; a sub-agent needs none, and runs on its caller's.
        limits: of one run.
        name: of the agent, by which transcripts know it: 1 to 64 of the letters, digits, _ and -.
        output: what comes out: None is text; a type that pydantic knows, or a JSON Schema as a
            mapping, is data, which the model is told, and asked to mend where it isn't so.
        policy: what the tenant may do with the tools; all of it where None.
        approve: asked about calls that need approval, sync or async: gives a bool or an
            ``Approval``, or None where nobody decides now, so that the run stops and waits. Where
            there is none the reader of the run's events decides, or the run stops.
        hooks: called at the places of a run.
        transcripts: where what runs do is kept: ``"state"`` is durable, in the tenant's state.

    Raises:
        ConfigError: an argument of another kind.
    """

    def __init__(
        self,
        model: ChatModel,
        tools: Iterable[Tool] | ToolRegistry = (),
        instructions: str = "",
        tenant: Handle | None = None,
        limits: AgentLimits | None = None,
        *,
        name: str = "agent",
        output: Any = None,
        policy: ToolPolicy | None = None,
        approve: ApprovalHook | None = None,
        hooks: AgentHooks | None = None,
        transcripts: Transcripts = "state",
    ) -> None:
        if not callable(getattr(model, "acomplete", None)):
            raise ConfigError(f"model must be a ChatModel of llmspell.providers, got {model!r}")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"an agent's name is 1 to 64 of the letters, digits, _ and -; got {name!r}"
            )
        if not isinstance(instructions, str):
            raise ConfigError(f"instructions must be a str, got {type(instructions).__name__}")
        if tenant is not None and not isinstance(tenant, Tenant | AsyncTenant):
            raise ConfigError(f"tenant must be a handle of a database, got {tenant!r}")
        if limits is not None and not isinstance(limits, AgentLimits):
            raise ConfigError(f"limits must be AgentLimits, got {limits!r}")
        if approve is not None and not callable(approve):
            raise ConfigError(f"approve must be a function of a ToolCall, got {approve!r}")
        if hooks is not None and not isinstance(hooks, AgentHooks):
            raise ConfigError(f"hooks must be of AgentHooks, got {hooks!r:.80}")
        if transcripts not in ("state", "memory") and not callable(transcripts):
            raise ConfigError(
                f"transcripts must be 'state', 'memory' or a function of a run's id, got "
                f"{transcripts!r}"
            )
        if not isinstance(tools, Iterable):
            raise ConfigError(
                f"tools must be several, or a registry, got {tools!r:.80}; put one in a list"
            )
        self.model = model
        self.name = name
        self.instructions = instructions
        self.tenant = tenant
        self.limits = limits or AgentLimits()
        self.approve = approve
        self.hooks = hooks or AgentHooks()
        self._given: Any = tools if _is_registry(tools) else tuple(tools)
        self._kind = output
        self._policy = policy
        self._transcripts: Transcripts = transcripts
        self._own: ToolRegistry | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Agent(name={self.name!r})"

    @cached_property
    def output(self) -> Output:
        """What comes out of its runs; made with the first of them."""
        return output_of(self._kind)

    async def run(
        self,
        text: str,
        *,
        run_id: str | None = None,
        session: str | None = None,
        max_messages: int = 40,
    ) -> AgentResult:
        """Run it, and give what it comes to.

        Args:
            text: what the model is asked.
            run_id: of the run: one that has begun with this id is resumed, and one that has ended
                gives its output again, without anything being done; a new one where None.
            session: name of a session of the tenant: the run is told what was said in it before,
                and its own input and answer are remembered with its end.
            max_messages: of the session, that the run is told, the newest.

        Raises:
            AgentLimitExceeded, OutputInvalid, RunConflict, TranscriptDamaged: see there.
            InputError: the text is blank.
            QuotaExceeded: the tenant can't be charged; before the model is asked, nothing was done.
            LlmspellError: what the model's provider, the tenant and its tools raise.
        """
        return await self.start(
            text, run_id=run_id, session=session, max_messages=max_messages
        ).run()

    async def __call__(self, text: str) -> Any:
        """The output of a run: a step of workflows, and what ``RunAgent`` takes."""
        from llmspell.agents.events import RunState

        result = await self.run(text)
        if result.state is not RunState.FINISHED:
            raise InputError(
                f"run {result.run_id!r} waits for approval of "
                f"{', '.join(one.call.tool for one in result.pending)}; give the agent an approve "
                "hook, or call run and resume"
            )
        return result.output

    def start(
        self,
        text: str,
        *,
        run_id: str | None = None,
        session: str | None = None,
        max_messages: int = 40,
    ) -> AgentRun:
        """A run to follow, in an ``async with``; arguments as :meth:`run`."""
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"an agent is asked a text that isn't blank, got {text!r:.80}")
        return self._made(text, run_id, session, max_messages)

    async def resume(
        self,
        run_id: str,
        *,
        decisions: Mapping[str, bool | Approval] | None = None,
    ) -> AgentResult:
        """Go on with a run that waits, failed, was cancelled or was cut off by a crash.

        Calls that have results in the transcript aren't made again. One that may have been under
        way at a crash is made again where its tool says ``idempotent``, or never began; otherwise
        the model is told that its outcome isn't known.

        Args:
            run_id: of the run.
            decisions: about calls that wait for approval, by their keys; one that was taken
                already may be given again.

        Raises:
            CallNotWaiting: a decision is about another call; nothing was done.
            RunNotFound: there is no run of that id.
            LlmspellError: as :meth:`run`.
        """
        if decisions is not None and not isinstance(decisions, Mapping):
            raise InputError(
                "decisions are True, False or an Approval by the key of a pending call, "
                f"got {decisions!r:.80}"
            )
        return await self._made(None, run_id, None, 0, decisions).run()

    def as_tool(self, *, description: str, name: str | None = None) -> AgentTool:
        """It as a tool of other agents, which give it a task in words.

        A call is a run of its own, with limits of its own, within those of the run that makes it,
        and resumed with that. Where it waits for approval, both do.

        Args:
            description: what a model is told of it.
            name: of the tool; the agent's where None.
        """
        from llmspell.agents.sub_agent import AgentTool

        return AgentTool(self, name or self.name, description)

    def close(self) -> None:
        """End the workers of tools that it was given; does nothing the second time.

        The tools themselves may be other agents', too: those with a ``close`` are closed by the
        registry that they are given in.
        """
        if (own := self._taken()) is not None:
            own.close()

    async def aclose(self) -> None:
        """As :meth:`close`, for async code."""
        if (own := self._taken()) is not None:
            await own.aclose()

    def _taken(self) -> ToolRegistry | None:
        """The registry of its own, which nobody closes after this."""
        with self._lock:
            own, self._own = self._own, None
        return own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def bind_tools(self, tenant: Handle, approve: Callable[..., Any]) -> TenantTools | None:
        """Its tools as a tenant may use them; None where it has none."""
        if not self._given:
            return None
        registry: Any = self._given
        if isinstance(self._given, tuple):
            with self._lock:
                if self._own is None:
                    from llmspell.tools import ToolRegistry

                    self._own = ToolRegistry(self._given, close_tools=False)
                registry = self._own
        bound: TenantTools = registry.bind(tenant, policy=self._policy, approve=approve)
        return bound

    def run_within(self, text: str, tenant: Handle, call: CallInRun) -> AgentRun:
        """A run that is part of another one's call."""
        from llmspell.agents.decisions import below
        from llmspell.agents.run import AgentRun

        outer = call.run
        return AgentRun(
            self,
            self.tenant or tenant,
            f"{outer.id}/{call.call.key}",
            text,
            outer.transcript.child(call.call.key),
            decisions=below(outer.decisions, call.call.key),
            within=call,
        )

    def _made(
        self,
        text: str | None,
        run_id: str | None,
        session: str | None,
        max_messages: int,
        decisions: Mapping[str, bool | Approval] | None = None,
    ) -> AgentRun:
        from llmspell.agents.run import AgentRun
        from llmspell.agents.transcript import transcript_of

        if self.tenant is None:
            raise ConfigError(f"agent {self.name!r} runs on behalf of a tenant; give it a handle")
        if run_id == "":  # an id that was lost on its way, and not a wish for a new one
            raise InputError("a run's id has one character or more, got ''; None makes one")
        own_id = uuid.uuid4().hex if run_id is None else run_id
        return AgentRun(
            self,
            self.tenant,
            own_id,
            text,
            transcript_of(self._transcripts, self.tenant, own_id),
            session=session,
            max_messages=max_messages,
            decisions=decisions,
            is_new=run_id is None,
        )


def _is_registry(tools: object) -> bool:
    # By what it does: the class is imported where there are tools. One tool has a bind, too.
    return isinstance(tools, Iterable) and callable(getattr(tools, "bind", None))
