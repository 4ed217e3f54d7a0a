"""Tables of ``recall``: speed at each recall, batches, builds, memory, opening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.tables.markdown import NONE, best_in_bold, figure, label, markdown, size, turned

__all__ = ["recall_summary", "recall_table"]

OURS = "llmspell"


def recall_table(result: dict[str, Any]) -> list[str]:
    """Single queries first, then what the result has besides."""
    peers = result["peers"]
    lines = [
        "Queries a second at each recall, one at a time on one thread; the fastest in bold.",
        "",
        *_speed(peers, peers, latencies=True),
    ]
    if any(peer.get("batches") for peer in peers):
        threads = result["settings"]["batch_threads"]
        lines += [
            "",
            f"All queries as one batch, on {threads} threads:",
            "",
            *_speed(peers, [peer.get("batches") or {} for peer in peers], latencies=False),
        ]
    return [
        *lines,
        "",
        "Builds, with the recall that one setting, the same for each peer's builds, then gives;",
        "memory that the process holds of its own, and what it maps of files:",
        "",
        *_builds(peers),
        *_opening(peers),
    ]


def _speed(
    peers: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]], *, latencies: bool
) -> list[str]:
    targets = list(next((part["at_recall"] for part in measured if "at_recall" in part), {}))
    readings = [
        [None if peer["error"] else part.get("at_recall", {}).get(target) for target in targets]
        for peer, part in zip(peers, measured, strict=True)
    ]
    speeds = [[reading and reading["qps"] for reading in row] for row in readings]
    head = ["index", *(f"QPS @{target}" for target in targets)]
    cells = turned(best_in_bold(turned(speeds)))
    rows = [[label(peer), *row] for peer, row in zip(peers, cells, strict=True)]
    if latencies:
        for target in ("0.95", "0.99"):
            head.append(f"p50 / p99 µs @{target}")
            for row, found in zip(rows, readings, strict=True):
                row.append(_latencies(found[targets.index(target)]))
    beside = _ours_beside(peers, speeds)
    if beside:
        rows.append([*beside, *[""] * (len(head) - len(beside))])
    return markdown(head, rows)


def _latencies(reading: dict[str, Any] | None) -> str:
    return NONE if reading is None else f"{reading['p50_us']:.0f} / {reading['p99_us']:.0f}"


def _ours_beside(
    peers: Sequence[dict[str, Any]], speeds: Sequence[Sequence[float | None]]
) -> list[str]:
    """Our best over the best of the others at each recall; below 1 a peer wins."""
    rows = list(zip(peers, speeds, strict=True))
    ours = _best([row for peer, row in rows if peer["name"] == OURS])
    others = _best([row for peer, row in rows if peer["name"] != OURS])
    if not ours or not others:
        return []
    cells = []
    for mine, theirs in zip(ours, others, strict=True):
        cells.append(NONE if mine is None or theirs is None else f"{mine / theirs:.2f}")
    return ["our best / the best peer", *cells]


def _best(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    columns = zip(*rows, strict=True)
    return [max((v for v in column if v is not None), default=None) for column in columns]


def _builds(peers: Sequence[dict[str, Any]]) -> list[str]:
    numbers = sorted({b["threads"] for peer in peers for b in _builds_of(peer)})
    head = ["index"]
    for number in numbers:
        head.append(f"build s (CPU s), {number} thread{'' if number == 1 else 's'}")
        head.append("recall")
    head += ["memory MiB", "of files MiB", "bytes a vector"]
    rows = []
    for peer in peers:
        built = {build["threads"]: build for build in _builds_of(peer) if "wall_s" in build}
        row = [label(peer)]
        for number in numbers:
            build = built.get(number)
            row.append(NONE if build is None else f"{build['wall_s']:.0f} ({build['cpu_s']:.0f})")
            row.append(figure(None if build is None else build.get("recall"), ".4f"))
        memory = peer.get("memory") or {"anonymous_mib": peer.get("rss_growth_mib")}
        row.append(figure(memory["anonymous_mib"]))
        row.append(figure(memory.get("file_mib")))
        row.append(figure(memory.get("anonymous_bytes_a_vector")))
        rows.append(row)
    return markdown(head, rows)


def _builds_of(peer: dict[str, Any]) -> list[dict[str, Any]]:
    return peer.get("builds") or ([peer["build"]] if "build" in peer else [])


def _opening(peers: Sequence[dict[str, Any]]) -> list[str]:
    if not any(peer.get("load") for peer in peers):
        return []
    rows = []
    for peer in peers:
        load = peer.get("load") or {}
        memory = load.get("memory") or {}
        rows.append(
            (
                label(peer),
                figure(load.get("save_s"), ".2f"),
                figure(load.get("file_mib")),
                figure(load.get("load_ms"), ",.1f"),
                figure(load.get("first_query_ms"), ",.2f"),
                figure(load.get("ready_ms"), ",.0f"),
                figure(memory.get("anonymous_mib")),
                figure(memory.get("file_mib")),
            )
        )
    head = (
        *("index", "save s", "file MiB", "open ms", "first query ms", "import to answer ms"),
        *("memory MiB", "of files MiB"),
    )
    return [
        "",
        "Opening in a fresh process what another one saved just before (so it is in the page",
        "cache), and what is resident after two queries:",
        "",
        *markdown(head, rows),
    ]


def recall_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The fastest of ours at recall 0.95, beside the reference and the fastest of the others."""
    reference = result["reference"]
    ours = max((p for p in result["peers"] if p["name"] == OURS), key=_speed_at, default=None)
    if ours is None or _speed_at(ours) == 0.0:
        return []
    reading, ratio = ours["at_recall"]["0.95"], ours[f"ratio_to_{reference}"].get("0.95")
    beside = "" if ratio is None else f", {ratio:.2f} times {reference}"
    others = [peer for peer in result["peers"] if peer["name"] not in (OURS, reference)]
    fastest = max(others, key=_speed_at, default=None)
    if fastest is not None and _speed_at(fastest) > 0:
        share = reading["qps"] / _speed_at(fastest)
        beside += f", {share:.2f} times {fastest['name']} {fastest['variant']}"
    what = f"queries per second at recall@{result['settings']['k']} = 0.95, one thread"
    latencies = f"p50 {reading['p50_us']:.0f} µs, p99 {reading['p99_us']:.0f} µs"
    return [
        (
            f"{what}, {result['dataset']['name']}, {size(result['dataset'])}, {ours['variant']}",
            f"{reading['qps']:,.0f}{beside}; {latencies}",
        )
    ]


def _speed_at(peer: dict[str, Any]) -> float:
    reading = peer.get("at_recall", {}).get("0.95")
    return 0.0 if reading is None else float(reading["qps"])
