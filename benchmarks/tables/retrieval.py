"""Tables of how well is found what is relevant."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import best_in_bold, markdown, turned

__all__ = ["retrieval_summary", "retrieval_table"]

_FIGURES = {"ndcg_at_10": "nDCG@10", "recall_at_10": "recall@10", "recall_at_50": "recall@50"}


def retrieval_table(result: dict[str, Any]) -> list[str]:
    """A table for each set, the best of each column in bold."""
    lines: list[str] = []
    for one in result["sets"]:
        lines += ["", f"**{one['name']}**: {one['about']}; {one['texts']:,} texts, ", ""]
        lines[-2] = f"{lines[-2]}{one['queries']:,} queries."
        ways = one["ways"]
        columns = [[row[figure] for row in ways.values()] for figure in _FIGURES]
        cells = turned(best_in_bold(columns, ".3f"))
        spent = [f"{row['p50_ms']:.2f}" for row in ways.values()]
        named = [_name(way, result["versions"]) for way in ways]
        rows = [[name, *cell, ms] for name, cell, ms in zip(named, cells, spent, strict=True)]
        lines += markdown(("way", *_FIGURES.values(), "p50, ms"), rows)
        index = one["lexical_index"]
        lines += [
            "",
            f"The lexical index takes in {index['build_texts_per_s']:,} texts a second, and "
            f"{index['bytes']:,} bytes; the first search behind a write took "
            f"{index['behind_a_write_ms']:.1f} ms.",
        ]
    return lines[1:]


def retrieval_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """A line for each set."""
    return [
        (
            f"nDCG@10 by meaning, by words, hybrid: {one['name']}, {one['texts']:,} texts",
            ", ".join(
                f"{one['ways'][way]['ndcg_at_10']:.3f}" for way in ("dense", "lexical", "hybrid")
            ),
        )
        for one in result["sets"]
    ]


def _name(way: str, versions: dict[str, str | None]) -> str:
    version = versions.get(way)
    return f"llmspell, {way}" if version is None else f"{way} {version}"
