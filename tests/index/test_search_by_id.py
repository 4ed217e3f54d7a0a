"""Search by a stored id: as `search` with the vector that `get` gives, less that vector itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import METRICS, TYPES, clustered

N = 2_500
PARAMS = {
    "flat": IndexParams(graph_threshold=1 << 30),
    "graph": IndexParams(m=8, graph_threshold=0),
    "coded": IndexParams(m=8, graph_threshold=0, quantization="pq"),
    "rounded": IndexParams(m=8, graph_threshold=0, quantization="sq4"),
}


def _index(kind: str, metric: Metric = "ip", dtype: ElementType = "float32") -> Index:
    index = Index(dim=24, metric=metric, dtype=dtype, params=PARAMS[kind])
    index.add(np.arange(N), clustered(N, 24, 1))
    return index


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_results_are_those_of_a_search_with_the_stored_vector(
    metric: Metric, dtype: ElementType, kind: str
) -> None:
    index = _index(kind, metric, dtype)
    ids = np.arange(0, N, 100)
    expected = index.search(index.get(ids), 8)
    found = index.search_by_id(ids, 8, include_self=True)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("kind", PARAMS)
def test_a_vector_is_not_among_its_own_results(kind: str) -> None:
    index = _index(kind)
    ids = np.arange(0, N, 50)
    wider = index.search_by_id(ids, 11, include_self=True)
    found = index.search_by_id(ids, 10)
    assert (wider.ids[:, 0] == ids).all()  # of unit length: each is nearest to itself
    np.testing.assert_array_equal(found.ids, wider.ids[:, 1:])
    np.testing.assert_array_equal(found.scores, wider.scores[:, 1:])


def test_copies_under_other_ids_stay() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2, 3], [[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    assert index.search_by_id(1, 1).ids.tolist() == [2]
    assert index.search_by_id(2, 1).ids.tolist() == [1]


def test_one_id_gets_one_row_and_several_a_row_each() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2, 3], [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    assert index.search_by_id(1, 5).ids.tolist() == [2, 3]
    assert index.search_by_id(np.int64(3), 5).ids.tolist() == [2, 1]
    assert index.search_by_id([1], 5).ids.tolist() == [[2, 3, -1, -1, -1]]
    assert index.search_by_id([2, 3], 2).ids.tolist() == [[1, 3], [2, 1]]
    assert index.search_by_id([], 2).ids.shape == (0, 2)


def test_threads_give_the_same_as_one() -> None:
    index = _index("graph")
    one, three = (index.search_by_id(np.arange(100), 5, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.ids, three.ids)


@pytest.mark.parametrize("kind", PARAMS)
def test_filter_and_threshold_act_as_in_a_search(kind: str) -> None:
    index = _index(kind)
    even = np.arange(0, N, 2)
    found = index.search_by_id(10, 6, filter=even)
    assert (found.ids % 2 == 0).all()
    assert 10 not in found.ids
    assert len(found.ids) == 6
    assert 11 not in index.search_by_id(11, 6, filter=even, include_self=True).ids
    limit = float(found.scores[2])
    kept = index.search_by_id(10, 6, filter=even, threshold=limit)
    assert kept.ids.tolist() == found.ids[found.scores >= limit].tolist()


def test_all_others_come_when_k_is_the_size() -> None:
    index = _index("graph")
    found = index.search_by_id(7, N)
    assert sorted(found.ids.tolist()) == [id for id in range(N) if id != 7]


def test_an_id_that_is_not_there_is_named() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2], np.eye(2))
    with pytest.raises(errors.IdNotFound, match="id 9 is not in the index"):
        index.search_by_id([1, 9])
    index.delete([2])
    with pytest.raises(errors.IdNotFound):
        index.search_by_id(2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ids": "a"}, errors.InvalidId),
        ({"ids": -1}, errors.InvalidId),
        ({"ids": [[1]]}, errors.ShapeError),
        ({"ids": 1, "k": 0}, errors.InputError),
        ({"ids": 1, "ef_search": 0}, errors.InputError),
        ({"ids": 1, "threshold": np.nan}, errors.InputError),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    index = Index(dim=2, metric="l2", params=PARAMS["flat"])
    index.add([1, 2], np.eye(2))
    with pytest.raises(error):
        index.search_by_id(**arguments)
