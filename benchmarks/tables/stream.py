"""Table of ``stream``: what is left of an index after its content was replaced several times."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import NONE, figure, label, markdown

__all__ = ["stream_summary", "stream_table"]


def stream_table(result: dict[str, Any]) -> list[str]:
    """A row for each peer and number of threads."""
    settings = result["settings"]
    rows = []
    for run in result["runs"]:
        fresh = run["fresh"]
        if run["error"] or fresh["error"]:
            rows.append((f"{run['name']} {run['variant']} (failed)", *[NONE] * 9))
            continue
        last, middle = run["turns"][-1], len(fresh["points"]) // 2
        now, then = last["points"][middle], fresh["points"][middle]
        rows.append(
            (
                label(run),
                str(run["threads"]),
                figure(last["inserts_per_s"]),
                figure(last["deletes_per_s"]),
                f"{now['recall']:.4f} / {then['recall']:.4f}",
                str(now["ef_search"]),
                f"{now['qps']:,.0f} / {then['qps']:,.0f}",
                f"{100 * last['self_found']:.1f} %",
                _memory(last, fresh),
                f"{fresh['build']['wall_s']:.1f}",
            )
        )
    head = (
        *("index", "threads", "inserts/s", "deletes/s", "recall / fresh", "at", "QPS / fresh"),
        *("find themselves", "MiB / fresh", "fresh build s"),
    )
    return [
        f"{settings['live_vectors']:,} vectors, all replaced {settings['turns']} times in "
        f"{_steps(settings['steps_a_turn'])};",
        "inserts and deletes are the last turn's, searches on one thread.",
        "",
        *markdown(head, rows),
    ]


def _memory(last: dict[str, Any], fresh: dict[str, Any]) -> str:
    if last["memory"] is None or fresh["memory"] is None:
        return NONE
    return f"{last['memory']['anonymous_mib']:,.0f} / {fresh['memory']['anonymous_mib']:,.0f}"


def stream_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Ours on one thread."""
    lines = []
    for run in result["runs"]:
        if run["name"] != "llmspell" or run["threads"] != 1:
            continue
        if run["error"] or run["fresh"]["error"]:
            continue
        last, middle = run["turns"][-1], len(run["turns"][-1]["points"]) // 2
        lines.append(
            (
                f"recall after all {result['settings']['live_vectors']:,} vectors were replaced "
                f"{result['settings']['turns']} times, {run['variant']}, beside a fresh build",
                f"{last['points'][middle]['recall']:.4f} and "
                f"{run['fresh']['points'][middle]['recall']:.4f}; "
                f"{last['inserts_per_s']:,.0f} inserts a second",
            )
        )
    return lines


def _steps(steps: int | str) -> str:
    if steps == "mixed":
        return "steps of many sizes, every other one inserting before it deletes"
    return f"{steps} steps each, deletes before inserts"
