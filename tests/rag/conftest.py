from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from llmspell.rag.embedding.local import LocalEmbedder


@pytest.fixture(scope="session")
def embedder() -> LocalEmbedder:
    """The real model, loaded once."""
    return LocalEmbedder()


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Runs code in a fresh interpreter and gives what it printed."""

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
