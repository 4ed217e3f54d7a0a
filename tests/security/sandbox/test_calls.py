"""Calls of confined tools: data goes in and comes out, and errors are named."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import (
    InputError,
    ToolFailed,
    ToolLimitExceeded,
    ToolTimeout,
)
from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements
from tests.security.sandbox.conftest import SAFE, confined

DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


def test_a_function_gets_its_arguments_and_gives_its_result(plain: ConfinedTool) -> None:
    assert plain.call("words", ["a b a"]).value == {"a": 2, "b": 1}
    assert plain.call("echo", [1, "two"], {"three": 3.5}).value == [[1, "two"], {"three": 3.5}]
    assert plain.call("parsed", ['{"a": [1, null]}']).value == {"a": [1, None]}
    assert plain.call("Counts.doubled", [4]).value == 8


def test_an_async_function_is_awaited(plain: ConfinedTool) -> None:
    assert plain.call("later", [0.001]).value == "later"


def test_a_time_with_a_zone_is_data(plain: ConfinedTool) -> None:
    found = plain.call("when", ["2026-02-03"]).value
    assert found == datetime.datetime(2026, 2, 3, tzinfo=datetime.UTC)
    assert plain.call("echo", [found]).value == [[found], {}]


@pytest.fixture(scope="module")
def kept(sandbox: Sandbox) -> ConfinedTool:
    return confined(sandbox, SAFE, keep_workers=True)


@settings(max_examples=200, deadline=None)
@given(DATA)
def test_all_data_comes_back_as_it_went(kept: ConfinedTool, value: Any) -> None:
    assert kept.call("echo", [value]).value == [[value], {}]


def test_what_is_printed_comes_with_the_result_as_far_as_the_limit_goes(
    sandbox: Sandbox, plain: ConfinedTool
) -> None:
    result = plain.call("printed", [10])
    assert (result.stdout, result.stderr, result.is_cut) == (
        b"x" * 10 + b"\n",
        b"y" * 10 + b"\n",
        False,
    )
    with confined(sandbox, SAFE.with_output_limit(1000)) as tool:
        result = tool.call("printed", [3 << 20])
        assert (len(result.stdout), len(result.stderr), result.is_cut) == (1000, 1000, True)


def test_what_a_function_raises_is_told_with_its_traceback(plain: ConfinedTool) -> None:
    with pytest.raises(ToolFailed, match="raises: LookupError: so it is") as caught:
        plain.call("raises", ["so it is"])
    assert caught.value.error == "LookupError"
    assert "raise LookupError(message)" in caught.value.trace
    with pytest.raises(ToolFailed, match="SystemExit: 3"):
        plain.call("leaves")


def test_a_result_that_is_no_data_or_too_large_is_an_error(
    sandbox: Sandbox, plain: ConfinedTool
) -> None:
    with pytest.raises(ToolFailed, match="the result: it is no data"):
        plain.call("returns_object")
    with confined(sandbox, SAFE.with_output_limit(1000)) as tool:
        assert len(tool.call("returns_bytes", [900]).value) == 900
        with pytest.raises(ToolFailed, match="more than 1,000"):
            tool.call("returns_bytes", [1000])


def test_arguments_that_are_no_data_are_refused_before_a_worker_is_taken(
    plain: ConfinedTool,
) -> None:
    with pytest.raises(InputError, match="can't be sent: it is no data"):
        plain.call("echo", [object()])
    with pytest.raises(InputError, match="more than 16,777,216"):
        plain.call("echo", [b"x" * (17 << 20)])
    with pytest.raises(InputError, match="has no function 'nothing'"):
        plain.call("nothing")
    with pytest.raises(InputError, match="timeout must be above 0"):
        plain.call("echo", timeout=0)
    with pytest.raises(InputError, match="at most 5 s"):
        plain.call("echo", timeout=6)


def test_a_call_that_takes_too_long_is_killed(plain: ConfinedTool) -> None:
    with pytest.raises(ToolTimeout, match=r"sleeps: not done in 0\.05 s"):
        plain.call("sleeps", [3], timeout=0.05)


def test_who_prints_without_end_is_killed_all_the_same(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE.with_cpu_limit(60_000)) as tool, pytest.raises(ToolTimeout):
        tool.call("prints_forever", timeout=0.3)
    with (
        confined(sandbox, SAFE.with_cpu_limit(200).with_timeout(60)) as tool,
        pytest.raises(ToolLimitExceeded, match="processor time"),
    ):
        tool.call("prints_forever")


def test_processor_time_is_limited_to_the_millisecond_asked_for(sandbox: Sandbox) -> None:
    with confined(sandbox, SAFE.with_cpu_limit(50).with_timeout(60)) as tool:
        assert tool.call("words", ["a"]).value == {"a": 1}
        with pytest.raises(
            ToolLimitExceeded, match=r"took its 0\.05 s of processor time"
        ) as caught:
            tool.call("spins")
        assert caught.value.limit == "cpu"


def test_memory_is_limited(plain: ConfinedTool) -> None:
    assert plain.call("takes", [20 << 20]).value == 20 << 20
    with pytest.raises(ToolLimitExceeded, match="MemoryError") as caught:
        plain.call("takes", [80 << 20])
    assert caught.value.limit == "memory"


def test_a_restricted_tool_has_more_memory_than_a_safe_one(sandbox: Sandbox) -> None:
    with confined(sandbox, SecurityRequirements.restricted()) as tool:
        assert tool.call("takes", [80 << 20]).value == 80 << 20


def test_a_process_that_ends_is_an_error(plain: ConfinedTool) -> None:
    for code in (0, 1):
        with pytest.raises(ToolFailed, match="ends: its process ended"):
            plain.call("ends", [code])


def test_threads_of_a_safe_tool_run(plain: ConfinedTool) -> None:
    assert plain.call("threads", [4]).value == 4


def test_calls_of_many_threads_each_get_their_own_answer(
    sandbox: Sandbox, plain: ConfinedTool
) -> None:
    reloaded = sandbox.counters.reloaded.value
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: plain.call("echo", [number]).value, range(60)))
    assert found == [[[number], {}] for number in range(60)]
    assert sandbox.counters.reloaded.value == reloaded
