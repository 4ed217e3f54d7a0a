"""`Index.compact`: at once, beside searches, and again where it was stopped."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from llmspell import CancelToken, Index, IndexParams, errors
from tests.index.vectors import clustered

PARAMS = {
    "flat": IndexParams(graph_threshold=1 << 30),
    "graph": IndexParams(m=8, graph_threshold=0),
    "coded": IndexParams(m=8, graph_threshold=0, quantization="pq"),
    "rounded": IndexParams(m=8, graph_threshold=0, quantization="sq4"),
}
VECTORS = clustered(2_000, 24, 1)


def _half_deleted(params: str, count: int) -> Index:
    index = Index(dim=24, metric="ip", params=PARAMS[params])
    index.add(np.arange(2_000), VECTORS)
    index.delete(np.arange(count))
    return index


@pytest.mark.parametrize("params", PARAMS)
def test_memory_comes_back_and_every_vector_is_found(params: str) -> None:
    index = _half_deleted(params, 30)  # too few for the index to do it itself
    index.compact()
    stats = index.stats()
    assert (stats.live, stats.deleted, stats.slots, stats.capacity) == (1_970, 0, 1_970, 1_970)
    assert index.search(VECTORS[30:], 1).ids[:, 0].tolist() == list(range(30, 2_000))
    index.add([5_000], VECTORS[0])
    assert index.search(VECTORS[0], 1).ids.tolist() == [5_000]


def test_one_that_is_stopped_keeps_every_vector_and_the_next_one_ends_it() -> None:
    index = _half_deleted("graph", 30)
    token = CancelToken()
    token.cancel()
    with pytest.raises(errors.SearchCancelled):
        index.compact(cancel=token)
    with pytest.raises(errors.SearchTimeout):
        index.compact(timeout=0)
    assert index.search(VECTORS[30:60], 1).ids[:, 0].tolist() == list(range(30, 60))
    index.compact()
    assert index.stats().deleted == 0
    assert index.audit().sound


@pytest.mark.parametrize("params", ["graph", "coded", "rounded"])
def test_wherever_it_is_stopped_the_index_is_sound(params: str) -> None:
    index = _half_deleted(params, 30)
    stopped, timeout = 0, 1e-5
    while True:
        try:
            index.compact(timeout=timeout)
            break
        except errors.SearchTimeout:
            stopped += 1
            timeout *= 1.3
        assert index.search(VECTORS[30:], 1).ids[:, 0].tolist() == list(range(30, 2_000))
    assert stopped > 1
    assert index.stats().deleted == 0
    assert index.audit().sound
    assert index.search(VECTORS[30:], 1).ids[:, 0].tolist() == list(range(30, 2_000))


def test_an_empty_index_can_be_compacted() -> None:
    index = Index(dim=24)
    index.compact()
    assert len(index) == 0


@pytest.mark.parametrize("params", PARAMS)
def test_searches_and_changes_go_on_beside_it(params: str) -> None:
    index = _half_deleted(params, 30)
    done = threading.Event()

    def compact() -> None:
        while not done.is_set():
            index.compact()

    compacting = threading.Thread(target=compact)
    compacting.start()
    try:
        for start in range(100, 400, 20):
            gone = np.arange(start, start + 20)
            assert index.delete(gone) == 20
            assert not np.isin(index.search(VECTORS[gone], 10).ids, gone).any()
            index.upsert(gone, VECTORS[gone])
            assert index.search(VECTORS[gone], 1).ids[:, 0].tolist() == gone.tolist()
    finally:
        done.set()
        compacting.join()
    assert len(index) == 1_970
    assert index.search(VECTORS[30:], 1).ids[:, 0].tolist() == list(range(30, 2_000))
