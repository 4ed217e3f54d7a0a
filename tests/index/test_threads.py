"""Several Python threads on one index. What a race does to memory is looked for by TSan, in
tests/csrc/test_concurrency.cpp; here it is the GIL and what callers see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from llmspell import Index, IndexParams
from tests.index.vectors import clustered

GRAPH = IndexParams(m=6, ef_construction=60, graph_threshold=0)


def _together(*work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(one) for one in work]:
            future.result()


def test_searches_beside_changes_see_only_what_was_there() -> None:
    index = Index(dim=16, metric="ip", params=GRAPH)
    vectors = clustered(1_200, 16, 1)
    index.add(np.arange(600), vectors[:600])
    done = threading.Event()

    def change() -> None:
        try:
            for start in range(600, 1_200, 20):
                ids = np.arange(start, start + 20)
                index.add(ids, vectors[ids])
                index.delete(ids - 600)
        finally:
            done.set()

    def search() -> None:
        while not done.is_set():
            ids, scores = index.search(vectors[:20], 10)
            assert (ids >= 0).all()
            expected = np.einsum("qd,qkd->qk", vectors[:20], vectors[ids])
            np.testing.assert_allclose(scores, expected, atol=1e-5)
            assert len(index) >= 600

    _together(change, search, search)
    assert len(index) == 600
    assert index.search(vectors[600:], 1).ids[:, 0].tolist() == list(range(600, 1_200))


def test_changes_from_many_threads_all_count() -> None:
    index = Index(dim=8, params=GRAPH)
    vectors = clustered(800, 8, 1)

    def worker(start: int) -> Callable[[], None]:
        def work() -> None:
            for i in range(start, start + 200, 10):
                index.add(np.arange(i, i + 10), vectors[i : i + 10])
                index.upsert([i], vectors[i])
                assert index.delete([i + 9]) == 1

        return work

    _together(*(worker(start) for start in range(0, 800, 200)))
    assert len(index) == 720
    live = np.array([i for i in range(800) if i % 10 != 9])
    assert index.search(vectors[live], 1).ids[:, 0].tolist() == live.tolist()


def test_other_threads_run_python_while_vectors_are_added() -> None:
    """A build holds the index, not the GIL, and `len` waits for neither."""
    index = Index(dim=64, metric="ip", params=GRAPH)
    vectors = clustered(3_000, 64, 1)
    adding = threading.Thread(target=index.add, args=(np.arange(3_000), vectors))
    adding.start()
    turns = 0
    while adding.is_alive():
        assert len(index) in (0, 3_000)
        turns += 1
    adding.join()
    assert turns > 100
