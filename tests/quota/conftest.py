"""Every test that asks for ``make_ledger`` runs on the native ledger and on its pure twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell import _hot
from llmspell.quota import Slot, _native, _pure

LEDGERS = {"native": _native.Ledger, "pure": _pure.Ledger}
CLOCKS: dict[str, Callable[[], int]] = {"native": _hot.now_ns, "pure": _pure.now_ns}
KEY = b"k" * 16

MakeLedger = Callable[..., _native.Ledger]


@pytest.fixture(params=["native", "pure"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_ledger(kind: str, tmp_path: Path) -> MakeLedger:
    def make(capacity: int = 64) -> _native.Ledger:
        return LEDGERS[kind](tmp_path / "ledger", capacity)  # type: ignore[return-value]

    return make


@pytest.fixture
def slot(make_ledger: MakeLedger) -> Slot:
    return make_ledger().slot(KEY)


@pytest.fixture
def now(kind: str) -> int:
    return CLOCKS[kind]()
