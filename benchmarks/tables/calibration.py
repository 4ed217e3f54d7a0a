"""Table of ``calibration``: recall that is reached where one is asked for."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown

__all__ = ["calibration_summary", "calibration_table"]


def calibration_table(result: dict[str, Any]) -> list[str]:
    """A row for each index, k and kind of sample; a column for each recall asked for."""
    targets = list(result["cases"][0]["reached"])
    rows = [
        (
            _index(case),
            str(case["k"]),
            f"{case['sample_size']:,} {case['sample']}",
            *(_reached(case["reached"][target]) for target in targets),
            f"{case['calibration_s']:.1f}",
        )
        for case in result["cases"]
    ]
    head = ("index", "k", "measured with", *(f"asked for {target}" for target in targets), "in s")
    return [
        "Recall reached by queries that the index has not seen, and the `ef_search` chosen for it.",
        "",
        *markdown(head, rows),
    ]


def calibration_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """How far the recall that is reached is from what was asked for, at its worst."""
    margins = [
        one["recall"] - float(target)
        for case in result["cases"]
        for target, one in case["reached"].items()
    ]
    lowest, highest = 100 * min(margins), 100 * max(margins)
    what = f"recall reached less recall asked for, in points, {result['dataset']['name']}"
    ks = "/".join(map(str, sorted({case["k"] for case in result["cases"]})))
    return [
        (f"{what}, k {ks}, {len(margins)} cases", f"{lowest:+.1f} at least, {highest:+.1f} at most")
    ]


def _index(case: dict[str, Any]) -> str:
    codes = case["quantization"]
    return "float16" if codes == "none" else f"float16-{codes}"


def _reached(one: dict[str, Any]) -> str:
    return f"{one['recall']:.3f} ({one['ef_search'] or 'sweep'})"
