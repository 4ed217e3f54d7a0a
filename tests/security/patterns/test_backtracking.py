"""Patterns that RE2 has not, on ``re`` in a confined worker: what ``re`` finds, and an end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from llmspell.errors import ConfigError, InputError, PatternLimitExceeded, UnsafePattern
from llmspell.security import BacktrackingPatterns, Sandbox


@pytest.fixture(scope="module")
def patterns(confines: None) -> Iterator[BacktrackingPatterns]:
    with Sandbox() as sandbox:
        yield BacktrackingPatterns(sandbox, timeout=5)


TEXT = "é 'one' \"two\" Ünter size=12 size=7 foo foobar"


@pytest.mark.parametrize(
    "pattern", [r"(['\"])(.*?)\1", r"(?<=size=)\d+", r"foo(?!bar)", r"(?P<key>\w+)=(\d+)", "x", ""]
)
def test_it_finds_what_re_finds(patterns: BacktrackingPatterns, pattern: str) -> None:
    made = patterns.compile(pattern)
    compiled = re.compile(pattern)
    for how in ("search", "match", "fullmatch"):
        ours, theirs = getattr(made, how)(TEXT), getattr(compiled, how)(TEXT)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.groups() == theirs.groups()
            assert ours.span() == theirs.span()
            assert ours.group_dict() == theirs.groupdict()
    found = [(match.span(), match.groups()) for match in made.finditer(TEXT)]
    assert found == [(match.span(), match.groups()) for match in compiled.finditer(TEXT)]


def test_flags_are_those_of_re(patterns: BacktrackingPatterns) -> None:
    assert patterns.compile("ÜNTER", ignore_case=True).search(TEXT)
    assert len(list(patterns.compile("^.", multiline=True).finditer("a\nb"))) == 2
    assert patterns.compile("a.b", dot_all=True).fullmatch("a\nb")


def test_a_search_that_never_ends_is_ended(patterns: BacktrackingPatterns) -> None:
    with Sandbox() as own, BacktrackingPatterns(own, timeout=1) as quick:
        pattern = quick.compile(r"(a+)+$")
        with pytest.raises(PatternLimitExceeded) as caught:
            pattern.search("a" * 100 + "!")
        assert caught.value.limit in ("seconds", "cpu")
        assert pattern.search("aaa")


def test_what_is_no_pattern_is_refused(patterns: BacktrackingPatterns) -> None:
    with pytest.raises(UnsafePattern, match="isn't a regular expression"):
        patterns.compile("(").search("x")
    with pytest.raises(UnsafePattern, match="the limit is 2,000"):
        patterns.compile("x" * 2_001)
    with pytest.raises(InputError):
        patterns.compile(b"x")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        patterns.compile("x").search(b"x")  # type: ignore[arg-type]
    with pytest.raises(PatternLimitExceeded, match="1,000,000"):
        patterns.compile("x").search("x" * 1_000_001)
    with pytest.raises(PatternLimitExceeded, match="10,000 times"):
        patterns.compile("x").finditer("x" * 10_001)
    with Sandbox() as sandbox, pytest.raises(ConfigError, match="timeout"):
        BacktrackingPatterns(sandbox, timeout=6)
