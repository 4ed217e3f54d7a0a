"""Tables of durable inserts beside other stores."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import NONE, figure, label, markdown

__all__ = ["durable_summary", "durable_table", "syncs_each_call"]


_MOST_FSYNCS = 3.0


def durable_table(result: dict[str, Any]) -> list[str]:
    """Single inserts, batches, what each store calls durable, and threads on one tenant."""
    stores = result["stores"]
    sizes = sorted({cell["size"] for store in stores for cell in store["inserts"]})
    lines = [
        "Every store has a process and a collection of its own; of fsync: p50 as a multiple of",
        "the bare fsync's, with as many records. p99 stands where there are 100 calls. Ours links",
        "each vector into the graph before the call returns. zvec, LanceDB and Qdrant Edge leave",
        "that to a call of its own (`optimize`, `create_index`), which isn't made here. Aimed at:",
        f"one synced insert of ours in at most {_MOST_FSYNCS:g} times the bare fsync, p50.",
    ]
    for size in sizes:
        rows = [(_name(store), *_cells(store, size)) for store in stores]
        head = ("store", "p50 ms", "p99 ms", "slowest ms", "of fsync", "records/s")
        records = "1 record" if size == 1 else f"{size:,} records"
        lines += ["", f"{records} an insert:", "", *markdown(head, rows)]
    syncs = [(_name(store), store["durable"], _syncs(store)) for store in stores]
    lines += [
        "",
        "What was called, and how often the process then asked for its writes to reach the disk,",
        "counted by strace over single inserts:",
        "",
        *markdown(("store", "durable by", "asks to sync, a call"), syncs),
    ]
    if result["concurrent"]:
        together = [
            (
                f"{cell['variant']}, {cell['threads']} threads",
                figure(cell["p50_ms"], ",.3f"),
                figure(cell["p99_ms"], ",.2f"),
                figure(cell["records_per_s"]),
            )
            for cell in result["concurrent"]
        ]
        lines += [
            "",
            "Single upserts of several threads to one tenant of ours, by durability; the last",
            "commit is in the records a second:",
            "",
            *markdown(("", "p50 ms", "p99 ms", "records/s"), together),
        ]
    return lines


def syncs_each_call(store: dict[str, Any]) -> bool | None:
    """Whether a call asked to sync at least once; None where that wasn't counted."""
    counted = store["syncs_a_call"]
    return None if counted is None else sum(counted.values()) >= 1


def durable_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Our synchronous single insert beside the bare fsync, and beside the peers that sync."""
    singles = {}
    for store in result["stores"]:
        for cell in store["inserts"]:
            if cell["size"] == 1 and cell["p50_ms"] is not None:
                singles[store["name"], store["variant"]] = store, cell
    if ("llmspell", "sync") not in singles:
        return []
    ours = singles["llmspell", "sync"][1]
    bare = ("file", "lmdb", "llmspell")
    peers = [
        f"{name} {cell['p50_ms']:.2f}"
        for (name, _), (store, cell) in singles.items()
        if name not in bare and syncs_each_call(store) is not False
    ]
    beside = "" if ours["of_fsync"] is None else f", {ours['of_fsync']:.1f} times a bare fsync"
    others = f"; {', '.join(peers)}" if peers else ""
    return [("one durable insert, p50, ms", f"{ours['p50_ms']:.2f}{beside}{others}")]


def _name(store: dict[str, Any]) -> str:
    return f"{store['name']} {store['variant']}" if store["version"] is None else label(store)


def _cells(store: dict[str, Any], size: int) -> list[str]:
    for cell in store["inserts"]:
        if cell["size"] == size and cell["p50_ms"] is not None:
            return [
                figure(cell["p50_ms"], ",.3f"),
                figure(cell["p99_ms"], ",.2f"),
                figure(cell["slowest_ms"], ",.2f"),
                figure(cell["of_fsync"], ",.1f"),
                figure(cell["records_per_s"]),
            ]
    return [NONE] * 5


def _syncs(store: dict[str, Any]) -> str:
    counted = store["syncs_a_call"]
    if store["error"] is not None:
        return f"{NONE} ({store['error'].splitlines()[-1]})"
    if counted is None:
        return f"{NONE} (no strace)"
    if not counted:
        return "none seen: **not durable**"
    each = ", ".join(f"{name} {number:g}" for name, number in sorted(counted.items()))
    return each if syncs_each_call(store) else f"{each}: **not each call**"
