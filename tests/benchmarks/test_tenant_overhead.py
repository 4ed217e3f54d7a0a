from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, tenant


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    return tenant.run(
        folder, tenants=(1, 7), threads=(1, 3), ef_search=(20, 50), rounds=2, limit=300
    )


def test_each_case_states_both_sides_and_the_overhead(measured: dict[str, Any]) -> None:
    cases = [
        (case["searched"], case["open"], case["vectors"], case["ef_search"], case["threads"])
        for case in measured["searches"]
    ]
    one = [(ef, threads) for ef in (20, 50) for threads in (1, 3)]
    assert cases == [
        *(("one tenant", 1, 300, *how) for how in one),
        *(("one tenant", 8, 300, *how) for how in one),
        *(("all others in turn", 8, 43, 20, threads) for threads in (1, 3)),
    ]
    for case in measured["searches"]:
        assert case["index_us"]["p50"] > 0
        difference = case["tenant_us"]["p50"] - case["index_us"]["p50"]
        assert abs(case["overhead_us"]["p50"] - difference) < 0.02
    assert measured["dataset"]["vectors"] == 300


def test_where_it_goes_is_stated_on_one_thread_and_rates_on_several(
    measured: dict[str, Any],
) -> None:
    for case in measured["searches"]:
        if case["threads"] == 1:
            assert case["in_place_us"].keys() == {"search", "around it", "fetch", "read"}
            assert case["in_place_us"]["fetch"] > 0
            assert case["qps"] == {}
        else:
            assert case["in_place_us"] is None
            assert case["qps"]["index"] > 0
    # Each less an empty step, which takes longer when the system runs something else meanwhile.
    assert list(measured["pieces_us"]) == [
        *("arrays to lists", "fetch the records", "make the hits", "read ids and scores"),
        "read ids, scores, texts, metadata",
    ]


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    written = report.render([json.loads(json.dumps(measured))], tmp_path)
    page = (tmp_path / "index.md").read_text()
    for case in measured["searches"]:
        assert f"{case['tenant_us']['p99']:.1f}" in page
        for qps in case["qps"].values():
            assert f"{qps:,}" in page
    assert "| 7 tenants of 43 in turn, ef_search 20, 3 threads, p50 |" in page
    assert "tenant-clusters-24-300-none-dark.svg" in [path.name for path in written]
    short = "\n".join(report.summary([measured]))
    assert short.count("`Tenant.search` beyond `Index.search`") == 3


def test_overhead_is_held_to_a_share_or_to_microseconds(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    case = measured["searches"][0]
    for us, overhead, percent, verdict in (
        (10.0, 1.4, 14.0, "yes"),
        (10.0, 1.6, 16.0, "no"),
        (100.0, 2.9, 2.9, "yes"),
        (100.0, 3.1, 3.1, "no"),
    ):
        held = {
            **case,
            "index_us": {**case["index_us"], "p50": us},
            "overhead_us": {**case["overhead_us"], "p50": overhead},
            "overhead_percent": {**case["overhead_percent"], "p50": percent},
        }
        report.render([{**measured, "searches": [held]}], tmp_path)
        page = (tmp_path / "index.md").read_text()
        assert f"| {overhead} | {percent} % | {verdict} |" in page


def test_command_prints_and_writes_the_overhead(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "tenant.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "tenant", "--data", str(folder)),
            *("--limit", "100", "--rounds", "1", "--ef-search", "20", "--out", str(out)),
            *("--tenants", "1", "--threads", "1,2"),
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "one tenant, 1 open, 100 vectors each, ef_search 20, 2 threads" in done.stdout
    assert json.loads(out.read_text())["host"]["simd"]
