from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, InputError, PatternLimitExceeded, UnsafePattern
from llmspell.security import LinearPattern, PatternLimits

LETTERS = "abAk1_ \n-éßσς日😀\u0301"


def atoms() -> st.SearchStrategy[str]:
    literal = st.sampled_from([re.escape(character) for character in LETTERS])
    # \s is without \v in RE2, and no text here has one.
    classes = st.sampled_from([*(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S"), ".", "[a-k]", "[^a日]"])
    return literal | classes | st.sampled_from(["^", r"\A", r"\b"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeat = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "+?", "??", "{0,2}?"])
    return (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})")
        | inner.map(lambda part: f"({part})")
        # What is repeated isn't empty: engines disagree on the groups of an empty last round.
        | st.tuples(st.sampled_from([*"ab日😀", r"\w", "[^a]", "."]), repeat).map("".join)
    )


PATTERNS = st.recursive(atoms(), grown, max_leaves=6)
TEXTS = st.text(LETTERS, max_size=24)


@settings(max_examples=400)
@given(PATTERNS, TEXTS)
def test_first_matches_are_those_of_re_in_characters(pattern: str, text: str) -> None:
    ours, theirs = LinearPattern(pattern), re.compile(pattern, re.ASCII)
    for found, expected in (
        (ours.search(text), theirs.search(text)),
        (ours.match(text), theirs.match(text)),
        (ours.fullmatch(text), theirs.fullmatch(text)),
    ):
        assert (found is None) == (expected is None)
        if found and expected:
            groups = range(theirs.groups + 1)
            assert found.spans == tuple(expected.span(group) for group in groups)
            assert found.groups() == expected.groups()


@settings(max_examples=300)
@given(PATTERNS, TEXTS)
def test_all_matches_are_those_of_re_where_none_is_empty(pattern: str, text: str) -> None:
    expected = [match.span() for match in re.finditer(pattern, text, re.ASCII)]
    if all(start < end for start, end in expected):
        ours = LinearPattern(pattern)
        assert [match.span() for match in ours.finditer(text)] == expected
        assert ours.sub("\\1é", text) == re.sub(pattern, lambda _: "\\1é", text, flags=re.ASCII)


@given(st.text("aKkſé\u212a😀", max_size=12))
def test_case_is_folded_as_re_folds_it(text: str) -> None:
    for pattern in ("k+", "É", "s|a"):
        found = LinearPattern(pattern, ignore_case=True).search(text)
        expected = re.search(pattern, text, re.IGNORECASE)
        assert (found and found.span()) == (expected and expected.span())


def test_what_differs_from_re_differs_as_documented() -> None:
    assert re.search("a$", "a\n") and not LinearPattern("a$").search("a\n")
    assert re.search(r"\s", "\v", re.ASCII) and not LinearPattern(r"\s").search("\v")
    assert re.search(r"\w", "é") and not LinearPattern(r"\w").search("é")
    assert LinearPattern(r"\pL\z").search("é")
    assert [m.span() for m in re.finditer("|a", "a")] == [(0, 0), (0, 1), (1, 1)]
    assert [m.span() for m in LinearPattern("|a").finditer("a")] == [(0, 0), (1, 1)]
    # A round that matches nothing is no round of RE2.
    assert (
        re.search("(a?)*b", "ab")[1] == "" and LinearPattern("(a?)*b").search("ab").group(1) == "a"
    )  # type: ignore[index,union-attr]


def test_flags_hold_for_the_whole_pattern() -> None:
    pattern = LinearPattern("^b.c$", ignore_case=True, multiline=True, dot_all=True)
    assert pattern.search("a\nB\nC\nd").span() == (2, 5)  # type: ignore[union-attr]
    assert not LinearPattern("^b.c$").search("a\nB\nC\nd")


def test_named_groups_and_groups_that_took_no_part() -> None:
    match = LinearPattern("(?P<x>é)(b)?").search("aéc")
    assert match and match.group("x") == "é" and match.span("x") == (1, 2)
    assert match.groups() == ("é", None) and match.span(2) == (-1, -1)
    assert match.group_dict() == {"x": "é"} and (match.start(), match.end()) == (1, 2)
    for group in (3, -1, "y"):
        with pytest.raises(IndexError, match="no group"):
            match.span(group)
    assert LinearPattern("(?P<x>a)(b)").group_index == {"x": 1}


@pytest.mark.parametrize(
    "pattern, construct, position",
    [
        (r"(a)\1", "back-reference", 3),
        (r"(?P<n>a)(?P=n)", "back-reference", 8),
        (r"a(?=b)", "look-ahead", 1),
        (r"a(?!b)", "negative look-ahead", 1),
        (r"é(?<=b)", "look-behind", 1),
        (r"(?<!b)", "negative look-behind", 0),
        (r"a++", "possessive repetition", 2),
        (r"[+]{2}+", "possessive repetition", 6),
        (r"(?>a)", "atomic group", 0),
        (r"(a)(?(1)b|c)", "conditional", 3),
        (r"(?#a)", "comment", 0),
        (r"(?ix)a", "flag 'x'", 0),
        (r"a\Z", "end of text", 1),
        (r"\u00e9", "character escape", 0),
        (r"[a\N{DIGIT ONE}]", "named character", 2),
        (r"\C", "single byte", 0),
        (r"a\Bb", "no word border", 1),
        (r"a\X", "grapheme", 1),
        (r"(?R)", "recursion", 0),
        (r"a{1001}", "large count", 1),
        (r"ab**", "syntax", 2),
        (r"(", "syntax", 0),
        ("a\ud800", "surrogate", 1),
    ],
)
def test_a_refusal_names_the_construct_and_its_place(
    pattern: str, construct: str, position: int
) -> None:
    with pytest.raises(UnsafePattern) as refused:
        LinearPattern(pattern, ignore_case=True)
    assert (refused.value.construct, refused.value.position) == (construct, position)
    assert construct == "surrogate" or f"character {position}" in str(refused.value)


@pytest.mark.parametrize(
    "pattern",
    [r"\Qa++(?=\E", "[(?=]++?"[:6], "[]++]", "[^]++]", r"\(?=", r"[[:alpha:]++]", r"a+?b"],
)
def test_what_only_looks_like_a_construct_is_taken(pattern: str) -> None:
    LinearPattern(pattern)


def test_patterns_that_are_too_large_are_refused() -> None:
    for pattern in (
        "a" * 2001,
        r"(?:\pL{1,400})+",
        "(?:(?:a?){900})" * 100,
        "(" * 1500 + ")" * 500,
    ):
        with pytest.raises(UnsafePattern):
            LinearPattern(pattern)
    LinearPattern("(?:a?){900}", limits=PatternLimits(memory_bytes=1 << 22))


def test_texts_beyond_a_limit_are_refused() -> None:
    limits = PatternLimits(text_characters=10, steps=1000)
    pattern = LinearPattern("é+", limits=limits)
    assert pattern.search("é" * 10)
    with pytest.raises(PatternLimitExceeded, match="10") as refused:
        pattern.search("a" * 11)
    assert refused.value.limit == "text_characters"
    with pytest.raises(PatternLimitExceeded) as refused:
        LinearPattern("(?:a?){200}", limits=limits).match("a" * 10)
    assert refused.value.limit == "steps"
    with pytest.raises(PatternLimitExceeded) as refused:
        pattern.sub("xxx", "éaéaéaé")
    assert refused.value.limit == "text_characters"
    for text in ("a\ud800", b"a"):
        with pytest.raises(InputError):
            pattern.search(text)  # type: ignore[arg-type]


def test_finding_all_matches_ends_where_each_searches_the_rest() -> None:
    # Each match reads on to the end of the text for a b: a million times a million characters.
    limits = PatternLimits(scan_seconds=0.01)
    with pytest.raises(PatternLimitExceeded) as refused:
        LinearPattern("a.*b|a", limits=limits).sub("", "a" * 1_000_000)
    assert refused.value.limit == "scan_seconds"


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "1"])
def test_limits_are_positive_integers(value: object) -> None:
    with pytest.raises(ConfigError, match="steps"):
        PatternLimits(steps=value)  # type: ignore[arg-type]


