"""Table of what a charge costs."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import figure, markdown

__all__ = ["charge_rows", "ledger_summary", "ledger_table"]


def ledger_table(result: dict[str, Any]) -> list[str]:
    """A row for each call, a column for each number of threads or processes."""
    rows = charge_rows(result)
    ways = list(dict.fromkeys(way for _, spent in rows for way in spent))
    heads = [" ".join(reversed(way.split())) for way in ways]
    cells = [(name, *(figure(spent.get(way), ",.1f") for way in ways)) for name, spent in rows]
    return [
        "Nanoseconds a call: wall time by the calls of all threads or processes together, which",
        "charge the same tenant. Medians from Python, the loop around the calls in them; in C++",
        "the least of the rounds. A moving window of `limits` refuses most of the hits timed.",
        "",
        *markdown(("", *heads), cells),
    ]


def charge_rows(result: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Name of each call, and ns by threads or processes: in C++, then from Python."""
    native: dict[str, dict[str, float]] = {}
    for way, calls in result["native_ns"].items():
        for name, ns in calls.items():
            native.setdefault(f"C++: {name}", {})[way] = ns
    return [*native.items(), *result["python_ns"].items()]


def ledger_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """A rate's charge from Python, and in C++ where that was measured, beside the others'."""
    spent = {name: by["threads 1"] for name, by in charge_rows(result) if "threads 1" in by}
    if "ledger, a rate" not in spent:
        return []
    measured = [f"{spent['ledger, a rate']:.0f} ns from Python"]
    if "C++: charge api_calls" in spent:
        measured.append(f"{spent['C++: charge api_calls']:.1f} ns in C++")
    measured += [
        f"{name} {spent[name]:,.0f} ns"
        for name in ("counter behind a lock", "limits, fixed window")
        if name in spent
    ]
    return [("a charge of a rate, one thread", "; ".join(measured))]
