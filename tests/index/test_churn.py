"""What holds after the whole content was replaced ten times over, beside a fresh build of it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams
from llmspell.config import Quantization
from tests.index.vectors import clustered, recall, scores_of

LIVE, DIM, EF = 2_500, 32, 16
Change = Literal["upsert", "delete first", "insert first"]
CHANGES: tuple[Change, ...] = ("upsert", "delete first", "insert first")


class Churned:
    """An index whose vectors are replaced again and again, under old ids or under new ones."""

    def __init__(self, params: IndexParams) -> None:
        self.pool = clustered(2 * LIVE, DIM, 1)
        self.random = np.random.default_rng(0)
        self.index = Index(dim=DIM, metric="ip", params=params)
        self.ids = np.arange(LIVE)
        self.rows = np.arange(LIVE)  # of the pool, by position in ids
        self.index.add(self.ids, self.pool[:LIVE], threads=1)

    def replace(self, count: int, change: Change) -> None:
        at = self.random.choice(LIVE, count, replace=False)
        outside = np.setdiff1d(np.arange(len(self.pool)), self.rows)
        self.rows[at] = self.random.choice(outside, count, replace=False)
        old, vectors = self.ids[at].copy(), self.pool[self.rows[at]]
        if change == "upsert":
            self.index.upsert(old, vectors, threads=1)
            return
        self.ids[at] = self.ids.max() + 1 + np.arange(count)
        if change == "delete first":
            self.index.delete(old)
        self.index.add(self.ids[at], vectors, threads=1)
        if change == "insert first":
            self.index.delete(old)

    def vectors(self) -> NDArray[np.float32]:
        return self.pool[self.rows]


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
def test_content_replaced_ten_times_over_is_as_a_fresh_build(quantization: Quantization) -> None:
    params = IndexParams(m=8, ef_construction=60, quantization=quantization)
    churned = Churned(params)
    replaced = 0
    while replaced < 10 * LIVE:
        count = int(np.exp(churned.random.uniform(0, np.log(LIVE / 5))))
        churned.replace(count, CHANGES[churned.random.integers(3)])
        replaced += count
    worn, vectors = churned.index, churned.vectors()
    fresh = Index(dim=DIM, metric="ip", params=params)
    fresh.add(churned.ids, vectors, threads=1)
    assert len(worn) == len(fresh) == LIVE

    queries = clustered(2_000, DIM, 2)
    scores = scores_of("ip", queries, vectors)
    order = np.argsort(churned.ids)

    def recall_of(index: Index) -> float:
        found = index.search(queries, 10, ef_search=EF).ids
        return recall(order[np.searchsorted(churned.ids[order], found)], scores, 10)

    assert recall_of(worn) > recall_of(fresh) - 0.005
    # Of unit length, and none twice: each is its own nearest.
    assert (worn.search(vectors, 1).ids[:, 0] == churned.ids).all()
    for index in (worn, fresh):
        index.search(vectors[0], 10)
    assert worn.stats().memory.total < 1.1 * fresh.stats().memory.total


@pytest.mark.parametrize("change", CHANGES)
def test_room_follows_what_comes_and_goes(change: Change) -> None:
    churned = Churned(IndexParams(m=8, ef_construction=20))
    for _ in range(60):
        churned.replace(LIVE // 10, change)
        assert churned.index.stats().capacity < 1.1 * LIVE


def test_an_index_without_a_graph_keeps_no_room_that_it_does_not_need() -> None:
    churned = Churned(IndexParams(graph_threshold=1 << 32))
    for _ in range(20):
        churned.replace(LIVE // 10, "insert first")
        assert churned.index.stats().capacity < 1.1 * LIVE
    churned.index.delete(churned.ids[100:])
    assert churned.index.stats().capacity < 110
