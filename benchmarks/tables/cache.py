"""Table of the embedding cache beside LangChain's."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown

__all__ = ["cache_summary", "cache_table"]


def cache_table(result: dict[str, Any]) -> list[str]:
    """Hits, what they spare, and what one takes."""
    rows = []
    for name, label in (("llmspell", "llmspell"), ("langchain", "LangChain, LocalFileStore")):
        one = result[name]
        if one is None:
            rows.append((label, "not installed", *[""] * 6))
            continue
        memory = one.get("memory_us")
        rows.append(
            (
                label,
                f"{one['hit_share']:.1%}",
                f"{one['token_share']:.1%}",
                f"{_spared_seconds(result, one):,.0f}",
                "" if memory is None else f"{memory['p50']:.1f} ({memory['p99']:.0f})",
                f"{one['disk_us']['p50']:.1f} ({one['disk_us']['p99']:.0f})",
                f"{one['seconds']:.1f}",
                f"{one['file_bytes'] / 1e6:.0f}",
            )
        )
    head = (
        *("cache", "hits", "tokens spared", "seconds of the local model spared"),
        *("memory hit, µs, p50 (p99)", "disk hit, µs, p50 (p99)", "the trace, s", "disk, MB"),
    )
    return markdown(head, rows)


def cache_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Hits, tokens spared and latencies."""
    ours, peer = result["llmspell"], result["langchain"]
    what = f"embedding cache on {result['texts']:,} texts of queries and edited documents"
    measured = (
        f"{ours['hit_share']:.1%} hits, {ours['token_share']:.1%} of the tokens spared; a hit "
        f"{ours['memory_us']['p50']:.1f} µs in memory, {ours['disk_us']['p50']:.1f} µs on disk"
    )
    if peer is not None:
        measured += f"; LangChain's on files {peer['disk_us']['p50']:.0f} µs"
    return [(what, measured)]


def _spared_seconds(result: dict[str, Any], one: dict[str, Any]) -> float:
    return float((result["texts"] - one["embedded"]) * result["model_ms_per_text"] / 1e3)
