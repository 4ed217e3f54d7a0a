"""How payloads look on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmspell.cli.payload import (
        BenchPayload,
        DoctorPayload,
        ExportPayload,
        HitPayload,
        ImportedPayload,
        ImportPayload,
        IngestPayload,
        SnapshotPayload,
        SnapshotTakenPayload,
        StatsPayload,
        TenantPayload,
    )

__all__ = [
    "bench_view",
    "doctor_view",
    "duration",
    "export_view",
    "hits_view",
    "import_view",
    "imported_view",
    "ingest_view",
    "plain_table",
    "size",
    "snapshot_taken_view",
    "snapshot_view",
    "snippet",
    "stats_view",
    "tenant_view",
    "tenants_view",
]

ACCENT = "cyan"
FAINT = "dim"
ID_WIDTH = 36


def plain_table(*columns: str | tuple[str, dict[str, Any]], title: str | None = None) -> Table:
    """A table with a rule under its heading and no frame."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left"
    )
    for column in columns:
        name, options = (column, {}) if isinstance(column, str) else column
        table.add_column(name, **options)
    return table


def hits_view(hits: Sequence[HitPayload]) -> RenderableType:
    """Hits as a table: score, id, one line of text."""
    if not hits:
        return Text("No hits.", style=FAINT)
    table = plain_table(
        ("score", {"justify": "right", "min_width": 6}),
        ("id", {"no_wrap": True, "style": ACCENT, "min_width": 8}),
        ("text", {"overflow": "ellipsis", "no_wrap": True, "ratio": 1}),
    )
    table.expand = True
    for hit in hits:
        table.add_row(f"{hit['score']:.3f}", Text(_id(hit)), Text(snippet(hit["text"])))
    return table


def _id(hit: HitPayload) -> str:
    """The end of the id, which says more of a path than its beginning."""
    whole = str(hit["id"])
    return whole if len(whole) <= ID_WIDTH else f"…{whole[1 - ID_WIDTH :]}"


def snippet(text: str | None, *, after: str = "") -> str:
    """The part of a passage that says most on one line.

    The heading line of a passage is its name, which stands beside it anyway, so where more text
    follows a blank line, that is shown.
    """
    if not text:
        return ""
    heading, _, body = text.removeprefix(after).partition("\n\n")
    return " ".join((body or heading).split())


def tenants_view(tenants: Sequence[TenantPayload]) -> RenderableType:
    """Tenants as a table."""
    if not tenants:
        return Text("No tenants.", style=FAINT)
    table = plain_table(
        ("tenant", {"style": ACCENT, "overflow": "fold"}),
        ("name", {"overflow": "fold"}),
        ("documents", {"justify": "right"}),
        ("vectors", {"justify": "right"}),
        ("dim", {"justify": "right"}),
        ("storage", {"justify": "right"}),
    )
    for tenant in tenants:
        usage = tenant["usage"]
        table.add_row(
            Text(tenant["id"]),
            Text(tenant["name"]),
            f"{usage['documents']['used']:,}",
            f"{usage['vectors']['used']:,}",
            "-" if tenant["dim"] is None else str(tenant["dim"]),
            size(usage["storage"]["used"]),
        )
    return table


def tenant_view(tenant: TenantPayload) -> RenderableType:
    """One tenant: a heading line, then the use of every quota."""
    dim = "that of its first vectors" if tenant["dim"] is None else str(tenant["dim"])
    heading = Text.assemble(
        (tenant["id"], ACCENT), f" {tenant['name']}\n", f"metric {tenant['metric']}, dim {dim}"
    )
    usage = tenant["usage"]
    table = plain_table("quota", ("used", {"justify": "right"}), ("limit", {"justify": "right"}))
    for label, quota, form in (
        ("documents", usage["documents"], _number),
        ("vectors", usage["vectors"], _number),
        ("storage", usage["storage"], size),
        ("dimensions", usage["dimensions"], _number),
        ("embeddings a day", usage["embeddings"], _number),
        ("tokens a day", usage["tokens"], _number),
        ("cost a month", usage["cost"], _cost),
        ("API calls a minute", usage["api_calls"], _number),
        ("queries a second", usage["queries"], _number),
    ):
        limit = "unlimited" if quota["limit"] is None else form(quota["limit"])
        table.add_row(label, form(quota["used"]), limit + " (soft)" * quota["soft"])
    return Group(heading, table)


def _number(count: float) -> str:
    return f"{count:,}"


def _cost(millionths: float) -> str:
    return f"{millionths / 1e6:,.6f}".rstrip("0").rstrip(".")


def size(count: float) -> str:
    """Bytes in binary units: ``"1.4 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best: ``"85 µs"``, ``"12.3 ms"``, ``"1.4 s"``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs" if seconds >= 1e-5 else f"{seconds * 1e6:.1f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s"


_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "broken": ("✗", "red")}


def doctor_view(payload: DoctorPayload) -> RenderableType:
    """Checks, one a line, with a mark."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(style=ACCENT, overflow="fold", max_width=24)
    table.add_column(overflow="fold", ratio=1)
    for check in payload["checks"]:
        mark, style = _MARKS[check["status"]]
        table.add_row(Text(mark, style=style), Text(check["name"]), Text(check["detail"]))
    broken = sum(check["status"] == "broken" for check in payload["checks"])
    verdict = "Nothing is broken." if payload["healthy"] else f"{broken} broken."
    return Group(table, Text(verdict, style="bold"))


