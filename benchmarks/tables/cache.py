"""Table of the embedding cache beside LangChain's and GPTCache."""

from __future__ import annotations

from typing import Any

from benchmarks.cache_peers import PEERS
from benchmarks.tables.markdown import markdown

__all__ = ["cache_summary", "cache_table"]


def cache_table(result: dict[str, Any]) -> list[str]:
    """Hits, what they spare, and what one takes."""
    rows = []
    for name, one in result["caches"].items():
        label = PEERS[name].label if name in PEERS else name
        if one is None:
            rows.append((label, "not installed", *[""] * 6))
            continue
        rows.append(
            (
                label,
                f"{one['hit_share']:.1%}",
                f"{one['token_share']:.1%}",
                f"{_spared_seconds(result, one):,.0f}",
                *(_hit(one.get(f"{tier}_us")) for tier in ("memory", "disk")),
                f"{one['seconds']:.1f}",
                f"{one['file_bytes'] / 1e6:.0f}",
            )
        )
    head = (
        *("cache", "hits", "tokens spared", "seconds of the local model spared"),
        *("memory hit, µs, p50 (p99)", "disk hit, µs, p50 (p99)", "the trace, s", "disk, MB"),
    )
    settings = result["settings"]
    notes = [
        "",
        f"Seconds of the trace: median over {settings['plays']} plays, from nothing. Hits: over "
        f"{settings['rounds']} rounds of all caches by turns. Of llmspell's, some come from disk, "
        f"for {settings['memory_mib']} MiB bound its memory; nothing bounds that of the others. "
        "In the plays for seconds, with a model that takes no time, it left out "
        f"{result['caches']['llmspell']['dropped_without_a_model']:,} writes to disk.",
    ]
    return [*markdown(head, rows), *notes]


def cache_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Hits, tokens spared and latencies."""
    ours, peer = result["caches"]["llmspell"], result["caches"]["langchain"]
    what = f"embedding cache on {result['texts']:,} texts of queries and edited documents"
    measured = (
        f"{ours['hit_share']:.1%} hits, {ours['token_share']:.1%} of the tokens spared; a hit "
        f"{ours['memory_us']['p50']:.1f} µs in memory, {ours['disk_us']['p50']:.1f} µs on disk"
    )
    if peer is not None:
        measured += f"; LangChain's on files {peer['disk_us']['p50']:.0f} µs"
    return [(what, measured)]


def _hit(spent: dict[str, float] | None) -> str:
    return "" if spent is None else f"{spent['p50']:.1f} ({spent['p99']:.0f})"


def _spared_seconds(result: dict[str, Any], one: dict[str, Any]) -> float:
    return float((result["texts"] - one["embedded"]) * result["model_ms_per_text"] / 1e3)
