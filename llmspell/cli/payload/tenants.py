"""What is printed of tenants, and what they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from llmspell import Tenant

__all__ = [
    "DroppedPayload",
    "QuotaPayload",
    "StatsPayload",
    "TenantListPayload",
    "TenantPayload",
    "UsagePayload",
    "tenant_payload",
]


class QuotaPayload(TypedDict):
    """Use of one quota; ``limit`` is null where there is none, and ``soft`` refuses nothing."""

    used: int
    limit: int | None
    soft: bool


class UsagePayload(TypedDict):
    """Use of every quota; ``storage`` is in bytes, ``cost`` in millionths."""

    documents: QuotaPayload
    vectors: QuotaPayload
    storage: QuotaPayload
    dimensions: QuotaPayload
    embeddings: QuotaPayload
    tokens: QuotaPayload
    cost: QuotaPayload
    api_calls: QuotaPayload
    queries: QuotaPayload


class TenantPayload(TypedDict):
    """A tenant; ``dim`` is null where it was created without.

    ``tenant show`` gives the dimension of the vectors then, once there are any, unless another
    process has the tenant open.
    """

    id: str
    name: str
    dim: int | None
    metric: str
    usage: UsagePayload


class TenantListPayload(TypedDict):
    """``llmspell tenant list``."""

    data: str
    tenants: list[TenantPayload]


class DroppedPayload(TypedDict):
    """``llmspell tenant drop``."""

    id: str
    dropped: bool


class StatsPayload(TypedDict):
    """``llmspell stats``."""

    data: str
    version: str
    bytes_on_disk: int
    tenants: list[TenantPayload]


def tenant_payload(room: Tenant, *, dim: int | None = None) -> TenantPayload:
    """The tenant behind ``room``, with its use of every quota; opens nothing.

    Args:
        dim: dimension of its vectors; that of its configuration where None.
    """
    from llmspell.quota import Quota

    usage, soft = room.usage(), room.config.quotas.soft

    def of(quota: Quota) -> QuotaPayload:
        part = usage.of(quota)
        return {"used": part.used, "limit": part.limit, "soft": quota.limit_name in soft}

    return {
        "id": room.config.id,
        "name": room.config.name or room.config.id,
        "dim": room.config.dim if dim is None else dim,
        "metric": room.config.metric,
        "usage": {
            "documents": of(Quota.DOCUMENTS),
            "vectors": of(Quota.VECTORS),
            "storage": of(Quota.STORAGE),
            "dimensions": of(Quota.DIMENSIONS),
            "embeddings": of(Quota.EMBEDDINGS),
            "tokens": of(Quota.TOKENS),
            "cost": of(Quota.COST),
            "api_calls": of(Quota.API_CALLS),
            "queries": of(Quota.QUERIES),
        },
    }
