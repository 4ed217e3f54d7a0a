"""``llmspell export`` and ``llmspell import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmspell.cli.exits import Interrupted
from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payload import ExportPayload, ImportedPayload

__all__ = ["export", "import_from"]


def export(
    tenant: TenantArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="Where to write; replaced.")
    ],
    data: DataOption,
    as_json: JsonOption = False,
) -> None:
    """Write all records and documents of a tenant, as they are at one moment, to a file."""
    import llmspell

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        report = database.tenant(tenant).export(file)
    payload: ExportPayload = {
        "tenant": tenant,
        "file": str(file),
        "records": report.records,
        "documents": report.documents,
        "bytes": report.bytes,
        "seconds": report.seconds,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import export_view

        out.show(export_view(payload))


def import_from(
    tenant: TenantArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What export wrote."),
    ],
    data: DataOption,
    on_conflict: Annotated[
        Literal["error", "replace", "skip"],
        typer.Option("--on-conflict", help="What to do with ids that are there already."),
    ] = "error",
    as_json: JsonOption = False,
) -> None:
    """Put the records and documents of an export into a tenant.

    The file is checked whole before anything is written.
    """
    import llmspell

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        room = database.tenant(tenant)
        try:
            report = room.import_from(file, on_conflict=on_conflict)
        except KeyboardInterrupt:
            raise Interrupted(
                "stopped; what is written stays, and --on-conflict skip goes on from there"
            ) from None
    payload: ImportedPayload = {
        "tenant": tenant,
        "file": str(file),
        "records": report.records,
        "documents": report.documents,
        "skipped": report.skipped,
        "expired": report.expired,
        "bytes": report.bytes,
        "seconds": report.seconds,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import imported_view

        out.show(imported_view(payload))