def test_replacements_are_taken_as_they_stand() -> None:
    pattern = LinearPattern("(b)")
    assert pattern.sub(r"\1é\n", "abc") == r"a\1é\nc"
    assert pattern.sub(lambda match: f"<{match.group(1)}>", "abcb") == "a<b>c<b>"


def test_a_pattern_is_shared_between_threads() -> None:
    pattern, wrong = LinearPattern(r"(\d+)-(é+)"), []

    def work(number: int) -> None:
        text = "x" * number + f"{number}-éé"
        for _ in range(200):
            match = pattern.search(text)
            if match is None or match.groups() != (str(number), "éé"):
                wrong.append(match)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_sub_returns_keeps_to_the_limit_with_what_follows_the_last_match() -> None:
    pattern = LinearPattern("^a", limits=PatternLimits(text_characters=100))
    assert len(pattern.sub("b" * 10, "a" + "c" * 90)) == 100
    with pytest.raises(PatternLimitExceeded):
        pattern.sub("b" * 11, "a" + "c" * 90)
    assert pattern.sub("", "a" + "c" * 99) == "c" * 99


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\x{2028}", "\u2028"), (r"\x{10000}+", "\U00010000" * 2), (r"[\x{2029}]", "\u2029"),
        (r"\p{Greek}+", "αβ"), (r"\P{L}+", "12"), (r"\p{^L}", "1"),
    ],
)  # fmt: skip
def test_braces_of_an_escape_count_nothing(pattern: str, text: str) -> None:
    found = LinearPattern(pattern).fullmatch(text)
    assert found is not None
