"""Which ledger the tests run on."""

from __future__ import annotations

import pytest

from llmspell.quota import Ledger, _pure

#: For what only the native ledger can do: its file outlives a process, and others share it.
shares_ledger = pytest.mark.skipif(
    Ledger is _pure.Ledger,  # type: ignore[comparison-overlap]
    reason="the ledger in pure Python lies in no file, and no other process sees it",
)
