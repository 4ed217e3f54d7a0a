"""The JSON documents that commands print with ``--json``.

Keys are stable: later releases may add some, and neither rename nor remove any. Times are in
seconds, sizes in bytes, unless a key says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from llmspell import Hit, Retrieved, Tenant
    from llmspell.tenancy import IngestReport

__all__ = [
    "AuditListPayload",
    "AuditProblemPayload",
    "AuditRecordPayload",
    "AuditReportPayload",
    "BenchPayload",
    "CheckPayload",
    "DoctorPayload",
    "DroppedPayload",
    "ExportPayload",
    "HitPayload",
    "ImportPayload",
    "ImportedPayload",
    "IngestPayload",
    "QuotaPayload",
    "SearchPayload",
    "SecretChangedPayload",
    "SecretKeyPayload",
    "SecretListPayload",
    "SecretNamePayload",
    "SecretPayload",
    "SnapshotPayload",
    "SnapshotTakenPayload",
    "StatsPayload",
    "TenantListPayload",
    "TenantPayload",
    "UsagePayload",
    "hit_payload",
    "ingest_payload",
    "tenant_payload",
]


class AuditRecordPayload(TypedDict):
    """One record of an audit log; times are in UTC, as the log has them."""

    seq: int
    time: str
    kind: str
    tenant: str | None
    subject: str
    outcome: str
    count: int
    until: str | None
    of: int | None
    batch: int | None
    details: dict[str, Any]
    hash: str


class AuditListPayload(TypedDict):
    """``llmspell audit show``."""

    records: list[AuditRecordPayload]


class AuditProblemPayload(TypedDict):
    """The first thing in an audit log that doesn't hold, and where."""

    reason: str
    message: str
    segment: str | None
    offset: int | None
    seq: int | None


class AuditReportPayload(TypedDict):
    """``llmspell audit verify``; ``head`` is the next anchor, of what holds."""

    sound: bool
    log: str
    first: int
    records: int
    segments: int
    bytes: int
    head: str | None
    torn: int
    uncounted: int
    notices: list[str]
    problem: AuditProblemPayload | None


class HitPayload(TypedDict):
    """One hit; ``text`` and ``metadata`` are as stored.

    ``distance`` is null where words are searched for, ``why`` where they aren't.
    """

    id: str | int
    score: float
    distance: float | None
    why: str | None
    text: str | None
    metadata: dict[str, Any]


class SearchPayload(TypedDict):
    """``llmspell search``."""

    tenant: str
    query: str
    k: int
    seconds: float
    mode: str
    hits: list[HitPayload]


class SecretNamePayload(TypedDict):
    """Whose secret it is, and its name; ``tenant`` is null for the deployment's."""

    tenant: str | None
    name: str


class SecretPayload(SecretNamePayload):
    """``llmspell secrets get``."""

    value: str


class SecretChangedPayload(SecretNamePayload):
    """``llmspell secrets set`` and ``delete``."""

    store: str


class SecretListPayload(TypedDict):
    """``llmspell secrets list``."""

    store: str
    secrets: list[SecretNamePayload]


class SecretKeyPayload(TypedDict):
    """``llmspell secrets rotate-key``; ``key`` is the id of the new key."""

    store: str
    key: str


class SecretDroppedKeysPayload(TypedDict):
    """``llmspell secrets drop-old-keys``; ``keys`` are the ids of those that are gone."""

    store: str
    keys: list[str]


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


class IngestPayload(TypedDict):
    """``llmspell ingest``: documents added, replaced, left as they were; sources passed over.

    ``chunks`` were embedded and written; ``kept`` are those of replaced documents that stayed.
    """

    tenant: str
    added: int
    replaced: int
    unchanged: int
    chunks: int
    kept: int
    skipped: list[str]
    seconds: float


class ExportPayload(TypedDict):
    """``llmspell export``; records include the chunks of documents."""

    tenant: str
    file: str
    records: int
    documents: int
    bytes: int
    seconds: float


