"""``llmspell tenant snapshot``, ``restore`` and ``clone``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payload import SnapshotTakenPayload

__all__ = ["clone", "restore", "snapshot"]

NameOption = Annotated[str | None, typer.Option("--name", help="Another name for people.")]


def snapshot(
    tenant: TenantArgument,
    target: Annotated[
        Path,
        typer.Argument(metavar="TARGET", help="A file that ends in .tar, or a directory to be."),
    ],
    data: DataOption,
    as_json: JsonOption = False,
) -> None:
    """Copy all that a tenant is, as it is at one moment, to restore it from."""
    import llmspell

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        report = database.snapshot_tenant(tenant, target)
    payload: SnapshotTakenPayload = {
        "tenant": tenant,
        "target": str(target),
        "records": report.records,
        "documents": report.documents,
        "bytes": report.bytes,
        "seconds": report.seconds,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import snapshot_taken_view

        out.show(snapshot_taken_view(payload))


def restore(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", exists=True, help="What snapshot wrote.")
    ],
    data: DataOption,
    tenant: Annotated[
        str | None, typer.Option("--as", metavar="TENANT", help="Its id; the one it had otherwise.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in place of a tenant of that id.")
    ] = False,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a tenant of a snapshot, once all of it is verified."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    out = Output(as_json=as_json)
    with llmspell.open(data, shared_quotas=shared_quotas(), audit=audit_log()) as database:
        restored = database.restore_tenant(source, tenant_id=tenant, replace=replace, name=name)
        payload = tenant_payload(restored)
    out.result(payload)
    held = payload["usage"]["vectors"]["used"]
    out.show(f"Restored {held:,} records as tenant {payload['id']!r} from {source}.")


def clone(
    tenant: TenantArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Id of the clone.")],
    data: DataOption,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a tenant that holds what another holds at this moment."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        payload = tenant_payload(database.clone_tenant(tenant, new, name=name))
    out.result(payload)
    held = payload["usage"]["vectors"]["used"]
    out.show(f"Cloned {held:,} records of tenant {tenant!r} as {new!r}.")
