"""Workflows: steps in a row, side by side, chosen, repeated, and what is done where one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.agents import (
    SKIPPED,
    Fail,
    Fallback,
    Retry,
    Skip,
    branch,
    loop,
    parallel,
    sequence,
    step,
)


def run(flow: Any, value: Any) -> Any:
    return asyncio.run(flow(value))


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def add_one(value: int) -> int:
    return value + 1


def failing(times: int, then: Any = "done") -> Callable[[Any], Any]:
    """A step that fails so many times first."""
    left = [times]

    def call(_: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise KeyError(f"{left[0]} left")
        return then

    return call


def test_a_sequence_gives_each_step_what_the_one_before_gave() -> None:
    assert run(sequence(add_one, double, add_one), 1) == 5
    assert run(sequence(), 1) == 1


def test_steps_side_by_side_see_the_same_value_and_keep_their_order() -> None:
    async def slow(value: int) -> int:
        await asyncio.sleep(0.01)
        return value

    assert run(parallel(slow, double, add_one), 3) == [3, 6, 4]
    assert run(parallel(a=slow, b=double), 3) == {"a": 3, "b": 6}
    assert run(parallel(), 3) == []


def test_a_branch_takes_the_way_that_is_chosen() -> None:
    flow = branch(lambda value: value % 3, {0: add_one, 1: double}, otherwise=str)
    assert [run(flow, value) for value in (3, 4, 5)] == [4, 8, "5"]
    assert run(branch(lambda value: "nowhere", {0: add_one}), 3) == 3


def test_a_loop_ends_when_its_condition_holds() -> None:
    assert run(loop(double, lambda value: value > 50), 1) == 64
    with pytest.raises(errors.LoopLimitExceeded) as caught:
        run(loop(add_one, lambda value: False, max_rounds=3), 1)
    assert (caught.value.max_rounds, caught.value.value) == (3, 4)


def test_workflows_are_steps_themselves() -> None:
    flow = sequence(parallel(add_one, double), sum, loop(double, lambda value: value > 20))
    assert run(flow, 1) == 32


@settings(deadline=None)
@given(st.lists(st.sampled_from([add_one, double]), max_size=6), st.integers(0, 9))
def test_a_sequence_is_what_a_loop_over_its_steps_would_be(steps: Any, value: int) -> None:
    wanted = value
    for one in steps:
        wanted = 2 * wanted if one is double else wanted + 1
    assert run(sequence(*steps), value) == wanted


def test_a_failure_names_its_step() -> None:
    with pytest.raises(KeyError) as caught:
        run(sequence(add_one, step(failing(1), name="third")), 1)
    assert caught.value.__notes__ == ["in step 'third'"]


def test_a_skipped_step_leaves_the_value() -> None:
    skipped = step(failing(1), on_failure=Skip())
    assert run(sequence(add_one, skipped, double), 1) == 4
    assert run(parallel(a=step(failing(1), on_failure=Skip()), b=double), 1) == {
        "a": SKIPPED,
        "b": 2,
    }


def test_a_policy_is_for_its_errors_alone() -> None:
    for policy in (Skip((ValueError,)), Fallback(double, (ValueError,)), Retry(errors=(OSError,))):
        with pytest.raises(KeyError):
            run(step(failing(1), on_failure=policy), 1)


@pytest.mark.parametrize("times", [1, 2])
def test_a_step_is_tried_again_as_often_as_it_may(times: int) -> None:
    retry = Retry(times, wait=0)
    assert run(step(failing(times), on_failure=retry), 1) == "done"
    with pytest.raises(KeyError):
        run(step(failing(times + 1), on_failure=retry), 1)


def test_behind_the_last_try_another_policy_goes_on() -> None:
    fallback = Retry(1, wait=0, then=Fallback(double))
    assert run(step(failing(2), on_failure=fallback), 4) == 8
    assert run(step(failing(9), on_failure=Retry(1, wait=0, then=Skip())), 4) == 4


def test_a_fallback_gets_the_value() -> None:
    assert run(step(failing(1), on_failure=Fallback(double)), 3) == 6


def test_a_step_that_takes_too_long_has_failed() -> None:
    async def hang(_: Any) -> None:
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        run(step(hang, timeout=0.01), 1)
    assert run(step(hang, timeout=0.01, on_failure=Skip()), 1) == 1


def test_where_one_of_several_fails_the_others_are_cancelled_first() -> None:
    ended = []

    async def hang(_: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def fail_later(_: Any) -> None:
        await asyncio.sleep(0.01)
        raise KeyError("one")

    with pytest.raises(KeyError):
        run(parallel(hang, fail_later, hang), 1)
    assert ended == ["cancelled", "cancelled"]


def test_no_more_run_at_one_time_than_may() -> None:
    running, most = 0, 0

    async def work(_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    run(parallel(*[work] * 7, max_concurrent=2), 1)
    assert most == 2


@pytest.mark.parametrize(
    "make",
    [
        *(
            lambda: step(7),
            lambda: step(double, timeout=0),
            lambda: step(double, on_failure="skip"),
        ),
        *(lambda: parallel(double, a=double), lambda: parallel(double, max_concurrent=0)),
        *(lambda: loop(double, bool, max_rounds=0), lambda: Retry(0), lambda: Retry(1, wait=-1)),
        *(lambda: Retry(then=Retry()), lambda: Fallback(7), lambda: sequence("text")),
    ],
)
def test_what_is_no_workflow_is_refused_when_it_is_made(make: Callable[[], Any]) -> None:
    with pytest.raises(errors.ConfigError):
        make()


def test_the_policy_is_to_fail_unless_another_is_given() -> None:
    assert step(double).on_failure == Fail()
