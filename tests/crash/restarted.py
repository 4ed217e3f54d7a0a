"""A process that asks a tenant everything, ends one way or another, and one that asks it again.

Usage: ``python -m tests.crash.restarted DATA KIND END``: END "close" or "kill" makes the tenant of
an index of that KIND first, "ask" opens it. Prints the answers as JSON before it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from typing import Any

import numpy as np

import llmspell
from llmspell import IndexParams, QuotaLimits, Tenant, TenantConfig

DIM = 48
COUNT = 1_500
KINDS = {
    "flat": IndexParams(graph_threshold=1 << 30),
    "graph": IndexParams(m=8, ef_construction=60, graph_threshold=100),
    "pq": IndexParams(m=8, ef_construction=60, graph_threshold=100, quantization="pq"),
    "sq4": IndexParams(m=8, ef_construction=60, graph_threshold=100, quantization="sq4"),
}


def data(seed: int, count: int) -> np.ndarray:
    """Vectors that vary in few directions, so that codes tell them apart."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(0).standard_normal((12, DIM))
    noise = 0.05 * rng.standard_normal((count, DIM))
    return (rng.standard_normal((count, 12)) @ axes + noise).astype(np.float32)


def fill(tenant: Tenant) -> None:
    """Batches in turn, records replaced and deleted among them."""
    vectors = data(1, COUNT)
    for first in range(0, COUNT, 100):
        ids = range(first, first + 100)
        tenant.upsert(ids, vectors[first : first + 100], [{"n": i % 7} for i in ids])
    again = range(0, COUNT, 10)
    tenant.upsert(again, data(2, len(again)), [{"n": 9}] * len(again))
    tenant.delete(range(5, COUNT, 25))  # type: ignore[arg-type]
    tenant.upsert("last", data(3, 1)[0], {"n": 1}, "last", ttl=3_600)


def ask(tenant: Tenant) -> dict[str, Any]:
    """Everything that a tenant answers; scores bit for bit."""

    def found(condition: dict[str, Any] | None, ef_search: int | None = None) -> list[Any]:
        return [
            [[hit.id, hit.score.hex()] for hit in hits]
            for hits in tenant.search(data(4, 25), k=10, filter=condition, ef_search=ef_search)
        ]

    def scanned() -> str:
        digest = hashlib.sha256()
        for record in tenant.scan(limit=100_000).records:
            times = record.created_at, record.updated_at, record.expires_at
            digest.update(record.vector.tobytes())
            digest.update(repr((record.id, record.text, record.metadata, times)).encode())
        return digest.hexdigest()

    used = tenant.usage()
    return {
        "search": found(None),
        "narrow search": found(None, ef_search=10),
        "filter": found({"n": {"$in": [3, 9]}}),
        "count": tenant.count(),
        "scan": scanned(),
        "usage": [used.documents.used, used.vectors.used, used.storage.used, used.dimensions.used],
    }


def main(path: str, kind: str, end: str) -> None:
    with llmspell.open(path) as database:
        if end == "ask":
            tenant = database.tenant("acme")
        else:
            quotas = QuotaLimits.unlimited()
            config = TenantConfig(id="acme", metric="ip", quotas=quotas, index=KINDS[kind])
            tenant = database.create_tenant(config)
            fill(tenant)
            index = tenant._enter().index
            assert index is not None
            memory = index.stats().memory
            assert (memory.codes + memory.refined_codes > 0) == (kind in ("pq", "sq4"))
        print(json.dumps(ask(tenant)), flush=True)
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
