"""What holds for all tests."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

from llmspell.security import SecurityLevel
from llmspell.security.host import probe
from tests.clock import Clock

# On a busy machine a deadline is a test that fails by itself, and a change is judged by the same
# examples as the one before it. Others are drawn by `pytest --hypothesis-profile=explore`.
settings.register_profile("explore", deadline=None, derandomize=False)
settings.register_profile("llmspell", deadline=None, derandomize=True)
settings.load_profile("llmspell")


def pytest_collection_finish() -> None:
    """Leave what collection made out of later collections of garbage.

    Hypothesis and many tests here collect, which over all modules and tests takes half a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def confines() -> None:
    """Skip where this host can't confine tools."""
    if missing := probe().missing_for(SecurityLevel.SAFE):
        pytest.skip(f"this host can't confine tools: {'; '.join(missing)}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes when a test says so."""
    return Clock(monkeypatch)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``-n auto`` makes: one more than processors, for many tests wait."""
    return (os.cpu_count() or 1) + 1
