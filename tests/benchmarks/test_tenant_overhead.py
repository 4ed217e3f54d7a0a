from __future__ import annotations

from pathlib import Path

from benchmarks import tenant


def test_tenant_overhead_is_stated_with_where_it_goes(folder: Path) -> None:
    result = tenant.run(folder, ef_search=(20, 50), rounds=2, limit=300)
    assert [search["ef_search"] for search in result["searches"]] == [20, 50]
    for search in result["searches"]:
        assert search["index_us"]["p50"] > 0
        difference = search["tenant_us"]["p50"] - search["index_us"]["p50"]
        assert abs(search["overhead_us"]["p50"] - difference) < 0.02
        assert search["in_place_us"].keys() == {"search", "fetch", "rest"}
        assert search["in_place_us"]["fetch"] > 0
    assert result["pieces_us"]["fetch the records"] > 0
    assert "charge the quota" in result["pieces_us"]
    assert result["dataset"]["vectors"] == 300
