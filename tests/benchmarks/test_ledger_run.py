from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ledger, report
from benchmarks.charges import LEVEL, LOOP, SHARED

PRINTED = """\
#!/bin/sh
echo "charge api_calls                 6.3 ns"
echo "charge a call and a query       1$3.6 ns"
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    binary = tmp_path_factory.mktemp("bin") / "bench_ledger"
    binary.write_text(PRINTED)
    binary.chmod(0o755)
    return ledger.run(threads=(1, 2), processes=(2,), calls=500, rounds=3, binary=binary)


def test_each_way_to_charge_is_timed(measured: dict[str, Any]) -> None:
    spent = measured["python_ns"]
    for what, ways in spent.items():
        shared = {"processes 2"} if what in SHARED else set()
        assert ways.keys() == {"threads 1", "threads 2"} | shared
        assert all(ns > 0 for ns in ways.values())
    assert {LEVEL, LOOP} <= spent.keys()


def test_what_the_program_prints_is_read(measured: dict[str, Any]) -> None:
    assert measured["native_ns"] == {
        "threads 1": {"charge api_calls": 6.3, "charge a call and a query": 11.6},
        "threads 2": {"charge api_calls": 6.3, "charge a call and a query": 12.6},
    }


def test_a_ledger_that_miscounts_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "counted", lambda folder: 1)
    with pytest.raises(RuntimeError, match="20 units were charged, the ledger counts 1"):
        ledger.run(threads=(1,), processes=(), calls=10, rounds=2)


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    written = report.render([json.loads(json.dumps(measured))], tmp_path)
    page = (tmp_path / "index.md").read_text()
    for ways in measured["python_ns"].values():
        for ns in ways.values():
            assert f"{ns:,.1f}" in page
    assert "| C++: charge a call and a query | 11.6 | 12.6 | — |" in page
    assert [path.name for path in written[1:]] == ["ledger-light.svg", "ledger-dark.svg"]
    assert "6.3 ns in C++" in "\n".join(report.summary([measured]))
