from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import tenant


def test_tenant_overhead_is_stated_with_where_it_goes(folder: Path) -> None:
    result = tenant.run(folder, ef_search=(20, 50), rounds=2, limit=300)
    assert [search["ef_search"] for search in result["searches"]] == [20, 50]
    for search in result["searches"]:
        assert search["index_us"]["p50"] > 0
        difference = search["tenant_us"]["p50"] - search["index_us"]["p50"]
        assert abs(search["overhead_us"]["p50"] - difference) < 0.02
        assert search["in_place_us"].keys() == {"search", "around it", "fetch", "read"}
        assert search["in_place_us"]["fetch"] > 0
    assert result["pieces_us"]["fetch the records"] > 0
    assert "charge a call and a query" in result["pieces_us"]
    assert result["dataset"]["vectors"] == 300


def test_command_prints_and_writes_the_overhead(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "tenant.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "tenant", "--data", str(folder)),
            *("--limit", "100", "--rounds", "1", "--ef-search", "20", "--out", str(out)),
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "charge a call and a query" in done.stdout
    assert json.loads(out.read_text())["host"]["simd"]
