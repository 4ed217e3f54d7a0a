"""What a run has come to, by its transcript: the messages so far, and what is still to be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from llmspell.agents.limits import RunUsage
from llmspell.agents.transcript import Entry
from llmspell.errors import InputError, RunConflict, RunNotFound, TranscriptDamaged
from llmspell.tools import Approval, ToolResult

__all__ = ["FORMAT", "AgentMessage", "Answer", "Call", "History", "Said", "Turn"]

#: Of transcripts; those of another one are refused.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool that the model asked for.

    Args:
        key: of the call in its run: the number of the answer and that of the call in it.
        id: that the model gave it.
        tool: name.
        arguments: as JSON, as the model wrote them.
    """

    key: str
    id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Args:
        text: of it.
        calls: of tools, which it waits for.
        input_tokens, output_tokens, cost: of this answer.
        model: that gave it, as it calls itself.
        finish: why it ended; see :data:`llmspell.providers.Finish`.
        thoughts: text, signature and whether it is redacted, of what the model thought before; see
            :class:`llmspell.providers.Thought`.
    """

    text: str
    calls: tuple[Call, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    model: str = ""
    finish: str = "stop"
    thoughts: tuple[tuple[str, str, bool], ...] = ()

    def to_entry(self) -> Entry:
        """It as an entry of a transcript."""
        thoughts = {"thoughts": [list(one) for one in self.thoughts]} if self.thoughts else {}
        calls = [{"id": one.id, "tool": one.tool, "arguments": one.arguments} for one in self.calls]
        return {
            "kind": "answer",
            "text": self.text,
            "calls": calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "model": self.model,
            "finish": self.finish,
            **thoughts,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """A message of another run, or of the user.

    Args:
        role: "user" or "assistant".
        text: of it.
    """

    role: str
    text: str


@dataclass(slots=True)
class Turn:
    """An answer, and what became of it."""

    answer: Answer
    results: dict[str, ToolResult] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    used: dict[str, RunUsage] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    repair: str | None = None

    @property
    def open_calls(self) -> list[Call]:
        """Calls that have no result yet."""
        return [call for call in self.answer.calls if call.key not in self.results]


ToolSaid: TypeAlias = tuple[Call, ToolResult]

AgentMessage: TypeAlias = Said | Answer | ToolSaid
"""What was said, an answer of the model, or a call of a tool with its result."""


class History:
    """A transcript, read. :meth:`take` reads on.

    Attributes:
        agent: name of the agent; None before the first entry.
        input: what it was asked.
        earlier: messages of the session before.
        session: name of the session, if it is in one.
        turns: answers so far.
        not_begun: keys of calls of which it was known when the run stopped that they hadn't begun.
        is_ended: whether it came to an output.
        output: as it is stored.
    """

    def __init__(self) -> None:
        self.agent: str | None = None
        self.input = ""
        self.earlier: tuple[Said, ...] = ()
        self.session: str | None = None
        self.turns: list[Turn] = []
        self.not_begun: frozenset[str] = frozenset()
        self.is_ended = False
        self.output: Any = None

    @property
    def last(self) -> Turn | None:
        """The last answer."""
        return self.turns[-1] if self.turns else None

    @property
    def repairs(self) -> int:
        """How often the model was asked to mend its answer."""
        return sum(turn.repair is not None for turn in self.turns)

    @property
    def used(self) -> RunUsage:
        """So far, by its answers and those of sub-agents whose calls have ended."""
        spent: list[Answer | RunUsage] = [turn.answer for turn in self.turns]
        for turn in self.turns:
            spent.extend(turn.used.values())
        return RunUsage(
            steps=len(self.turns),
            tool_calls=sum(len(turn.results) for turn in self.turns),
            input_tokens=sum(one.input_tokens for one in spent),
            output_tokens=sum(one.output_tokens for one in spent),
            cost=sum(one.cost for one in spent)
            + sum(sum(turn.costs.values()) for turn in self.turns),
        )

    def turn_of(self, key: str) -> Turn | None:
        """The answer that asked for a call; None where none has."""
        for turn in reversed(self.turns):
            if any(call.key == key for call in turn.answer.calls):
                return turn
        return None

    def require_own(self, run_id: str, agent: str, text: str | None) -> None:
        """Be of that agent, and of that input; one that has not begun needs an input.

        Raises:
            RunNotFound: it hasn't begun, and there is no input to begin with.
            RunConflict: it is another agent's, or of another input.
        """
        if self.agent is None:
            if text is None:
                raise RunNotFound(f"there is no run {run_id!r}", run_id=run_id)
        elif self.agent != agent or text not in (None, self.input):
            raise RunConflict(
                f"run {run_id!r} is of agent {self.agent!r} with another input; give it another "
                "id, or resume it by that agent",
                run_id=run_id,
            )

    def messages(self) -> Iterator[AgentMessage]:
        """What the model is told, in order; of calls those that have a result."""
        yield from self.earlier
        yield Said("user", self.input)
        for turn in self.turns:
            yield turn.answer
            for call in turn.answer.calls:
                if call.key in turn.results:
                    yield call, turn.results[call.key]
            if turn.repair is not None:
                yield Said("user", turn.repair)

    def take(self, entry: Entry) -> None:
        """Read an entry; raises TranscriptDamaged."""
        try:
            self._take(entry)
        except (AttributeError, InputError, IndexError, KeyError, TypeError, ValueError) as error:
            raise TranscriptDamaged(
                f"no run writes such an entry of kind {entry.get('kind')!r} here: {error!r}"
            ) from None

    def _take(self, entry: Entry) -> None:
        if self.is_ended:
            raise ValueError("it has ended")
        match entry["kind"]:
            case "start":
                if self.agent is not None:
                    raise ValueError("it begins twice")
                if entry["format"] != FORMAT:
                    raise ValueError(f"it is of format {entry['format']}, expected {FORMAT}")
                self.agent = entry["agent"]
                self.input = entry["input"]
                self.session = entry["session"]
                self.earlier = tuple(Said(one["role"], one["text"]) for one in entry["earlier"])
            case "answer":
                number = len(self.turns)
                calls = tuple(
                    Call(f"{number}-{n}", one["id"], one["tool"], one["arguments"])
                    for n, one in enumerate(entry["calls"])
                )
                rest = {name: value for name, value in entry.items() if name not in _NOT_OF_IT}
                thoughts = tuple(tuple(one) for one in rest.pop("thoughts", ()))
                self.turns.append(Turn(Answer(calls=calls, thoughts=thoughts, **rest)))
            case "asked":
                self._turn_of(entry["call"]).asked.add(entry["call"])
            case "approval":
                decided = Approval(entry["given"], entry["reason"])
                self._turn_of(entry["call"]).approvals[entry["call"]] = decided
            case "result":
                result = ToolResult.from_fields(entry["result"])
                turn = self._turn_of(entry["call"])
                turn.results[entry["call"]] = result
                if entry.get("cost"):
                    turn.costs[entry["call"]] = float(entry["cost"])
                if entry.get("used") is not None:
                    turn.used[entry["call"]] = RunUsage(**entry["used"])
            case "repair":
                self.turns[-1].repair = entry["text"]
            case "end":
                if not self.turns:
                    raise ValueError("it ends without an answer")
                self.is_ended, self.output = True, entry["output"]
            case "resume":
                self.not_begun = frozenset()
            case "stop":
                self.not_begun = frozenset(entry.get("not_begun", ()))
            case kind:
                raise ValueError(f"unknown: {kind!r}")

    def _turn_of(self, key: str) -> Turn:
        turn = self.turns[-1]
        if key not in {call.key for call in turn.answer.calls}:
            raise ValueError(f"no call {key!r} is open")
        return turn


_NOT_OF_IT = frozenset({"kind", "calls"})
