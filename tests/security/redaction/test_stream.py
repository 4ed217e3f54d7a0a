"""A stream gives what the whole text gives, however it is cut, and holds back little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ClosedError
from llmspell.security import RedactionStream, Redactor, redact
from llmspell.security.redaction.redactor import _RULES
from tests.security.redaction.labelled import negatives, positives

REDACTOR = Redactor()
PIECES = [case.text for case in positives(4) + negatives(4)]
# Beginnings, ends and separators, from which hypothesis makes what no list of cases has.
PARTS = [
    "password", "=", ": ", '"', "'", "\n", " ", "token", "eyJhbGciOi", ".", "sk-", "://",
    "@", "Bearer ",
    "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "abc123DEF456ghi789", "key",
    "xoxb-", "***",
    "Cookie: a=", ";", "\\n", "\\", "=>", "İ", "ſecret=", "K", "user", "curl ", " -u ",
]  # fmt: skip


def streamed(text: str, cuts: list[int]) -> str:
    stream = REDACTOR.stream()
    parts = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        parts.append(stream.feed(text[start:end]))
    return "".join(parts) + stream.finish()


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_secrets_among_text_come_out_as_from_the_whole(
    pieces: list[str], data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from(["\n", " ", ""])).join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    assert streamed(text, cuts) == redact(text)


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=40), st.data())
@settings(max_examples=200, deadline=None)
def test_fragments_come_out_as_from_the_whole(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    assert streamed(text, cuts) == redact(text)


@pytest.mark.parametrize("at", range(0, len(PIECES), 9))
def test_characters_one_by_one_come_out_as_from_the_whole(at: int) -> None:
    text = PIECES[at]
    assert streamed(text, list(range(1, len(text)))) == redact(text)


def test_a_name_is_remembered_while_a_long_value_comes() -> None:
    draw = random.Random(7)
    value = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=3000))
    for name, is_secret in (("api_key", True), ("primary_key", False), ("foreign-key", False)):
        text = f'{name}="{value}" and then'
        assert (value not in redact(text)) is is_secret
        assert streamed(text, list(range(40, len(text), 40))) == redact(text)


def test_a_long_text_is_given_back_as_it_comes() -> None:
    stream = REDACTOR.stream()
    for _ in range(100):
        stream.feed("The quick brown fox jumps over the lazy dog, and so on it goes. ")
        assert stream.held <= 512 + max(rule.opening_width for rule in _RULES)


def test_no_more_is_held_than_the_longest_secret_needs() -> None:
    stream = REDACTOR.stream()
    draw = random.Random(5)
    stream.feed("-----BEGIN PRIVATE KEY-----\n")
    for _ in range(1000):
        stream.feed("".join(draw.choices("abcdefghijklmnopqrstuvwxyz0123456789+/", k=64)) + "\n")
        assert stream.held <= 2 * max(rule.width for rule in _RULES)


def test_a_stream_that_is_finished_takes_no_more() -> None:
    stream = REDACTOR.stream()
    assert isinstance(stream, RedactionStream)
    assert stream.feed("a") + stream.finish() == "a"
    assert stream.finish() == ""
    with pytest.raises(ClosedError):
        stream.feed("b")
