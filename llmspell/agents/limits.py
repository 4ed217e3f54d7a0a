"""What one run of an agent may use, and what it has used."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final

from llmspell.errors import AgentLimitExceeded, ConfigError

__all__ = ["AgentLimits", "Budget", "RunUsage"]

_MAX_SECONDS: Final = 86_400.0
#: Between two looks whether an answer has come: in another thread's loop it may be, and takes long.
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """Limits of one run. Immutable; checked when it is made.

    Tokens and cost are reserved at the tenant when a run begins, so that it never begins with less
    than it may need; what isn't used is given back at its end. Where one is None nothing is
    reserved, and what is used is charged as it comes.

    Args:
        max_steps: answers of the model.
        max_seconds: wall-clock time of the run, waiting for approval included; one day at most.
        max_tokens: of prompts and answers together, those of sub-agents included. Once they are
            used the model isn't asked again. An answer may be as long as what is left, and is set
            aside: of sub-agents side by side one waits where it isn't enough for all. But how long
            a prompt is only the model tells: answers under way may go beyond by their prompts.
        max_cost: money, in the unit of ``max_cost_per_month``: of the model, which must have a
            price, and of tools that have a cost. Once it is used the model isn't asked again; the
            last answer may go beyond, and sub-agents wait for one another as with ``max_tokens``.
        max_tool_calls: calls of tools.
        max_parallel_tools: calls of tools at one time.
        max_answer_tokens: of one answer; with its prompt the most that is set aside for it.
        max_repairs: times that the model may mend an answer that isn't as ``output`` says.
        tool_retries: further tries of a tool that failed, where that can do no harm: it says
            ``idempotent``, or nothing of it has run.

    Raises:
        ConfigError: one is out of range.
    """

    max_steps: int = 20
    max_seconds: float = 600.0
    max_tokens: int | None = 100_000
    max_cost: float | None = None
    max_tool_calls: int = 100
    max_parallel_tools: int = 8
    max_answer_tokens: int = 4_096
    max_repairs: int = 2
    tool_retries: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name in ("max_tokens", "max_cost"):
                continue
            if field.name in ("max_seconds", "max_cost"):
                is_right = isinstance(value, int | float) and not isinstance(value, bool)
                is_right = is_right and 0 < value < math.inf
                wanted = "a number above 0"
            else:
                least = 0 if field.name in ("max_repairs", "tool_retries") else 1
                is_right = isinstance(value, int) and not isinstance(value, bool)
                is_right = is_right and value >= least
                wanted = f"an int of at least {least}"
            if not is_right:
                raise ConfigError(f"{field.name} must be {wanted}, got {value!r}")
        if self.max_seconds > _MAX_SECONDS:
            raise ConfigError(
                f"max_seconds must be at most {_MAX_SECONDS:,.0f}, got {self.max_seconds!r}; a run "
                "that is to take longer can be resumed"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage:
    """What a run has used so far, its sub-agents included.

    Args:
        steps: answers of the model.
        tool_calls: calls of tools.
        input_tokens: of prompts.
        output_tokens: of answers.
        cost: money, as far as it is known.
    """

    steps: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.input_tokens + self.output_tokens


class Budget:
    """What a run may still use; a sub-agent's is part of that of the run that called it.

    Thread-safe.
    """

    def __init__(
        self, limits: AgentLimits, run_id: str, used: RunUsage, outer: Budget | None = None
    ) -> None:
        """Begin with what the run has used before it was resumed; it is the outer run's too."""
        self._limits = limits
        self._run_id = run_id
        self._outer = outer
        # One for all runs of one another: what is set aside is looked at in all of them.
        self._lock: threading.Lock = threading.Lock() if outer is None else outer._lock
        self._used = used
        self._set_aside = 0  #: tokens of answers under way
        self._cost_set_aside = 0.0
        if outer is not None:
            outer._count(0, used.input_tokens, used.output_tokens, used.cost)
        self._until = time.monotonic() + limits.max_seconds

    @property
    def used(self) -> RunUsage:
        """So far."""
        return self._used

    @property
    def deadline(self) -> float:
        """By ``time.monotonic``."""
        return self._until if self._outer is None else min(self._until, self._outer.deadline)

    @property
    def seconds_left(self) -> float:
        """Of the time of this run and of those that it is part of."""
        return self.deadline - time.monotonic()

    def answer_tokens(self) -> int:
        """How long the next answer may be; raises AgentLimitExceeded where it may not be at all.

        Steps, tokens and cost are looked at.
        """
        limits, used = self._limits, self._used
        self._require("max_steps", used.steps + 1, limits.max_steps)
        allowed = limits.max_answer_tokens
        if limits.max_tokens is not None:
            self._require("max_tokens", used.tokens + 1, limits.max_tokens)
            allowed = min(allowed, limits.max_tokens - used.tokens)
        if limits.max_cost is not None and used.cost >= limits.max_cost:
            self._refuse("max_cost", limits.max_cost)
        if self._outer is not None:
            # Its own steps aren't the outer run's; its tokens and its cost are.
            outer = self._outer._spendable()
            if outer is not None:
                allowed = min(allowed, outer)
        return allowed

    @asynccontextmanager
    async def answering(self, token_cost: float = 0.0) -> AsyncIterator[int]:
        """Set aside how long the next answer may be, and what it may cost, until it is counted.

        Sub-agents side by side would each be told the same tokens: where what is left doesn't
        suffice for all, one waits for the answers of the others.

        Args:
            token_cost: money for one of its tokens.

        Raises:
            AgentLimitExceeded: as :meth:`answer_tokens`.
        """
        while (allowed := self._taken(token_cost)) is None:
            await asyncio.sleep(_LOOK_S)
        try:
            yield allowed
        finally:
            with self._lock:
                for one in self._all():
                    one._set_aside -= allowed
                    one._cost_set_aside -= allowed * token_cost

    def answered(self, *, input_tokens: int, output_tokens: int, cost: float) -> None:
        """Count an answer of the model."""
        self._count(1, input_tokens, output_tokens, cost)

    def called(self, count: int) -> None:
        """Count calls of tools before they are made; raises AgentLimitExceeded."""
        with self._lock:
            used = self._used
            self._require("max_tool_calls", used.tool_calls + count, self._limits.max_tool_calls)
            self._used = _added(used, tool_calls=count)

    def pay(self, cost: float) -> None:
        """Count the price of a tool before it is called; raises AgentLimitExceeded."""
        if not cost:
            return
        most = self._limits.max_cost
        with self._lock:
            # In millionths, as the quota counts: a tenth three times is no more than 0.3.
            if most is not None and round((self._used.cost + cost - most) * 1e6) > 0:
                self._refuse("max_cost", most)
            self._used = _added(self._used, cost=cost)
        if self._outer is not None:
            try:
                self._outer.pay(cost)
            except AgentLimitExceeded:
                with self._lock:
                    self._used = _added(self._used, cost=-cost)
                raise

    def give_back(self, cost: float) -> None:
        """The tool didn't run."""
        self._count(0, 0, 0, -cost)

    def _taken(self, token_cost: float) -> int | None:
        """Set aside for an answer; None where others have to come first."""
        with self._lock:
            allowed = self.answer_tokens()
            for one in self._all():
                if one._set_aside and not one._suffices(allowed, allowed * token_cost):
                    return None
            for one in self._all():
                one._set_aside += allowed
                one._cost_set_aside += allowed * token_cost
            return allowed

    def _suffices(self, tokens: int, cost: float) -> bool:
        """Whether there is so much left beside what is set aside."""
        limits, used = self._limits, self._used
        tokens += used.tokens + self._set_aside
        cost += used.cost + self._cost_set_aside
        return (limits.max_tokens is None or tokens <= limits.max_tokens) and (
            limits.max_cost is None or cost <= limits.max_cost
        )

    def _all(self) -> Iterator[Budget]:
        """It, and those of the runs that it is part of."""
        found: Budget | None = self
        while found is not None:
            yield found
            found = found._outer

    def _spendable(self) -> int | None:
        limits, used = self._limits, self._used
        if limits.max_cost is not None and used.cost >= limits.max_cost:
            self._refuse("max_cost", limits.max_cost)
        left = None
        if limits.max_tokens is not None:
            self._require("max_tokens", used.tokens + 1, limits.max_tokens)
            left = limits.max_tokens - used.tokens
        outer = None if self._outer is None else self._outer._spendable()
        return min((one for one in (left, outer) if one is not None), default=None)

    def _count(self, steps: int, input_tokens: int, output_tokens: int, cost: float) -> None:
        with self._lock:
            self._used = _added(
                self._used,
                steps=steps,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cost=cost,
            )
        if self._outer is not None:
            self._outer._count(0, input_tokens, output_tokens, cost)

    def _require(self, limit: str, wanted: int, most: int) -> None:
        if wanted > most:
            self._refuse(limit, most)

    def _refuse(self, limit: str, value: float) -> None:
        raise AgentLimitExceeded(limit=limit, value=value, run_id=self._run_id)


def _added(used: RunUsage, **more: float) -> RunUsage:
    held = {field.name: getattr(used, field.name) for field in fields(used)}
    for name, amount in more.items():
        held[name] += amount
    return RunUsage(**held)
