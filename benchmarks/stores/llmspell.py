"""llmspell: a tenant's upsert; the variant is what the database is opened with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import llmspell
from benchmarks.stores.base import FloatMatrix, Store, StoreSetup
from llmspell import QuotaLimits, TenantConfig
from llmspell.config import Metric

_Durability = Literal["sync", "batch", "async"]

DISTRIBUTION = "llmspell"
DURABLE = "upsert of a tenant; batch and async commit later, all of it once more at the end"
VARIANTS: tuple[str, ...] = get_args(_Durability)


def make(setup: StoreSetup, variant: str) -> Store:
    """A tenant whose quotas are checked and never reached."""
    return _Llmspell(setup, cast(_Durability, variant))


class _Llmspell:
    def __init__(self, setup: StoreSetup, durability: _Durability) -> None:
        self._db = llmspell.open(setup.scratch + "/db", durability=durability)
        limits = QuotaLimits(
            max_documents=1 << 30,
            max_vectors=1 << 30,
            max_storage_mb=1 << 20,
            max_api_calls_per_minute=1 << 30,
            max_queries_per_second=1 << 30,
            max_embeddings_per_day=1 << 30,
        )
        metric = cast(Metric, setup.metric)
        config = TenantConfig(id="bench", metric=metric, quotas=limits)
        self._tenant = self._db.create_tenant(config)

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> tuple[list[str], FloatMatrix]:
        return [str(number) for number in ids], vectors

    def insert(self, records: tuple[list[str], FloatMatrix]) -> None:
        self._tenant.upsert(*records)

    def finish(self) -> None:
        self._db.flush()

    def count(self) -> int:
        return self._tenant.count()
