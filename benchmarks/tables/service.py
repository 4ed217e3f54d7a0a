"""Tables of what surrounds an index: the import, ingestion."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import markdown

__all__ = [
    "import_summary",
    "import_table",
    "ingest_summary",
    "ingest_table",
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
