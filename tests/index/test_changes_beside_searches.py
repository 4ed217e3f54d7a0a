"""Inserts and deletes from many threads beside searches: what was answered holds from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from llmspell import Index, IndexParams
from tests.index.vectors import clustered

PARAMS = {
    "graph": IndexParams(m=8, graph_threshold=0),
    "coded": IndexParams(m=8, graph_threshold=0, quantization="pq"),
    "rounded": IndexParams(m=8, graph_threshold=0, quantization="sq4"),
    "small": IndexParams(m=8, graph_threshold=1_500),  # the graph comes and goes
}
STAYING, CHANGING, WRITERS = 1_000, 400, 3
VECTORS = clustered(STAYING + WRITERS * CHANGING, 24, 1)


def _run_all(*works: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("params", PARAMS)
def test_what_is_added_is_found_at_once_and_what_is_deleted_is_not(params: str) -> None:
    index = Index(dim=24, metric="ip", params=PARAMS[params])
    index.add(np.arange(STAYING), VECTORS[:STAYING])
    done = threading.Event()

    def write(first: int) -> None:
        for turn in range(3):
            for start in range(first, first + CHANGING, 20):
                own = np.arange(start, start + 20)
                index.upsert(own, VECTORS[own])
                assert index.search(VECTORS[own], 1).ids[:, 0].tolist() == own.tolist()
                if turn < 2:
                    assert index.delete(own) == 20
                    assert not np.isin(index.search(VECTORS[own], 10).ids, own).any()

    def search() -> None:
        staying = np.arange(0, STAYING, 7)
        while not done.is_set():
            found = index.search(VECTORS[staying], 1)
            assert found.ids[:, 0].tolist() == staying.tolist()

    def compact() -> None:
        while not done.is_set():
            index.compact()
            done.wait(0.02)

    def write_all() -> None:
        try:
            firsts = [STAYING + i * CHANGING for i in range(WRITERS)]
            _run_all(*[lambda first=first: write(first) for first in firsts])
        finally:
            done.set()

    _run_all(write_all, search, compact)
    assert len(index) == len(VECTORS)
    assert index.search(VECTORS, 1).ids[:, 0].tolist() == list(range(len(VECTORS)))
    audit = index.audit()
    assert audit.sound
    assert audit.lost == ()
