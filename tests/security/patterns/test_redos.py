"""No pattern explodes, of a table of our own and of a published list."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from llmspell.errors import UnsafePattern
from llmspell.security import LinearPattern
from tests.security.attack_lists import redos_list
from tests.security.patterns.patterns_of_users import ATTACKS, LEGITIMATE
from tests.security.patterns.redos_list import NAME

# In a process of its own, for a search that explodes can't be stopped from within. The bound is
# many times what all takes: on one of these `re` is at work for years.
RUN = """
from llmspell.security import LinearPattern
from tests.security.patterns.patterns_of_users import ATTACKS
for pattern, unit, end in ATTACKS:
    text = unit * (100_000 // len(unit)) + end
    LinearPattern(pattern).search(text)
"""


def run_apart(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_patterns_that_explode_elsewhere_are_searched_for_in_a_hundred_thousand_characters() -> (
    None
):
    run_apart("-c", RUN)


@pytest.mark.parametrize("pattern, unit, end", ATTACKS)
def test_what_is_searched_for_is_found_right(pattern: str, unit: str, end: str) -> None:
    # Short enough for backtracking to come to an end.
    text = unit * 8 + end
    expected = re.search(pattern.replace(r"\z", r"\Z"), text, re.ASCII)
    found = LinearPattern(pattern).search(text)
    assert (found and found.span()) == (expected and expected.span())


def test_legitimate_patterns_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    refused = []
    for pattern in LEGITIMATE:
        try:
            LinearPattern(pattern)
        except UnsafePattern as error:
            refused.append((pattern, error.construct))
    with capsys.disabled():
        print(f"\n{len(refused)} of {len(LEGITIMATE)} legitimate patterns refused: {refused}")
    assert [construct for _, construct in refused] == [
        *("negative look-behind", "back-reference", "look-ahead")
    ]


def test_published_pairs_are_searched_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    redos_list(NAME)  # skips
    output = run_apart("-m", "tests.security.patterns")
    with capsys.disabled():
        print(f"\n{output}")
    pairs = int(output.split()[0])
    assert pairs >= 673
    searched = next(line for line in output.splitlines() if line.split()[0] == "searched")
    assert int(searched.split()[1]) >= 0.85 * pairs
