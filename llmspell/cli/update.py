"""``llmspell tenant update``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell.cli.exits import WrongUsage
from llmspell.cli.limits import (
    CostOption,
    HardOption,
    LimitOption,
    SoftOption,
    StorageOption,
    changed,
)
from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

__all__ = ["update"]


def update(
    tenant: TenantArgument,
    data: DataOption,
    name: Annotated[str | None, typer.Option(help="Name for people; the id where empty.")] = None,
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
    hard: HardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a tenant's name or quotas, also while others serve it; what isn't given stays."""
    import llmspell
    from llmspell.cli.payload import tenant_payload

    given = {
        "max_documents": max_documents,
        "max_vectors": max_vectors,
        "max_storage_mb": max_storage_mb,
        "max_dimensions": max_dimensions,
        "max_embeddings_per_day": max_embeddings_per_day,
        "max_tokens_per_day": max_tokens_per_day,
        "max_cost_per_month": max_cost_per_month,
        "max_api_calls_per_minute": max_api_calls_per_minute,
        "max_queries_per_second": max_queries_per_second,
    }
    if name is None and not soft and not hard and not any(given.values()):
        raise WrongUsage("nothing to change is given; --help lists what can be")
    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        quotas = changed(database.tenant(tenant).config.quotas, given, soft, hard)
        database.update_tenant(tenant, name=name, quotas=quotas)
        payload = tenant_payload(database.tenant(tenant))
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import tenant_view

        out.show(tenant_view(payload))
