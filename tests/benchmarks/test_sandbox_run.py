from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, sandbox


@pytest.fixture(scope="module")
def measured(confines: None) -> dict[str, Any]:
    return sandbox.run(calls=3, rounds=2, registered=5)


def test_each_way_to_run_a_tool_is_timed(measured: dict[str, Any]) -> None:
    assert {*sandbox.OURS, "fresh interpreter, no sandbox"} <= measured["ms"].keys()
    for spread in (*measured["ms"].values(), measured["registering_ms"]):
        assert 0 < spread["p50"] <= spread["p99"]


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    report.render([json.loads(json.dumps(measured))], tmp_path)
    page = (tmp_path / "index.md").read_text()
    for spread in measured["ms"].values():
        assert f"| {spread['p50']:.3f} | {spread['p99']:.3f} |" in page
    assert "where it is forked" in "\n".join(report.summary([measured]))
