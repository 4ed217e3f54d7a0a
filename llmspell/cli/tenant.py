"""``llmspell tenant``: create, list, show, update, copy and drop tenants."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli import tenant_copies
from llmspell.cli.exits import WrongUsage
from llmspell.cli.limits import CostOption, LimitOption, SoftOption, StorageOption, changed
from llmspell.cli.options import DataOption, JsonOption, PresetOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas
from llmspell.cli.update import update

if TYPE_CHECKING:
    from llmspell import Tenant
    from llmspell.cli.payload import DroppedPayload, TenantListPayload

__all__ = ["app"]

app = typer.Typer(help="Create, list, show, update, copy and drop tenants.")
app.command("snapshot")(tenant_copies.snapshot)
app.command("restore")(tenant_copies.restore)
app.command("clone")(tenant_copies.clone)


class _Metric(enum.StrEnum):
    COSINE = "cosine"
    IP = "ip"
    L2 = "l2"


@app.command("create")
def create(
    tenant: TenantArgument,
    data: DataOption,
    name: Annotated[str, typer.Option(help="Name for people; the id where empty.")] = "",
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimension; that of the first vectors otherwise.")
    ] = None,
    metric: Annotated[_Metric, typer.Option(help="How vectors are compared.")] = _Metric.COSINE,
    preset: PresetOption = "balanced",
    max_documents: LimitOption = None,
    max_vectors: LimitOption = None,
    max_storage_mb: StorageOption = None,
    max_dimensions: LimitOption = None,
    max_embeddings_per_day: LimitOption = None,
    max_tokens_per_day: LimitOption = None,
    max_cost_per_month: CostOption = None,
    max_api_calls_per_minute: LimitOption = None,
    max_queries_per_second: LimitOption = None,
    soft: SoftOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a tenant. Quotas that aren't given have the defaults of QuotaLimits."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    config = llmspell.TenantConfig(
        id=tenant,
        name=name,
        dim=dim,
        metric=metric.value,
        index=getattr(llmspell.IndexParams, preset)(),
        quotas=changed(
            llmspell.QuotaLimits(),
            {
                "max_documents": max_documents,
                "max_vectors": max_vectors,
                "max_storage_mb": max_storage_mb,
                "max_dimensions": max_dimensions,
                "max_embeddings_per_day": max_embeddings_per_day,
                "max_tokens_per_day": max_tokens_per_day,
                "max_cost_per_month": max_cost_per_month,
                "max_api_calls_per_minute": max_api_calls_per_minute,
                "max_queries_per_second": max_queries_per_second,
            },
            soft,
        ),
    )
    out = Output(as_json=as_json)
    with llmspell.open(data, shared_quotas=shared_quotas(), audit=audit_log()) as database:
        payload = tenant_payload(database.create_tenant(config))
    out.result(payload)
    if not as_json:
        out.show(f"Created tenant {tenant!r} in {data}. Next: llmspell ingest {tenant} FOLDER")


@app.command("list")
def list_tenants(data: DataOption, as_json: JsonOption = False) -> None:
    """List the tenants of a data directory."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        payload: TenantListPayload = {
            "data": str(data),
            "tenants": [tenant_payload(database.tenant(info.id)) for info in database.tenants()],
        }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import tenants_view

        out.show(tenants_view(payload["tenants"]))


@app.command("show")
def show(tenant: TenantArgument, data: DataOption, as_json: JsonOption = False) -> None:
    """Show one tenant: its settings and its use of every quota."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log(), lock_timeout=0
    ) as database:
        room = database.tenant(tenant)
        payload = tenant_payload(room, dim=_settled_dim(room))
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import tenant_view

        out.show(tenant_view(payload))


app.command("update")(update)


@app.command("drop")
def drop(
    tenant: TenantArgument,
    data: DataOption,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a tenant and everything that it holds."""
    import llmspell

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        database.tenant(tenant)
        if not yes and not _confirmed(tenant, can_ask=sys.stdin.isatty() and not as_json):
            raise typer.Exit(1)
        database.drop_tenant(tenant)
    payload: DroppedPayload = {"id": tenant, "dropped": True}
    out.result(payload)
    out.show(f"Dropped tenant {tenant!r} and all of its data.")


def _settled_dim(room: Tenant) -> int | None:
    """Dimension of its vectors, for which the tenant opens where it was created without."""
    return room.dim if room.config.dim is None else room.config.dim


def _confirmed(tenant: str, *, can_ask: bool) -> bool:
    if not can_ask:
        raise WrongUsage(f"dropping {tenant!r} deletes its data; say --yes")
    return typer.confirm(f"Delete tenant {tenant!r} and all of its data?")
