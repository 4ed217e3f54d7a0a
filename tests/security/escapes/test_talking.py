"""What a worker says is data, bounded and in its turn, whatever it writes to its socket."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell.errors import ToolFailed, ToolTimeout
from llmspell.security import ConfinedTool, Sandbox, SecurityRequirements
from tests.security.escapes.running import ATTEMPTS, Grounds

LIMIT = 1 << 16
FUNCTIONS = [
    *("well", "returns_pickle", "returns_too_much", "returns_deep"),
    *("returns_itself", "returns_huge_int", "says", "says_twice"),
    *("announces", "says_half_and_ends", "says_slowly", "asks_for_ever"),
    *("asks_in_many_threads", "nests", "holds", "tells_long_error"),
    *("closes_all", "turns_all_to_one", "turns_output_to_the_socket", "reads_its_calls"),
    *(
        "answers_before_it_returns",
        "answers_the_next_call",
        "raises_what_is_odd",
        "raises_with_odd_name",
    ),
]
NIL = b"\xc0"
RESULT, ERROR, READY, ASK = 2, 3, 4, 5
REQUIREMENTS = SecurityRequirements.safe().with_output_limit(LIMIT).with_timeout(1.0)


@pytest.fixture(scope="module")
def talking(grounds: Grounds) -> Iterator[ConfinedTool]:
    with load(grounds.sandbox) as tool:
        yield tool


def load(sandbox: Sandbox, *, keep_workers: bool = False) -> ConfinedTool:
    made = sandbox.load(
        "talking", FUNCTIONS, REQUIREMENTS, path=[ATTEMPTS], keep_workers=keep_workers, ready=1
    )
    assert isinstance(made, ConfinedTool)
    return made


def refused(tool: ConfinedTool, function: str, *arguments: Any) -> ToolFailed:
    """The error of a call; the next call goes well."""
    with pytest.raises(ToolFailed) as raised:
        tool.call(function, arguments)
    error = raised.value
    for text in (str(error), error.error):
        assert len(text) < 16_000
        assert text.isprintable() or not set(text) & {"\x1b", "\x07", "\x00", "\r"}
    assert len(error.trace) < 16_000
    assert tool.call("well").value == 42
    return error


MESSAGES = {
    "nothing": (RESULT, b""),
    "half a string": (RESULT, b"\xa9half"),
    "two values": (RESULT, NIL * 2),
    "no msgpack": (RESULT, b"\xc1"),
    "no UTF-8": (RESULT, b"\xa2\xff\xfe"),
    "a surrogate": (RESULT, b"\xa3\xed\xa0\x80"),
    "a list for a key": (RESULT, b"\x81\x91\x01\x01"),
    "a list of four thousand million": (RESULT, b"\xdd\xff\xff\xff\xff\x01"),
    "a map of four thousand million": (RESULT, b"\xdf\xff\xff\xff\xff\x01"),
    "bytes of four thousand million": (RESULT, b"\xc6\xff\xff\xff\xff\x01"),
    "a time of too many nanoseconds": (RESULT, b"\xc7\x0c\xff" + b"\xff" * 12),
    "a time beyond all years": (RESULT, b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7),
    "a time of no such length": (RESULT, b"\xc7\x05\xff" + bytes(5)),
    "an error that is nil": (ERROR, NIL),
    "an error of one": (ERROR, b"\x91\xa1E"),
    "an error of four": (ERROR, b"\x94\xa1E\xa1E\xa1E\xa1E"),
    "an error of lists": (ERROR, b"\x93" + b"\x91" * 900 + b"\x90" + b"\xa1E\xa1E"),
    "an error of maps": (ERROR, b"\x93\x80\x80\x80"),
    "an error of numbers": (ERROR, b"\x93\x01\x02\x03"),
    "an error that clears the screen": (ERROR, b"\x93\xa1E\xa4\x1b[2J\xa0"),
    "a question, where nobody answers": (ASK, NIL),
}


@pytest.mark.parametrize("kind, payload", MESSAGES.values(), ids=MESSAGES.keys())
def test_malformed_messages_are_refused(talking: ConfinedTool, kind: int, payload: bytes) -> None:
    refused(talking, "says", kind, payload)


@pytest.mark.parametrize("kind", [0, 1, READY, 6, 7, 99, 255])
def test_messages_of_another_kind_are_no_results(talking: ConfinedTool, kind: int) -> None:
    refused(talking, "says", kind, NIL)


@pytest.mark.parametrize("kind", [RESULT, ERROR, READY, ASK])
def test_a_second_message_is_refused(talking: ConfinedTool, kind: int) -> None:
    refused(talking, "says_twice", kind, b"\x93\xa1E\xa0\xa0" if kind == ERROR else NIL)


@pytest.mark.parametrize(
    "length, payload",
    [(0, b"x" * 8), (4, NIL * 8), (1 << 20, NIL), (1 << 31, NIL), ((1 << 32) - 1, NIL), (9, NIL)],
)
def test_results_that_lie_about_their_length(
    talking: ConfinedTool, length: int, payload: bytes
) -> None:
    refused(talking, "announces", length, payload)


@pytest.mark.parametrize(
    "function, arguments",
    [
        ("returns_pickle", ()),
        ("returns_too_much", (LIMIT,)),
        ("returns_too_much", (8 << 20,)),
        ("returns_deep", (100_000,)),
        ("returns_itself", ()),
        ("returns_huge_int", ()),
        ("nests", (60_000,)),
        ("says_half_and_ends", ()),
        ("closes_all", ()),
        ("turns_all_to_one", ()),
        ("turns_output_to_the_socket", ()),
        ("tells_long_error", (50_000,)),
        ("tells_long_error", (80_000,)),
        ("raises_what_is_odd", ()),
        ("raises_with_odd_name", ()),
    ],
)
def test_results_that_are_none(
    talking: ConfinedTool, function: str, arguments: tuple[Any, ...]
) -> None:
    refused(talking, function, *arguments)
    assert not os.path.exists("/tmp/llmspell-escape-by-pickle")


def test_an_answer_that_comes_byte_by_byte_has_its_time(talking: ConfinedTool) -> None:
    assert isinstance(refused(talking, "says_slowly"), ToolTimeout)


def test_nested_results_that_are_taken_can_be_walked(talking: ConfinedTool) -> None:
    """What is taken at all is not so deep that its owner fails at it."""
    with contextlib.suppress(ToolFailed):
        repr(talking.call("nests", [900]).value)


def test_a_result_that_the_worker_lets_through_is_held_by_the_owner(talking: ConfinedTool) -> None:
    refused(talking, "holds", 2 * LIMIT)


def test_small_objects_take_no_more_of_the_owner_than_their_bytes_allow(
    talking: ConfinedTool,
) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(ToolFailed):
            talking.call("holds", [LIMIT - 5])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 128 * LIMIT  # a list without anything in it has 56 bytes, and a place of 8


@pytest.mark.parametrize("function", ["asks_for_ever", "asks_in_many_threads"])
def test_questions_without_end_have_an_end(grounds: Grounds, function: str) -> None:
    """Of a tool that has a broker, to whom they mean nothing."""
    requirements = SecurityRequirements.restricted().with_network_access("api.example.com")
    with grounds.load(
        "talking", FUNCTIONS, requirements.with_timeout(1), path=[ATTEMPTS], ready=1
    ) as tool:
        refused(tool, function)


def test_who_answers_before_its_turn_answers_its_own_call_alone(talking: ConfinedTool) -> None:
    """Either message is the tool's own; the next call isn't answered by what was left."""
    for _ in range(3):
        try:
            assert talking.call("answers_before_it_returns").value in (1, 7)
        except ToolFailed:
            continue
    assert talking.call("well").value == 42


def test_a_worker_that_is_kept_answers_nobody_elses_call(grounds: Grounds) -> None:
    with load(grounds.sandbox, keep_workers=True) as tool:
        assert tool.call("answers_the_next_call", tenant="evil").value == 1
        for _ in range(5):
            assert tool.call("well", tenant="other").value == 42
        tool.call("reads_its_calls", tenant="evil")
        assert tool.call("well", tenant="other").value == 42
