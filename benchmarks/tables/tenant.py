"""Tables of a tenant's search beside its index's."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown, size

__all__ = ["case_name", "tenant_summary", "tenant_table"]

_IN_PLACE = ("search", "around it", "fetch", "read")
#: What was aimed at: a share of the index's time, and µs where that is short.
_MOST_PERCENT = 3.0
_SHORT_US = 50.0
_MOST_US = 1.5


def tenant_table(result: dict[str, Any]) -> list[str]:
    """Overhead by case, where it goes, and what reading the hits takes."""
    rows = []
    for search in result["searches"]:
        for name in ("p50", "p99", "mean"):
            rows.append(
                (
                    f"{case_name(search)}, {name}",
                    f"{search['index_us'][name]:.1f}",
                    f"{search['tenant_us'][name]:.1f}",
                    f"{search['read_us'][name]:.1f}",
                    f"{search['overhead_us'][name]:.1f}",
                    f"{search['overhead_percent'][name]:.1f} %",
                    _verdict(search) if name == "p50" else "",
                )
            )
    head = (
        *("", "`Index.search` µs", "`Tenant.search` µs", "with ids and scores read µs"),
        *("overhead µs", "overhead", "as aimed"),
    )
    rates = [
        (
            case_name(search),
            *(f"{search['qps'][side]:,}" for side in ("index", "tenant", "read")),
        )
        for search in result["searches"]
        if search["qps"]
    ]
    shares = [
        (case_name(search), *(f"{search['in_place_us'][n]:.1f}" for n in _IN_PLACE))
        for search in result["searches"]
        if search["in_place_us"] is not None
    ]
    pieces = [(name, f"{spent:.2f}") for name, spent in result["pieces_us"].items()]
    lines = [
        f"Aimed at, p50: at most {_MOST_PERCENT:g} %, or {_MOST_US:g} µs where the index takes",
        f"less than {_SHORT_US:g} µs. Of several threads each latency has in it what its thread",
        "waited for the others.",
        "",
        *markdown(head, rows),
    ]
    if rates:
        lines += [
            "",
            "Searches a second, all threads together:",
            "",
            *markdown(("", *("`Index.search`", "`Tenant.search`", "and read")), rates),
        ]
    return [
        *lines,
        "",
        "Where the mean goes, by the database's own instruments; hits are read when they are "
        "looked at:",
        "",
        *markdown(("", *(f"{name} µs" for name in _IN_PLACE)), shares),
        "",
        "Each step alone and warm; hits are read after the search:",
        "",
        *markdown(("step", "µs"), pieces),
    ]


def case_name(search: dict[str, Any]) -> str:
    """Which tenants were searched, and how."""
    if search["searched"] != "one tenant":
        what = f"{search['open'] - 1:,} tenants of {search['vectors']:,} in turn"
    elif search["open"] > 1:
        what = f"one of {search['open']:,} open tenants"
    else:
        what = "one tenant"
    threads = "" if search["threads"] == 1 else f", {search['threads']} threads"
    return f"{what}, ef_search {search['ef_search']}{threads}"


def tenant_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The overhead in the first case of each number of tenants and way to search, one thread."""
    lines, seen = [], set()
    for search in result["searches"]:
        kind = search["searched"], search["open"]
        if search["threads"] != 1 or kind in seen:
            continue
        seen.add(kind)
        index, tenant = search["index_us"]["p50"], search["read_us"]["p50"]
        lines.append(
            (
                f"`Tenant.search` beyond `Index.search`, p50, {case_name(search)}, quantization "
                f"{result['settings']['quantization']}, {size(result['dataset'])}",
                f"{search['overhead_us']['p50']:.1f} µs on {index:.1f} µs; "
                f"{tenant - index:.1f} with ids and scores read",
            )
        )
    return lines


def _verdict(search: dict[str, Any]) -> str:
    if search["index_us"]["p50"] < _SHORT_US:
        return "yes" if search["overhead_us"]["p50"] <= _MOST_US else "no"
    return "yes" if search["overhead_percent"]["p50"] <= _MOST_PERCENT else "no"
