"""Tables of confined calls, and of their way out."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown

__all__ = ["broker_summary", "broker_table", "sandbox_summary", "sandbox_table"]

_NAMES = {
    "pool": "a `SAFE` tool, by workers that wait, 16 calls in a row",
    "pool, idle": "the same, each 20 ms after the last",
    "kept": "by one that is kept for the tenant, in a row",
    "kept, idle": "the same, each 20 ms after the last",
    "forked": "by one that is forked for the call",
}


def sandbox_table(result: dict[str, Any]) -> list[str]:
    """A row for each way to run it."""
    rows = [
        (_NAMES.get(name, name), *(f"{ms:.3f}" for ms in spread.values()))
        for name, spread in result["ms"].items()
    ]
    registering = (f"{ms:.3f}" for ms in result["registering_ms"].values())
    rows.append(("define and register a tool", *registering))
    return [
        "Milliseconds from the call of a Python function to its result. All others than ours start",
        "an interpreter for each call: they confine programs. After 20 ms the processors sleep:",
        "what a kept worker takes longer then is theirs.",
        "",
        *markdown(("", "p50", "p99"), rows),
    ]


def sandbox_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Ours, and the others beside it."""
    spent = {name: spread["p50"] for name, spread in result["ms"].items()}
    measured = [
        f"{spent['pool']:.2f} ms (p99 {result['ms']['pool']['p99']:.1f})",
        f"{spent['pool, idle']:.2f} after 20 ms of rest",
        f"{spent['forked']:.1f} where it is forked",
        f"{1000 * spent['kept']:.0f} µs where it is kept",
    ]
    measured += [f"{name} {ms:.1f}" for name, ms in spent.items() if name not in _NAMES]
    return [("a call of a confined Python tool, p50", "; ".join(measured))]


def broker_table(result: dict[str, Any]) -> list[str]:
    """A row for each client."""
    rows = [(side, *(f"{us:,.0f}" for us in spread.values())) for side, spread in _sides(result)]
    return [
        "Microseconds of a GET on a kept connection on loopback. `broker` is in the same process;",
        "a worker asks one at the other end of a socket pair.",
        "",
        *markdown(("", "p50", "p99"), rows),
    ]


def broker_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What it adds."""
    sides = dict(_sides(result))
    added = sides["worker"]["p50"] - sides["http.client"]["p50"]
    return [
        (
            "a request of a confined tool by the broker, beyond `http.client`, p50",
            f"{added:.0f} µs on {sides['http.client']['p50']:.0f}",
        )
    ]


def _sides(result: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return list(result["us"].items())
