"""``llmspell scrub``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.exits import ExitCode
from llmspell.cli.options import DataOption, JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import existing, shared_quotas

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmspell import ScrubDamage, ScrubReport
    from llmspell.cli.payload import DamagePayload, ScrubbedTenantPayload, ScrubPayload

__all__ = ["scrub"]


def scrub(
    data: DataOption,
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Id of one; all where none is given.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="BYTES", help="Bytes a second to read at most."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write damaged snapshots of indexes anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read and check everything that is stored, while others serve it."""
    import llmspell

    out = Output(as_json=as_json)
    with llmspell.open(existing(data), shared_quotas=shared_quotas()) as database:
        if tenant is None:
            whole = database.scrub(rate=rate, repair=repair)
            payload = _payload(
                whole.tenants, whole.damages, whole.is_sound, whole.bytes_read, whole.seconds
            )
        else:
            one = database.scrub_tenant(tenant, rate=rate, repair=repair)
            payload = _payload([one], (), one.is_sound, one.bytes_read, one.seconds)
    out.result(payload)
    if not as_json:
        out.show(*_lines(payload))
    if not payload["sound"]:
        raise typer.Exit(ExitCode.STORAGE)


def _payload(
    reports: Sequence[ScrubReport],
    damages: Sequence[ScrubDamage],
    sound: bool,
    read: int,
    seconds: float,
) -> ScrubPayload:
    return {
        "sound": sound,
        "bytes": read,
        "seconds": seconds,
        "damages": list(map(_damage, damages)),
        "tenants": list(map(_tenant, reports)),
    }


def _tenant(report: ScrubReport) -> ScrubbedTenantPayload:
    return {
        "tenant": report.tenant_id,
        "records": report.records,
        "vectors": report.vectors,
        "documents": report.documents,
        "state_entries": report.state_entries,
        "log_entries": report.log_entries,
        "snapshots": report.snapshots,
        "bytes": report.bytes_read,
        "seconds": report.seconds,
        "recounted": report.is_recounted,
        "damages": list(map(_damage, report.damages)),
    }


def _damage(damage: ScrubDamage) -> DamagePayload:
    return {"where": damage.where, "what": damage.what, "repaired": damage.repaired}


def _lines(payload: ScrubPayload) -> list[RenderableType]:
    from rich.text import Text

    from llmspell.cli.render import duration, size

    lines = [_line("", damage) for damage in payload["damages"]]
    for tenant in payload["tenants"]:
        lines += [_line(f"{tenant['tenant']}: ", damage) for damage in tenant["damages"]]
    found = len(lines)
    records = sum(tenant["records"] for tenant in payload["tenants"])
    verdict = f"{found:,} damaged" if found else "nothing is damaged"
    lines.append(
        f"{len(payload['tenants']):,} tenants, {records:,} records, {size(payload['bytes'])} read "
        f"in {duration(payload['seconds'])}: {verdict}."
    )
    # As text: what is in brackets is not markup.
    return list(map(Text, lines))


def _line(of: str, damage: DamagePayload) -> str:
    end = " (repaired)" if damage["repaired"] else ""
    return f"{of}{damage['where']}: {damage['what']}{end}"
