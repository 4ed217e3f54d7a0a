from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, tenants


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    return tenants.run(tenants=50, idle=20, data=folder, cold=(100, 200), loaded=12, searches=120)


def test_budget_was_kept_and_met(measured: dict[str, Any]) -> None:
    load = measured["load"]
    assert load["budget_rooms"] == 2
    assert 0 < load["most_descriptors"] <= load["budget_descriptors"]
    assert 0 < load["open_percent"] < 100
    assert measured["used"]["open_descriptors"] <= measured["used"]["budget_descriptors"]


def test_handles_hold_no_descriptor_and_unused_tenants_no_room_on_disk(
    measured: dict[str, Any],
) -> None:
    assert measured["many"]["handle_descriptors"] == 0
    assert measured["many"]["create_per_s"] > 0
    assert [cold["dataset"]["vectors"] for cold in measured["cold"]] == [100, 200]


def test_each_number_of_the_table_is_the_result_s(measured: dict[str, Any], tmp_path: Path) -> None:
    drawn = {path.name for path in report.render([json.loads(json.dumps(measured))], tmp_path)}
    assert drawn == {"index.md", "tenants-light.svg", "tenants-dark.svg"}
    page = (tmp_path / "index.md").read_text()
    assert f"{measured['many']['handle_bytes']:,}" in page
    assert f"{measured['used']['bytes']:,}" in page
    assert f"{measured['load']['searches_per_s']:,}" in page
    for cold in measured["cold"]:
        assert f"{cold['cached_ms']['p50']:,.1f}" in page
    assert f"{measured['many']['open_ms']:.0f} ms" in "\n".join(report.summary([measured]))


def test_without_cold_searches_there_is_no_picture(
    measured: dict[str, Any], tmp_path: Path
) -> None:
    drawn = report.render([{**measured, "cold": []}], tmp_path)
    assert [path.name for path in drawn] == ["index.md"]
    assert "![" not in drawn[0].read_text()
