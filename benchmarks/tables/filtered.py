"""Tables of ``filter``: speed at each recall under each set of allowed ids."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import NONE, best_in_bold, label, markdown, size

__all__ = ["filter_summary", "filter_table"]

_SUMMARY_CASES = (("random 10 %", "0.99"), ("random 1 %", "0.999"))


def filter_table(result: dict[str, Any]) -> list[str]:
    """One table a recall: a row for each case, a column for each peer."""
    peers = result["peers"]
    targets = list(peers[0]["cases"]["unfiltered"]["at_recall"])
    head = ("allowed", *(label(peer) for peer in peers))
    lines = [
        "Queries a second under a set of allowed ids, one thread; the fastest in bold. Correlated:",
        "a query's set lies around the anchor nearest to it; anti-correlated: around the farthest.",
    ]
    for target in targets:
        cases = list(peers[0]["cases"])
        speeds = [[_speed(peer, case, target) for peer in peers] for case in cases]
        rows = [(case, *row) for case, row in zip(cases, best_in_bold(speeds), strict=True)]
        lines += ["", f"At recall {target}:", "", *markdown(head, rows)]
    return [*lines, *_short(result, head)]


def _speed(peer: dict[str, Any], case: str, target: str) -> float | None:
    reading = peer["cases"][case]["at_recall"][target]
    return None if reading is None else float(reading["qps"])


def _short(result: dict[str, Any], head: tuple[str, ...]) -> list[str]:
    """Queries that got fewer than min(k, allowed), at the setting where they were fewest."""
    rows = []
    for case in result["peers"][0]["cases"]:
        counts = [peer["cases"][case].get("short") for peer in result["peers"]]
        if any(counts):
            rows.append((case, *(NONE if count is None else str(count) for count in counts)))
    if not rows:
        return ["", "Every query got as many as there are allowed, at most k."]
    asked = result["settings"]["filtered_queries"]
    return [
        "",
        f"Of {asked} queries, those that got fewer than min(k, allowed) at any setting:",
        "",
        *markdown(head, rows),
    ]


def filter_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The fastest of ours at the selectivities that people ask about."""
    lines = []
    ours = [peer for peer in result["peers"] if peer["name"] == "llmspell"]
    for case, target in _SUMMARY_CASES:
        readings = [peer["cases"].get(case, {}).get("at_recall", {}).get(target) for peer in ours]
        fastest = max((reading["qps"] for reading in readings if reading), default=0.0)
        if fastest > 0.0:
            what = f"queries per second, {case} allowed, at recall {target}"
            dataset = result["dataset"]
            lines.append((f"{what}, {dataset['name']}, {size(dataset)}", f"{fastest:,.0f}"))
    return lines
