from __future__ import annotations

import pytest

from llmspell.rag.local import LocalEmbedder


@pytest.fixture(scope="session")
def embedder() -> LocalEmbedder:
    """The real model, loaded once."""
    return LocalEmbedder()
