"""`Index.audit`: what it finds, what it mends, and who may work meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors
from llmspell.config import Quantization
from tests.index.vectors import clustered

QUANTIZATIONS: tuple[Quantization, ...] = ("none", "pq", "sq4")


def _index(n: int, **settings: Any) -> Index:
    params = {"m": 6, "ef_construction": 40, "ef_search": 30, "graph_threshold": 0, **settings}
    index = Index(dim=16, metric="l2", params=IndexParams(**params))
    index.add(np.arange(n), clustered(n, 16, 1), threads=1)
    return index


def _copies() -> Index:
    """More copies of one vector than a search holds, and others among them that it misses."""
    vectors = np.concatenate([np.repeat(clustered(1, 16, 3), 1_000, axis=0), clustered(500, 16)])
    vectors = vectors[np.random.default_rng(0).permutation(len(vectors))]
    params = IndexParams(m=4, ef_construction=8, ef_search=4, graph_threshold=0)
    index = Index(dim=16, metric="ip", params=params)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return index


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_sound_index_has_nothing_to_mend(quantization: Quantization) -> None:
    index = _index(2_000, quantization=quantization)
    index.delete(np.arange(0, 2_000, 3))
    audit = index.audit(sample=None, repair=True)
    assert audit.sound
    assert not audit.faults
    assert audit.live == audit.checked == len(index)
    assert audit.lost == ()
    assert audit.recall is not None
    assert 0.8 < audit.recall <= 1
    assert audit.repairs is not None
    assert (audit.repairs.dropped_links, audit.repairs.added_links) == (0, 0)
    assert index.audit().upper_unreachable == 0


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_vectors_that_do_not_find_themselves_are_led_to(quantization: Quantization) -> None:
    vectors = clustered(3_000, 16, 1)
    params = IndexParams(
        m=6, max_neighbors=12, ef_construction=8, ef_search=4, quantization=quantization
    )
    index = Index(dim=16, metric="l2", params=params)
    index.add(np.arange(3_000), vectors, threads=1)
    before = index.audit(sample=None)
    assert before.lost
    assert not before.sound
    assert before.repairs is None
    lost = np.array(before.lost)
    assert (index.search(vectors[lost], 1).ids[:, 0] != lost).all()
    repairs = index.audit(sample=None, repair=True).repairs
    assert repairs is not None
    assert repairs.added_links > 0
    assert len(repairs.lost) < len(lost) / 4
    found = index.search(vectors[lost], 1).ids[:, 0]
    assert set(lost[found != lost].tolist()) == set(repairs.lost)


def test_lost_vectors_among_copies_are_named() -> None:
    audit = _copies().audit(sample=None)
    assert audit.checked == 1_500
    assert len(set(audit.lost)) == len(audit.lost)


def test_a_sample_is_drawn_by_its_seed() -> None:
    index = _index(1_000, m=2, max_neighbors=2, ef_construction=4, ef_search=1)
    first, again, other = (index.audit(sample=100, seed=seed) for seed in (1, 1, 2))
    assert first.checked == other.checked == 100
    assert first == again
    assert set(first.lost) != set(other.lost)
    assert index.audit(sample=5_000).checked == 1_000


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_an_index_without_a_graph_is_sound(n: int) -> None:
    audit = _index(n, graph_threshold=100).audit(sample=None, repair=True)
    assert audit.sound
    assert audit.checked == n
    assert audit.recall == (None if n == 0 else 1.0)


@pytest.mark.parametrize("sample", [0, -1, 1.5, "all"])
def test_a_sample_that_is_none_is_refused(sample: Any) -> None:
    with pytest.raises(errors.InputError, match="sample must be"):
        _index(10).audit(sample=sample)


def test_searches_and_changes_go_on_during_an_audit() -> None:
    index = _index(3_000)
    vectors = clustered(3_000, 16, 1)
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(step: int) -> None:
        try:
            while not stop.is_set():
                if step == 0:
                    assert len(index.search(vectors[5], 10).ids) == 10
                else:
                    index.upsert(np.arange(20), vectors[:20])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(step,)) for step in range(2)]
    for thread in threads:
        thread.start()
    audits = [index.audit(sample=None, repair=True, threads=2) for _ in range(3)]
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not any(audit.faults for audit in audits)
    assert index.audit(sample=None).sound
