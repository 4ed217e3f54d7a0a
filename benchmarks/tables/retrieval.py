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
        named = [_name(way, result["versions"]) for way in ways]
        rows = [[name, *cell] for name, cell in zip(named, cells, strict=True)]
        lines += markdown(("way", *_FIGURES.values()), rows)
        if one.get("weights") is not None:
            lines += ["", _weighed(one["weights"])]
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


def _weighed(weights: dict[str, Any]) -> str:
    tried = ", ".join(
        f"{figure:.3f} ({weight})" for weight, figure in weights["ndcg_at_10"].items()
    )
    return (
        f"On {weights['queries']:,} other queries of this set the hybrid has, by the weight of the "
        f"meaning, nDCG@10 {tried}; 0.5 is the default."
    )


def _name(way: str, versions: dict[str, str | None]) -> str:
    version = versions.get(way)
    return f"llmspell, {way}" if version is None else f"{way} {version}"
