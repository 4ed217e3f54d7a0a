from __future__ import annotations

from benchmarks import cache
from benchmarks.tables.cache import cache_summary, cache_table


def test_cache_result_counts_every_text_of_the_trace() -> None:
    result = cache.run(
        queries=300,
        different=50,
        documents=3,
        edits=2,
        memory_mib=1,
        rounds=1,
        sampled=2,
        seed=1,
    )
    ours = result["llmspell"]
    assert result["texts"] == 300 + 3 * 12 + 3 * 2 * 12
    counted = sum(ours[name] for name in ("memory_hits", "disk_hits", "shared", "misses"))
    assert counted == result["texts"]
    # Each different text once: the queries that were drawn, and all passages that there were.
    assert ours["misses"] == ours["embedded"] <= 50 + 3 * (12 + 2)
    assert ours["hit_share"] == round(1 - ours["embedded"] / result["texts"], 4)
    if result["langchain"] is not None:
        assert result["langchain"]["embedded"] == ours["embedded"]
    assert len(cache_table(result)) == 4
    ((what, measured),) = cache_summary(result)
    assert "408 texts" in what
    assert "hits" in measured
