"""Tables of many tenants: what they take, cold searches, and a load with a budget."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import figure, markdown

__all__ = ["tenants_summary", "tenants_table"]


def tenants_table(result: dict[str, Any]) -> list[str]:
    """Making, opening and idling; then searches that open their tenant."""
    settings, many, used = result["settings"], result["many"], result["used"]
    figures = [
        (f"{settings['tenants']:,} tenants made at once, s", f"{many['create_s']:.1f}"),
        ("a tenant made by itself, ms", f"{many['create_one_ms']:.2f}"),
        ("opening their directory, median of 5, ms", f"{many['open_ms']:.1f}"),
        ("the slowest of them, ms", f"{many['open_worst_ms']:.1f}"),
        ("disk for a tenant that was never used, bytes", f"{many['disk_bytes_each']:,}"),
        ("memory of a handle to one, bytes", f"{many['handle_bytes']:,}"),
        ("descriptors of it", f"{many['handle_descriptors']:g}"),
        ("allocated for a handle to one that was used and closed, bytes", f"{used['bytes']:,}"),
        ("of resident memory, with what allocators keep", f"{used['resident_bytes']:,}"),
    ]
    lines = markdown(("", ""), figures)
    if result["cold"]:
        rows = [
            (
                f"{cold['dataset']['vectors']:,} vectors of {cold['dataset']['dim']} dimensions",
                *(
                    figure(cold[f"{state}_ms"].get(name), ",.1f")
                    for state in ("cached", "dropped", "next")
                    for name in ("p50", "p99")
                ),
            )
            for cold in result["cold"]
        ]
        head = (
            *("", "in the system's cache, p50 ms", "p99", "not in it, p50 ms", "p99"),
            *("the search behind it, p50 ms", "p99"),
        )
        lines += [
            "",
            "The first search of a tenant that isn't open, its hits read; its files in the "
            "system's cache, or dropped from it:",
            "",
            *markdown(head, rows),
        ]
    load = result["load"]
    rows = [
        ("searches/s", f"{load['searches_per_s']:,}"),
        ("meet an open tenant", f"{load['open_percent']:.1f} %"),
        ("these, p50 ms", figure(load["open_ms"].get("p50"), ".3f")),
        ("the others open it, p50 ms", figure(load["opened_ms"].get("p50"), ".3f")),
        ("p99 ms", figure(load["opened_ms"].get("p99"), ".3f")),
        ("descriptors in the budget", f"{load['budget_descriptors']:,}"),
        ("most that were open", f"{load['most_descriptors']:,}"),
    ]
    return [
        *lines,
        "",
        f"{settings['loaded']:,} tenants under one thread's load, by Zipf's law with exponent "
        f"{settings['zipf_exponent']:g}; {load['budget_rooms']:,} of them may be open:",
        "",
        *markdown(("", ""), rows),
    ]


def tenants_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Opening, idling, and cold searches."""
    count, many, used = result["settings"]["tenants"], result["many"], result["used"]
    lines = [
        (f"opening a directory of {count:,} tenants", f"{many['open_ms']:.0f} ms"),
        (
            "an idle tenant with a handle",
            f"{used['bytes']:,} bytes allocated, {many['handle_descriptors']:g} descriptors",
        ),
    ]
    for cold in result["cold"]:
        what = f"first search of a tenant of {cold['dataset']['vectors']:,} vectors that isn't open"
        spent = cold["cached_ms"]["p50"], cold["dropped_ms"]["p50"]
        lines.append((what, "{:.1f} ms; {:.1f} ms from disk".format(*spent)))
    return lines
