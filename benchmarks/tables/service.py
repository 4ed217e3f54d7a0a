"""Tables of what surrounds an index: a tenant's search, the import, ingestion."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown, size

__all__ = [
    "import_summary",
    "import_table",
    "ingest_summary",
    "ingest_table",
    "tenant_summary",
    "tenant_table",
]

_IN_PLACE = ("search", "around it", "fetch", "read")


def tenant_table(result: dict[str, Any]) -> list[str]:
    """Overhead by setting, where it goes, and each step alone."""
    rows = []
    for search in result["searches"]:
        for name in ("p50", "p99", "mean"):
            rows.append(
                (
                    f"ef_search {search['ef_search']}, {name}",
                    f"{search['index_us'][name]:.1f}",
                    f"{search['tenant_us'][name]:.1f}",
                    f"{search['read_us'][name]:.1f}",
                    f"{search['overhead_us'][name]:.1f}",
                    f"{search['overhead_percent'][name]:.1f} %",
                )
            )
    head = (
        *("", "`Index.search` µs", "`Tenant.search` µs", "with ids and scores read µs"),
        *("overhead µs", "overhead"),
    )
    shares = [
        (f"ef_search {s['ef_search']}", *(f"{s['in_place_us'][n]:.1f}" for n in _IN_PLACE))
        for s in result["searches"]
    ]
    pieces = [(name, f"{spent:.2f}") for name, spent in result["pieces_us"].items()]
    return [
        *markdown(head, rows),
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


def tenant_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The overhead at the first setting."""
    search = result["searches"][0]
    dataset = result["dataset"]
    return [
        (
            f"`Tenant.search` beyond `Index.search`, p50, ef_search {search['ef_search']}, "
            f"quantization {result['settings']['quantization']}, {size(dataset)}",
            f"{search['overhead_us']['p50']:.1f} µs on {search['index_us']['p50']:.1f} µs; "
            f"{search['read_us']['p50'] - search['index_us']['p50']:.1f} with ids and scores read",
        )
    ]


def import_table(result: dict[str, Any]) -> list[str]:
    """Milliseconds by package."""
    spent = result["beyond_numpy_ms"]
    rows = [
        ("`import llmspell`", f"{spent['package']['median']:.1f}"),
        ("and all public names", f"{spent['all_names']['median']:.1f}"),
    ]
    rows += [(name, f"{own:.1f}") for name, own in result["own_ms_by_package"].items()]
    return markdown(("package", "ms"), rows)


def import_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Both imports."""
    package, names = (result["beyond_numpy_ms"][what] for what in ("package", "all_names"))
    measured = f"{package['median']:.0f} ms; {names['median']:.0f} ms with every public name loaded"
    return [("`import llmspell`, beyond NumPy", measured)]


def ingest_table(result: dict[str, Any]) -> list[str]:
    """Seconds and passages a second by stage."""
    stages = [
        (name, f"{stage['seconds']:.2f}", _rate(stage["passages_per_s"]))
        for name, stage in result["stages"].items()
    ]
    total = ("all", f"{result['seconds']:.2f}", _rate(result["passages_per_s"]))
    again = (f"again, {result['unchanged_again']} unchanged", f"{result['again_seconds']:.2f}", "")
    return markdown(("stage", "seconds", "passages/s"), [*stages, total, again])


def ingest_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Passages a second."""
    what = f"ingest of {result['documents']} source files, {result['passages']:,} passages"
    return [(what, f"{_rate(result['passages_per_s'])} passages a second")]


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