def ingest_view(payload: IngestPayload) -> RenderableType:
    """What an ingest did, on one line, and what it passed over."""
    written = payload["added"] + payload["replaced"]
    kept = f", {payload['kept']:,} kept" if payload["kept"] else ""
    lines = [
        Text.assemble(
            (payload["tenant"], ACCENT),
            f": {payload['added']:,} documents added, {payload['replaced']:,} replaced, "
            f"{payload['unchanged']:,} unchanged; {payload['chunks']:,} passages written{kept} "
            f"in {duration(payload['seconds'])}",
        )
    ]
    if not written and payload["unchanged"]:
        lines.append(Text("Nothing had changed, so nothing was embedded.", style=FAINT))
    for source in payload["skipped"]:
        lines.append(Text(f"passed over: {source}", style=FAINT))
    return Group(*lines)


def export_view(payload: ExportPayload) -> RenderableType:
    """What an export wrote, on one line."""
    return _transferred(payload, f"exported to {payload['file']}, {size(payload['bytes'])},")


def snapshot_taken_view(payload: SnapshotTakenPayload) -> RenderableType:
    """What a snapshot holds, on one line."""
    return _transferred(payload, f"in {payload['target']}, {size(payload['bytes'])},")


def imported_view(payload: ImportedPayload) -> RenderableType:
    """What an import wrote, and what it passed over."""
    lines = [_transferred(payload, f"imported from {payload['file']}")]
    for count, why in ((payload["skipped"], "were there"), (payload["expired"], "have expired")):
        if count:
            lines.append(Text(f"passed over: {count:,} that {why}", style=FAINT))
    return Group(*lines)


def _transferred(
    payload: ExportPayload | ImportedPayload | SnapshotTakenPayload, what: str
) -> Text:
    return Text.assemble(
        (payload["tenant"], ACCENT),
        f": {payload['records']:,} records, {payload['documents']:,} documents {what} "
        f"in {duration(payload['seconds'])}",
    )


def bench_view(payload: BenchPayload) -> RenderableType:
    """Figures of one benchmark, and what they were taken on."""
    table = plain_table("measure", ("figure", {"justify": "right"}))
    for name, figure in (
        ("build", duration(payload["build_seconds"])),
        ("search p50", f"{payload['search_p50_us']:.0f} µs"),
        ("search p99", f"{payload['search_p99_us']:.0f} µs"),
        ("exact sweep p50", f"{payload['exact_p50_us']:.0f} µs"),
        (f"recall@{payload['k']}", f"{payload['recall']:.4f}"),
    ):
        table.add_row(name, figure)
    heading = Text.assemble(
        (payload["source"], ACCENT),
        f": {payload['vectors']:,} vectors of {payload['dim']} dimensions, {payload['metric']}; "
        f"{payload['queries']} held-out queries, one at a time, ef_search "
        f"{payload['ef_search']}\n{payload['cpu']}, {payload['simd_level']}",
    )
    return Group(heading, table)


def stats_view(payload: StatsPayload) -> RenderableType:
    """The data directory on one line, then its tenants."""
    heading = f"{payload['data']}: {size(payload['bytes_on_disk'])} on disk"
    return Group(Text(heading), tenants_view(payload["tenants"]))


def import_view(payload: ImportPayload) -> RenderableType:
    """What was found in a file, and the index that was made of it."""
    recall = payload["recall"]
    table = plain_table("measure", ("figure", {"justify": "right"}))
    table.add_row("build", duration(payload["build_seconds"]))
    table.add_row(
        f"recall@{payload['k']}, {payload['queries']:,} queries",
        "nothing to compare" if recall is None else f"{recall:.4f}",
    )
    return Group(
        Text(payload["file"], style=ACCENT),
        Text(
            f"  {payload['format']}: {payload['kind']}, {payload['file_dtype']}; "
            f"{payload['deleted']:,} deleted left out"
        ),
        *_index_lines(payload),
        table,
    )


def snapshot_view(payload: SnapshotPayload) -> RenderableType:
    """A snapshot: a heading, then its parameters and counts."""
    table = plain_table("name", ("value", {"justify": "right"}))
    for name, value in (payload["params"] | payload["stats"]).items():
        table.add_row(name, _number(value) if isinstance(value, int) else str(value))
    table.add_row("tag", _number(payload["tag"]))
    return Group(*_index_lines(payload), table)


def _index_lines(payload: ImportPayload | SnapshotPayload) -> tuple[Text, Text]:
    return (
        Text(payload["snapshot"], style=ACCENT),
        Text(
            f"  {payload['vectors']:,} vectors of {payload['dim']} dimensions, "
            f"{payload['metric']}, {payload['dtype']}; {size(payload['bytes'])}"
        ),
    )