class SnapshotTakenPayload(TypedDict):
    """``llmspell tenant snapshot``; records include the chunks of documents."""

    tenant: str
    target: str
    records: int
    documents: int
    bytes: int
    seconds: float


class DamagePayload(TypedDict):
    """One damage that ``llmspell scrub`` found."""

    where: str
    what: str
    repaired: bool


class ScrubbedTenantPayload(TypedDict):
    """A tenant in ``llmspell scrub``; records include the chunks of documents."""

    tenant: str
    records: int
    vectors: int
    documents: int
    state_entries: int
    log_entries: int
    snapshots: int
    bytes: int
    seconds: float
    recounted: bool
    damages: list[DamagePayload]


class ScrubPayload(TypedDict):
    """``llmspell scrub``; ``damages`` are those of the catalog and the ledger."""

    sound: bool
    bytes: int
    seconds: float
    damages: list[DamagePayload]
    tenants: list[ScrubbedTenantPayload]


class ImportedPayload(TypedDict):
    """``llmspell import``: what was written, and what was there or had expired."""

    tenant: str
    file: str
    records: int
    documents: int
    skipped: int
    expired: int
    bytes: int
    seconds: float


class StatsPayload(TypedDict):
    """``llmspell stats``."""

    data: str
    version: str
    bytes_on_disk: int
    tenants: list[TenantPayload]


class CheckPayload(TypedDict):
    """One line of ``llmspell doctor``; ``status`` is "ok", "warning" or "broken"."""

    name: str
    status: str
    detail: str


class DoctorPayload(TypedDict):
    """``llmspell doctor``; ``healthy`` is false where a check is "broken"."""

    healthy: bool
    checks: list[CheckPayload]


class BenchPayload(TypedDict):
    """``llmspell bench``; ``recall`` is the share of the exact top k that was found."""

    source: str
    vectors: int
    dim: int
    metric: str
    queries: int
    k: int
    ef_search: int
    simd_level: str
    cpu: str
    build_seconds: float
    search_p50_us: float
    search_p99_us: float
    exact_p50_us: float
    recall: float


class ImportPayload(TypedDict):
    """``llmspell index import``: what was read, and the index that was made of it.

    ``recall`` is the share of the exact ``k`` nearest others of ``queries`` vectors of the file
    that the index finds; null where the file has fewer than two.
    """

    file: str
    format: str
    kind: str
    file_dtype: str
    deleted: int
    vectors: int
    dim: int
    metric: str
    dtype: str
    build_seconds: float
    k: int
    queries: int
    recall: float | None
    snapshot: str
    bytes: int


class SnapshotPayload(TypedDict):
    """``llmspell index info``; ``params`` are those of the Index, ``stats`` its figures."""

    snapshot: str
    bytes: int
    vectors: int
    dim: int
    metric: str
    dtype: str
    tag: int
    params: dict[str, Any]
    stats: dict[str, int]


def hit_payload(hit: Hit) -> HitPayload:
    """``hit`` as it appears in JSON."""
    return {
        "id": hit.id,
        "score": float(hit.score),
        "distance": float(hit.distance),
        "why": None,
        "text": hit.text,
        "metadata": dict(hit.metadata),
    }


def retrieved_payload(hit: Retrieved) -> HitPayload:
    """``hit`` as it appears in JSON."""
    return {
        "id": hit.id,
        "score": hit.score,
        "distance": None,
        "why": hit.why,
        "text": hit.text,
        "metadata": hit.metadata,
    }


def ingest_payload(tenant: str, report: IngestReport) -> IngestPayload:
    """``report`` as it appears in JSON."""
    return {
        "tenant": tenant,
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "chunks": report.chunks,
        "kept": report.kept,
        "skipped": list(report.skipped),
        "seconds": report.seconds,
    }


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
