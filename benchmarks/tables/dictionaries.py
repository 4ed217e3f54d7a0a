"""Table of zstd dictionaries beside what is stored."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown

__all__ = ["dictionaries_summary", "dictionaries_table"]


def dictionaries_table(result: dict[str, Any]) -> list[str]:
    """Bytes of text for each that is stored, and what a dictionary would save of the tenant."""
    sizes = [name for name in result["cases"][0]["ways"] if name.isdigit()]
    head = [
        *("corpus, tokens of a chunk", "chunks", "median bytes", "as stored"),
        *(f"dictionary of {int(size) / 1024:g} KiB" for size in sizes),
        *("it would save of the tenant, at most", "µs to pack, to unpack", "with a dictionary"),
    ]
    rows = [
        (
            f"{case['corpus']}, {case['size']}",
            f"{case['chunks']:,}",
            f"{case['median_bytes']:,}",
            *(f"{_ratio(case, way):.2f}" for way in ("stored", *sizes)),
            f"{_saved(case):.1%}",
            _times(case["ways"]["stored"]),
            _times(case["ways"][sizes[-1]]),
        )
        for case in result["cases"]
    ]
    return markdown(head, rows)


def dictionaries_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The spread of all three."""
    cases = result["cases"]
    stored = [_ratio(case, "stored") for case in cases]
    best = [max(_ratio(case, way) for way in case["ways"]) for case in cases]
    saved = [_saved(case) for case in cases]
    measured = (
        f"{min(stored):.1f} to {max(stored):.1f} times smaller as stored, {min(best):.1f} to "
        f"{max(best):.1f} with dictionaries, which would save {max(0.0, min(saved)):.1%} to "
        f"{max(saved):.1%} of what the tenant takes on disk"
    )
    return [("texts of chunks, compressed by zstd", measured)]


def _ratio(case: dict[str, Any], way: str) -> float:
    return float(case["text_bytes"] / case["ways"][way]["stored_bytes"])


def _saved(case: dict[str, Any]) -> float:
    """Share of the tenant's bytes, less the dictionary itself, of the best one."""
    now = case["ways"]["stored"]["stored_bytes"]
    saved = [
        now - way["stored_bytes"] - way["bytes"]
        for name, way in case["ways"].items()
        if name.isdigit()
    ]
    return float(max(saved) / case["tenant_bytes"])


def _times(way: dict[str, Any]) -> str:
    if way["compress_us"] is None:
        return ""
    return f"{way['compress_us']:.0f}, {way['decompress_us']:.0f}"
