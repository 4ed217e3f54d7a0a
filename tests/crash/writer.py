"""A writer that is to be killed: it writes batches that tell from their content what they are.

Usage: ``python -m tests.crash.writer DATA FIRST``; prints a line before each batch and one when it
is acknowledged. Batch n is chosen by a generator seeded with n, so that the test can repeat it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig
from llmspell.storage import view
from llmspell.tenancy import Chunk, SplitDocument
from llmspell.tenancy.target import Target

DIM = 12
IDS = 120
DOCUMENTS = 6
# Below the graph's threshold answers are exact, and can be compared to a sweep.
CONFIG = TenantConfig(id="crash", metric="ip", quotas=QuotaLimits.unlimited())


@dataclass(frozen=True)
class Batch:
    """What batch ``number`` does: an upsert, a delete or a document."""

    number: int
    kind: str
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]

    @property
    def text(self) -> str:
        """Text of every record that the batch writes."""
        return f"batch {self.number}"


def batch(number: int) -> Batch:
    """The batch of a number."""
    rng = np.random.default_rng(number)
    kind = rng.choice(["upsert", "upsert", "upsert", "delete", "document"])
    size = int(rng.integers(1, 25))
    vectors = rng.standard_normal((size, DIM)).astype(np.float32)
    if kind == "document":
        name = f"doc{rng.integers(DOCUMENTS)}"
        return Batch(number, kind, tuple(f"{name}#{i}" for i in range(size)), vectors)
    chosen = rng.choice(IDS, size, replace=False)
    return Batch(number, str(kind), tuple(f"r{i}" for i in chosen), vectors)


def perform(tenant: Tenant, one: Batch) -> None:
    """Write a batch through the tenant's handle."""
    if one.kind == "upsert":
        marks = [{"batch": one.number}] * len(one.ids)
        tenant.upsert(one.ids, one.vectors, marks, [one.text] * len(one.ids))
    elif one.kind == "delete":
        tenant.delete(one.ids)
    else:
        name = one.ids[0].split("#")[0]
        chunks = [Chunk(one.text, i, i + 1) for i in range(len(one.ids))]
        Target(tenant._residence, tenant._enter).put_documents(
            [SplitDocument(name, str(one.number).encode(), {"batch": one.number}, chunks)],
            lambda _: one.vectors,
        )


def main(data: str, first: int) -> None:
    """Write until killed."""
    # Often, so that kills fall into snapshots and trims as well.
    view.SNAPSHOT_ROWS = 60
    database = llmspell.open(data)
    tenant = database.tenant(CONFIG.id)
    number = first
    while True:
        print(f"begin {number}", flush=True)
        perform(tenant, batch(number))
        print(f"done {number}", flush=True)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
