"""Workflows: steps one after the other, side by side, chosen, and repeated.

Each helper gives an async function of one value, which is a step itself. A step is whatever can be
called with one value: a function, sync or async, an agent, a workflow. Nothing is kept between
calls, so that a workflow may run any number of times at once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llmspell.agents.policies import FAIL, Fail, FailurePolicy, Fallback, Retry, Skip, StepCall
from llmspell.agents.policies import called as called_by_policy
from llmspell.errors import ConfigError, LoopLimitExceeded
from llmspell.observability import span

__all__ = ["SKIPPED", "Step", "Workflow", "branch", "loop", "parallel", "sequence", "step"]

Workflow: TypeAlias = Callable[[Any], Awaitable[Any]]
"""An async function of one value."""


class _Skipped:
    """Stands for the result of a step that was passed over."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SKIPPED"


#: What :func:`parallel` gives for a step that was skipped.
SKIPPED: Final = _Skipped()


@dataclass(frozen=True, slots=True)
class Step:
    """A step with a name, a policy for its failures and a time; made by :func:`step`."""

    call: StepCall
    name: str
    on_failure: FailurePolicy = FAIL
    timeout: float | None = None

    async def __call__(self, value: Any) -> Any:
        """Its result; of a step that is skipped the value itself."""
        return await self.run(value, value)

    async def run(self, value: Any, skipped: Any) -> Any:
        """Its result, or ``skipped``; an exception says which step it is of."""
        call = self.call if self.timeout is None else self._timed
        with span(f"workflow.step {self.name}"):
            try:
                return await called_by_policy(call, value, self.on_failure, skipped)
            except Exception as error:
                error.add_note(f"in step {self.name!r}")
                raise

    async def _timed(self, value: Any) -> Any:
        async with asyncio.timeout(self.timeout):
            found = self.call(value)
            return await found if inspect.isawaitable(found) else found


def step(
    call: StepCall,
    *,
    name: str | None = None,
    on_failure: FailurePolicy = FAIL,
    timeout: float | None = None,
) -> Step:
    """Say what is done where a step fails, and how long it may take.

    Args:
        call: called with one value.
        name: in spans and notes of errors; the function's where None.
        on_failure: :class:`Fail`, :class:`Skip`, :class:`Retry` or :class:`Fallback`.
        timeout: seconds of one try; then it is cancelled and has failed with TimeoutError. A step
            that isn't async can't be stopped.

    Raises:
        ConfigError: something else, or a timeout that isn't above 0.
    """
    if not callable(call):
        raise ConfigError(f"a step is called with a value, got {call!r}")
    if not isinstance(on_failure, Fail | Skip | Retry | Fallback):
        raise ConfigError(f"on_failure must be a Fail, Skip, Retry or Fallback, got {on_failure!r}")
    if timeout is not None and not timeout > 0:
        raise ConfigError(f"timeout must be above 0 seconds, got {timeout!r}")
    return Step(call, name or _name_of(call), on_failure, timeout)


def sequence(*steps: StepCall) -> Workflow:
    """Steps one after the other, each with what the one before gave; of a skipped one its value."""
    made = _steps(steps)

    async def run_sequence(value: Any) -> Any:
        for one in made:
            value = await one.run(value, value)
        return value

    return run_sequence


def parallel(*steps: StepCall, max_concurrent: int | None = None, **named: StepCall) -> Workflow:
    """Steps side by side, each with the same value.

    Where one fails for good, those that still run are cancelled, and have ended when its exception
    is raised.

    Args:
        steps: without names; the result is a list in their order.
        max_concurrent: that run at one time; None for all.
        named: in place of ``steps``; the result is a dict.

    Returns:
        A workflow; what a skipped step gives is :data:`SKIPPED`.

    Raises:
        ConfigError: steps with and without names, or a ``max_concurrent`` below 1.
    """
    if steps and named:
        raise ConfigError("give steps with names, for a dict, or without, for a list")
    if max_concurrent is not None and not max_concurrent >= 1:
        raise ConfigError(f"max_concurrent must be 1 or more, got {max_concurrent!r}")
    made = _steps(steps) or [
        one if isinstance(one, Step) else step(one, name=name) for name, one in named.items()
    ]

    async def run_parallel(value: Any) -> Any:
        results = await _side_by_side(made, value, max_concurrent)
        return dict(zip(named, results, strict=True)) if named else results

    return run_parallel


def branch(
    choose: StepCall,
    ways: Mapping[Hashable, StepCall],
    otherwise: StepCall | None = None,
) -> Workflow:
    """One of several steps, as what ``choose`` gives for the value says.

    Args:
        choose: sync or async; gives a key of ``ways``.
        ways: steps.
        otherwise: for other keys; the value stays as it is where None.
    """
    chooser = _as_step(choose)
    made = {key: _as_step(one) for key, one in ways.items()}
    default = None if otherwise is None else _as_step(otherwise)

    async def run_branch(value: Any) -> Any:
        way = made.get(await chooser.run(value, None), default)
        return value if way is None else await way.run(value, value)

    return run_branch


def loop(body: StepCall, until: StepCall, *, max_rounds: int = 10) -> Workflow:
    """A step again and again, with what it gave, until a condition holds for that.

    Args:
        body: the step; where it is skipped the value stays.
        until: sync or async; asked behind each round.
        max_rounds: then LoopLimitExceeded is raised, which has the last value.

    Raises:
        ConfigError: ``max_rounds`` is below 1.
    """
    if isinstance(max_rounds, bool) or not isinstance(max_rounds, int) or max_rounds < 1:
        raise ConfigError(f"max_rounds must be an int of 1 or more, got {max_rounds!r}")
    inner, condition = _as_step(body), _as_step(until)

    async def run_loop(value: Any) -> Any:
        for _ in range(max_rounds):
            value = await inner.run(value, value)
            if await condition.run(value, False):
                return value
        raise LoopLimitExceeded(max_rounds, value)

    return run_loop


async def _side_by_side(steps: list[Step], value: Any, most: int | None) -> list[Any]:
    places = asyncio.Semaphore(most or len(steps) or 1)

    async def one(step: Step) -> Any:
        async with places:
            return await step.run(value, SKIPPED)

    tasks = [asyncio.ensure_future(one(step)) for step in steps]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _steps(steps: tuple[StepCall, ...]) -> list[Step]:
    return [_as_step(one) for one in steps]


def _as_step(call: StepCall) -> Step:
    return call if isinstance(call, Step) else step(call)


def _name_of(call: StepCall) -> str:
    name = getattr(call, "name", None) or getattr(call, "__name__", None)
    return name if isinstance(name, str) else type(call).__name__
