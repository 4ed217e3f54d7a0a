"""Table of the memory of a long ingest."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import NONE, figure, markdown

__all__ = ["bulk_summary", "bulk_table"]


def bulk_table(result: dict[str, Any]) -> list[str]:
    """How memory goes along the way, of each process; then what the second found of the first."""
    head = ("process, seconds", "files", "chunks", *_MEMORY)
    rows = []
    for name in ("killed", "resumed", "whole"):
        part = result[name]
        if part is None:
            continue
        rows += [
            (f"{name}, {one['seconds']:,.0f}", *_counts(one), *_megabytes(one))
            for one in part["samples"]
        ]
        rows.append((f"{name}, peak", NONE, NONE, *_megabytes(part["peaks"])))
    killed, resumed = result["killed"], result["resumed"]
    told = (
        f"Killed after {killed['files']:,} of {result['files']:,} files. Then "
        f"{resumed['unchanged']:,} were found unchanged and {resumed['added']:,} added."
    )
    if result["whole"] is not None:
        same = "the same" if result["is_same"] else "NOT the same"
        told += f" Ids, texts, metadata and vectors are {same} as those of a run without a kill."
    return [*markdown(head, rows), "", told]


def bulk_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The peak beside the index, and the rate."""
    parts = [part for part in (result["killed"], result["resumed"], result["whole"]) if part]
    beside = max(
        one["anonymous_bytes"] - one["index_bytes"]
        for part in parts
        for one in part["samples"]
        if one["anonymous_bytes"]
    )
    what = f"ingest of {result['source_bytes'] / 1e6:,.0f} MB in {result['files']:,} files"
    killed = result["killed"]
    rate = killed["files"] / result["files"] * result["source_bytes"] / killed["seconds"]
    measured = (
        f"{beside / 1e6:,.0f} MB of memory beside the tenant's index, "
        f"{max(part['peaks']['held_bytes'] for part in parts) / 1e6:,.0f} MB held at most; "
        f"{rate / 1e6:.2g} MB/s with the embedder `{result['settings']['embedder']}`"
    )
    return [(what, measured)]


_MEMORY = ("own memory, MB", "index, allocated", "rest", "mapped of files", "held by the guard")


def _counts(one: dict[str, Any]) -> tuple[str, str]:
    return f"{one['documents']:,}", f"{one['chunks']:,}"


def _megabytes(one: dict[str, Any]) -> tuple[str, ...]:
    own, index = one["anonymous_bytes"], one["index_bytes"]
    rest = own - index if "documents" in one and own is not None else None
    values = (own, index, rest, one["file_bytes"], one["held_bytes"])
    return tuple(figure(None if value is None else value / 1e6) for value in values)
