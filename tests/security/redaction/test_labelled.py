"""Recall and precision on the labelled set, and on gitleaks' cases."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from llmspell.security.redaction import SecretFinding, find_secrets, redact
from tests.security.redaction.gitleaks import contested, other_rules, read
from tests.security.redaction.labelled import Result, judge, negatives, positives


def share(results: dict[str, Result]) -> float:
    wrong = sum(len(result.wrong) for result in results.values())
    return wrong / sum(result.cases for result in results.values())


def test_the_set_covers_many_kinds_and_has_four_hundred_cases() -> None:
    hidden, plain = positives(1), negatives(1)
    assert len(hidden) >= 300 and len(plain) >= 200
    assert len({case.group for case in hidden}) >= 40


def test_a_redactor_that_finds_nothing_or_everything_is_told() -> None:
    missed, false = judge(1, lambda text: [])
    assert share(missed) == 1 and share(false) == 0
    missed, false = judge(1, lambda text: [SecretFinding(0, len(text), "all")])
    assert share(missed) == 0 and share(false) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recall_is_99_percent_and_false_positives_1_percent(seed: int) -> None:
    missed, false = judge(seed)
    assert share(missed) <= 0.01, [case.text for r in missed.values() for case in r.wrong]
    assert share(false) <= 0.01, [case.text for r in false.values() for case in r.wrong]


def test_what_is_redacted_stays_as_it_is_when_redacted_again() -> None:
    for case in positives(1):
        once = redact(case.text)
        assert redact(once) == once


def test_a_value_after_a_quoted_name_and_a_comma_is_still_found() -> None:
    assert redact('("password", "opensesame9")') == '("password", "***")'
    assert redact("curl.set('api_key', 'q8Zr2Lw9Xk4Tn7Vb')") == "curl.set('api_key', '***')"


def test_source_code_that_nobody_labelled_is_left_alone() -> None:
    # Those that are found are names in lists, and passwords of examples.
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    assert len(sources) > 100
    found = [(path.name, one) for path in sources for one in find_secrets(path.read_text("utf-8"))]
    assert len(found) <= 3, found


@pytest.fixture(scope="module")
def gitleaks() -> Path:
    root = os.environ.get("LLMSPELL_GITLEAKS")
    if not root:
        pytest.skip("LLMSPELL_GITLEAKS names no checkout of github.com/gitleaks/gitleaks")
    return Path(root)


def test_gitleaks_true_positives_are_redacted(gitleaks: Path) -> None:
    cases = read(gitleaks)
    assert len(cases.positives) >= 5000 and len(cases.unread) <= 8, cases.unread
    missed = [case for case in cases.positives if not find_secrets(case[1])]
    assert len(missed) <= 0.01 * len(cases.positives), missed


def test_gitleaks_false_positives_are_left_alone(gitleaks: Path) -> None:
    # A case is false for one rule; where another rule of gitleaks matches, gitleaks reports it too.
    rules = other_rules(gitleaks)
    plain = [case for case in read(gitleaks).negatives if not contested(case[1], case[0], rules)]
    assert len(plain) >= 250
    redacted = [case for case in plain if find_secrets(case[1])]
    assert len(redacted) <= 0.01 * len(plain), redacted
