"""Decisions about calls that wait for approval: who is asked, and what was decided by key."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from llmspell.agents.events import ApprovalAsked
from llmspell.agents.history import History
from llmspell.agents.transcript import Transcript
from llmspell.errors import CallNotWaiting, InputError
from llmspell.tools import Approval, ToolCall

if TYPE_CHECKING:
    from llmspell.agents.run import AgentRun

__all__ = ["Decisions", "ask_approval", "below", "require_asked"]

Decisions: TypeAlias = Mapping[str, bool | Approval]


def below(decisions: Decisions, call_key: str) -> dict[str, bool | Approval]:
    """Those about calls of a sub-agent, by their keys in its run."""
    prefix = call_key + "/"
    return {
        key.removeprefix(prefix): decision
        for key, decision in decisions.items()
        if key.startswith(prefix)
    }


async def require_asked(
    run_id: str, history: History, transcript: Transcript, decisions: Decisions
) -> None:
    """Take decisions about calls that wait, and those that were taken already.

    Args:
        run_id: of the run.
        history: of the run.
        transcript: of the run, which leads to those of its sub-agents.
        decisions: by keys.

    Raises:
        CallNotWaiting: there is no such call, it was never asked about, or it was decided
            otherwise.
        InputError: a decision is something else than a bool or an Approval.
    """
    for key, decision in decisions.items():
        if not isinstance(decision, bool | Approval):
            raise InputError(f"a decision is True, False or an Approval, got {decision!r:.80}")
        if not await _is_asked(history, transcript, key, decision):
            raise CallNotWaiting(
                f"run {run_id!r} has no call {key!r:.80} that waits for approval; `pending` of its "
                "result has the keys of those that do",
                run_id=run_id,
            )


async def _is_asked(
    history: History, transcript: Transcript, key: str, decision: bool | Approval
) -> bool:
    *outer, own = key.split("/") if isinstance(key, str) else [""]
    for part in outer:
        if history.turn_of(part) is None:
            return False
        transcript, history = transcript.child(part), History()
        for entry in await transcript.read():
            history.take(entry)
    turn = history.turn_of(own)
    if turn is None or own not in turn.asked:
        return False
    decided = turn.approvals.get(own)
    if decided is None:
        return own not in turn.results
    given = decision if isinstance(decision, bool) else decision.is_given is True
    return decided.is_given == given


async def ask_approval(
    run: AgentRun, told: ApprovalAsked, asked: ToolCall
) -> bool | Approval | None:
    """Ask who decides: the agent's hook, or that of the run that it is part of, or the reader.

    Args:
        run: whose call it is.
        told: to the reader of its events.
        asked: to the hook.

    Returns:
        None where nobody decides now.
    """
    hook = _hook_of(run)
    if hook is not None:
        await run.tell(told)
        answer = hook(asked)
        decided: bool | Approval | None = await answer if inspect.isawaitable(answer) else answer
        return decided
    root = run
    while root.within is not None:
        root = root.within.run
    if not root.following.is_on:
        return None
    with root.following.waiting(told.key) as decision:
        await run.tell(told)
        return await decision


def _hook_of(run: AgentRun) -> Callable[[ToolCall], Any] | None:
    if run.agent.approve is not None or run.within is None:
        return run.agent.approve
    return _hook_of(run.within.run)
