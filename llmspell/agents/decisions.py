"""Decisions about calls that wait for approval, by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from llmspell.agents.history import History
from llmspell.agents.transcript import Transcript
from llmspell.errors import CallNotWaiting, InputError
from llmspell.tools import Approval

__all__ = ["Decisions", "below", "require_asked"]

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
