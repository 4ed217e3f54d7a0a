"""What is replaced by what, where, and what a caller can change."""

from __future__ import annotations

import random
import re
import string
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, UnsafePattern
from llmspell.security import Redactor, SecretFinding, find_secrets, redact
from llmspell.security.redaction import KINDS
from llmspell.security.redaction.bounds import MAX_STEPS, MAX_WIDTH, bounds
from llmspell.security.redaction.checks import has_crc
from llmspell.security.redaction.redactor import _RULES
from tests.security.redaction.labelled import positives
from tests.security.redaction.random_text import text_of

KEY = text_of("[a-zA-Z0-9]{48}", random.Random(7))


def test_the_three_patterns_of_the_guide_give_its_replacements() -> None:
    assert redact(f"using sk-{KEY} now") == "using sk-*** now"
    assert redact(f"Authorization: Bearer {KEY}") == "Authorization: Bearer ***"
    assert redact("password='opensesame9'") == "password='***'"


def test_a_finding_says_where_and_of_what_kind_and_holds_no_value() -> None:
    text = f"a sk-{KEY} b"
    assert find_secrets(text) == [SecretFinding(5, 53, "openai_key")]
    assert KEY not in repr(find_secrets(text))


def test_only_the_password_of_an_address_is_replaced() -> None:
    text = "postgres://app:" + KEY[:12] + "@db.internal:5432/app?sslmode=require"
    assert redact(text) == "postgres://app:***@db.internal:5432/app?sslmode=require"


def test_only_the_values_of_cookies_and_not_their_attributes_are_replaced() -> None:
    assert (
        redact(f"Set-Cookie: sid={KEY}; Path=/; HttpOnly")
        == "Set-Cookie: sid=***; Path=/; HttpOnly"
    )


def test_kinds_that_are_kept_stay_and_the_others_go() -> None:
    text = f"sk-{KEY} and AKIA" + text_of("[A-Z2-7]{16}", random.Random(3))
    kept = Redactor(keep={"openai_key"}).redact(text)
    assert kept == f"sk-{KEY} and AKIA***"
    with pytest.raises(ConfigError, match="no kinds"):
        Redactor(keep={"openai"})
    assert "openai_key" in KINDS


def test_own_patterns_are_found_and_their_named_group_is_the_secret() -> None:
    redactor = Redactor(patterns={"badge": r"badge-(?P<number>[0-9]{6})"}, mask="[gone]")
    assert redactor.redact("badge-123456 of ada") == "badge-[gone] of ada"
    assert redactor.find("badge-123456")[0].kind == "badge"
    with pytest.raises(ConfigError, match="can't name a kind"):
        Redactor(patterns={"Badge!": "x"})


def test_a_secret_with_half_of_a_surrogate_pair_is_replaced() -> None:
    assert redact("password = hunter2hun\udc9ater2") == "password = ***"


@pytest.mark.parametrize(
    "pattern",
    ["a+", "(a{1,50}){1,50}b", "(?:a|a){1,40}b", r"(a)\1", "[a-z]{1,900}[a-z]{1,900}!",
     "(", "a{0,3}", r"\b", "(?=a)", r"a{0,3}\b", "a{99999999999}", "(?u)a",
     ".{1,30000}"],
)  # fmt: skip
def test_a_pattern_without_a_bound_is_refused(pattern: str) -> None:
    with pytest.raises(UnsafePattern):
        Redactor(patterns={"own": pattern})


@pytest.mark.parametrize("depth", [40, 2_000])
def test_groups_in_groups_take_no_time_that_doubles_with_each(depth: int) -> None:
    pattern = "(" * depth + "a" + ")" * depth
    if depth == 40:
        assert Redactor(patterns={"own": pattern}).redact("xay") == "x***y"
    else:
        with pytest.raises(UnsafePattern, match="nested"):
            Redactor(patterns={"own": pattern})


def test_every_rule_has_a_bound_and_opens_with_a_keyword() -> None:
    for rule in _RULES:
        found = bounds(rule.opening + rule.rest, rule.flags | re.ASCII)
        assert found.width <= MAX_WIDTH and found.steps <= MAX_STEPS
        assert rule.opening_width <= 200
    longest = max(rule.width for rule in _RULES)
    assert bounds("[a-z]{1,40}+x{3}(?=yz)").width == 45 < longest


# Openings within the values of others, and values that end where a match has to.
OVERLAPPING = [
    "cookie:", "a=a;", "b=example1;", "sid=q8Zr2Lw9Xk4Tn7Vb", "; ", "\n", "x" * 40, "a=a;" * 1100,
    "key=", "passkey", "token:", "primary_", "aB3dE5fG7hJ9", "...", " ", '"', ",", "&",
]  # fmt: skip


@given(st.lists(st.sampled_from(OVERLAPPING), max_size=40))
@settings(deadline=None)
def test_what_is_ruled_out_for_an_earlier_match_would_be_by_the_check_too(parts: list[str]) -> None:
    text = "".join(parts)
    for rule in _RULES:
        if rule.repeats is not None:
            assert list(rule.spans(text)) == list(replace(rule, repeats=None).spans(text))


def test_a_cookie_behind_many_that_are_none_is_found_beyond_the_width_of_a_match() -> None:
    text = "cookie:" + "a=a;" * 1500 + "cookie:" + "b=b;" * 1020 + f"sid={KEY}"
    assert KEY not in redact(text)


def test_a_word_on_the_line_before_is_no_part_of_a_name() -> None:
    assert redact("csrf\ntoken=q8Zr2Lw9Xk4Tn7Vb") == "csrf\ntoken=***"
    assert redact("csrf_token=q8Zr2Lw9Xk4Tn7Vb") == "csrf_token=q8Zr2Lw9Xk4Tn7Vb"


def test_a_match_opens_with_one_of_its_rules_keywords() -> None:
    for case in positives(1):
        for rule in _RULES:
            for match in rule.pattern.finditer(case.text):
                opening = rule.opens.match(case.text, match.start())
                assert opening is not None
                # A keyword may end in what a look-ahead sees.
                seen = case.text[match.start() : opening.end() + 2].lower()
                assert any(word in seen for word in rule.keywords), (rule.kind, seen)


def test_a_checksum_that_holds_is_proof_even_of_a_dull_token() -> None:
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    body = "a1" * 15
    number, check = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        check = digits[rest] + check
    token = body + check.rjust(6, "0")
    assert has_crc(token) and not has_crc(token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert redact(f"ghp_{token}") == "ghp_***"


@given(st.text(max_size=300))
def test_any_text_is_taken_and_findings_are_apart_and_in_order(text: str) -> None:
    position = -1
    for found in find_secrets(text):
        assert position < found.start < found.end <= len(text)
        position = found.end
