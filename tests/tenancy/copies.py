"""Snapshots taken and read back, and whether two tenants are the same."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, Usage
from tests.tenancy.transfers import content, lines, vectors

DIM = 16
LEVELS = ("documents", "vectors", "storage", "dimensions")


def rows(count: int) -> np.ndarray:
    return vectors(count, DIM)


def filled(db: Database, tenant_id: str = "acme", *, count: int = 200, **settings: Any) -> Tenant:
    """A tenant with records, a document, something that was deleted, and snapshots of its views."""
    given = {"quotas": QuotaLimits.unlimited(), **settings}
    tenant = db.create_tenant(TenantConfig(id=tenant_id, **given))
    tenant.upsert(range(count), rows(count), [{"n": i} for i in range(count)])
    tenant.upsert(["a"], rows(1), [{"n": -1}], ["a text"], ttl=10_000)
    tenant.ingest(lines("doc", 5))
    tenant.delete(range(10, 20))
    found(tenant, {"n": {"$lt": 9}})
    tenant.close()
    tenant = db.tenant(tenant_id)
    tenant.upsert([count + 1], rows(1), [{"n": count + 1}])
    return tenant


def found(tenant: Tenant, condition: dict[str, Any] | None = None) -> list[tuple[Any, float]]:
    query = np.linspace(-1.0, 2.0, DIM, dtype=np.float32)
    return [(hit.id, hit.score) for hit in tenant.search(query, k=300, filter=condition)]


def levels(usage: Usage) -> list[int]:
    return [getattr(usage, name).used for name in LEVELS]


def recount(tenant: Tenant) -> list[int]:
    store = tenant._enter().store
    counters = store.counters()
    records = list(store.records())
    with store.moment() as moment:
        documents = sum(1 for _ in moment.documents())
    return [documents, len(records), sum(record.storage for record in records), counters.dim]


def same(one: Tenant, other: Tenant) -> None:
    """Both hold the same, find the same, and have what they hold counted."""
    assert content(one) == content(other)
    for condition in (None, {"n": {"$gte": 150}}):
        assert found(one, condition) == found(other, condition)
    assert levels(one.usage()) == levels(other.usage()) == recount(other)


def packed(tenant: Tenant) -> bytes:
    file = io.BytesIO()
    report = tenant.snapshot(file)
    assert report.records == tenant.count()
    return file.getvalue()


def members(raw: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as file:
        return {one.name: file.extractfile(one).read() for one in file}  # type: ignore[union-attr]


def repacked(files: dict[str, bytes], *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar file of some files, and of others that are put before the last of them."""
    into = io.BytesIO()
    *first, last = files.items()
    with tarfile.open(fileobj=into, mode="w", format=tarfile.GNU_FORMAT) as file:
        for name, content in first:
            file.addfile(_header(name, content), io.BytesIO(content))
        for header, content in more:
            file.addfile(header, io.BytesIO(content))
        file.addfile(_header(*last), io.BytesIO(last[1]))
    return into.getvalue()


def _header(name: str, content: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header


def tree(db: Database) -> list[str]:
    """What lies in a data directory, without what any restoring leaves there, and whose data."""
    found = [*db.path.iterdir(), *db.path.glob("tenants/*/*")]
    return sorted(str(path) for path in found if path.name not in ("staging", "staging.lock"))


def nothing_is_left(db: Database, before: list[str], slots: int) -> None:
    assert tree(db) == before
    assert not list(Path(db.path, "staging").iterdir())
    assert len(db._registry.ledger) == slots
