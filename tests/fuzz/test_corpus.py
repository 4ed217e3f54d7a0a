"""Every input of the corpus, through what reads it: a named error, or what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.replay import CORPUS
from tests.fuzz.targets import TARGETS, target

INPUTS = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=[f"{p.parent.name}-{p.name}" for p in INPUTS])
def test_input_of_the_corpus_shows_no_fault(path: Path) -> None:
    target(path.parent.name)(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_target_has_a_corpus(name: str) -> None:
    assert len([*(CORPUS / name).iterdir()]) >= 20
