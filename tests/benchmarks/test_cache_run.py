from __future__ import annotations

from benchmarks import cache
from benchmarks.tables.cache import cache_summary, cache_table


def test_cache_result_counts_every_text_of_the_trace() -> None:
    result = cache.run(
        queries=300,
        different=50,
        documents=1,
        edits=2,
        memory_mib=1,
        plays=1,
        rounds=1,
        sampled=2,
        seed=1,
    )
    ours = result["caches"]["llmspell"]
    assert result["texts"] == 300 + 12 + 2 * 12
    counted = sum(ours[name] for name in ("memory_hits", "disk_hits", "shared", "misses"))
    assert counted == result["texts"]
    # Each different text once: the queries that were drawn, and all passages that there were.
    assert ours["misses"] == ours["embedded"] <= 50 + 12 + 2
    assert ours["hit_share"] == round(1 - ours["embedded"] / result["texts"], 4)
    for one in result["caches"].values():
        assert one is None or one["embedded"] == ours["embedded"]
    assert len(cache_table(result)) == 2 + 4 + 2
    ((what, measured),) = cache_summary(result)
    assert "336 texts" in what
    assert "hits" in measured
