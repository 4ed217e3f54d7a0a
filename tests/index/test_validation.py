from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric


@pytest.fixture
def index() -> Index:
    made = Index(dim=3, metric="cosine")
    made.add([1, 2], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return made


@pytest.mark.parametrize("vectors", [np.zeros(4), np.zeros((1, 2)), [[1.0, 2.0]]])
def test_wrong_dimension_names_expected_and_actual(index: Index, vectors: Any) -> None:
    with pytest.raises(errors.DimensionMismatch) as caught:
        index.add([9], vectors)
    assert caught.value.expected == 3
    assert caught.value.actual == np.shape(vectors)[-1]
    assert "dimension 3, got" in str(caught.value)
    with pytest.raises(errors.DimensionMismatch):
        index.search(vectors)


@pytest.mark.parametrize("vectors", [np.zeros((1, 1, 3)), np.float32(1.0)])
def test_wrong_number_of_axes_is_named(index: Index, vectors: Any) -> None:
    with pytest.raises(errors.ShapeError, match=f"got {np.ndim(vectors)} axes"):
        index.add([9], vectors)
    with pytest.raises(errors.ShapeError, match=f"got {np.ndim(vectors)} axes"):
        index.search(vectors)


def test_ragged_rows_are_refused(index: Index) -> None:
    with pytest.raises(errors.ShapeError, match="equal length"):
        index.add([8, 9], [[1.0, 0.0, 0.0], [1.0]])


def test_ids_and_vectors_of_unequal_number_are_refused(index: Index) -> None:
    with pytest.raises(errors.ShapeError, match="1 ids and 2 vectors"):
        index.add([9], np.ones((2, 3)))
    with pytest.raises(errors.ShapeError, match=r"expected ids of shape \(n,\)"):
        index.add([[8, 9]], np.ones((2, 3)))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.complex64, np.bool_, "U3", object])
def test_float_index_refuses_other_element_types(index: Index, dtype: Any) -> None:
    vectors = np.ones((1, 3)).astype(dtype)
    with pytest.raises(errors.DtypeError, match="expected float vectors, got an array of"):
        index.add([9], vectors)
    with pytest.raises(errors.DtypeError):
        index.search(vectors)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_any_float_type_is_converted(index: Index, dtype: Any) -> None:
    index.add([9], np.array([[0.0, 0.0, 2.0]]).astype(dtype))
    assert index.search([0.0, 0.0, 1.0], 1).ids.tolist() == [9]


def test_bfloat16_of_ml_dtypes_is_taken_as_it_is() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(ml_dtypes.bfloat16)
    index = Index(dim=3, metric="ip", dtype="bfloat16")
    index.add(np.arange(4), vectors)
    np.testing.assert_array_equal(index.get(np.arange(4)), vectors.astype(np.float32))
    assert index.search(vectors, 1).ids.shape == (4, 1)


def test_whole_numbers_in_a_list_are_numbers(index: Index) -> None:
    index.add([9], [[0, 0, 2]])
    assert index.search([0, 0, 1], 1).ids.tolist() == [9]


def test_float64_beyond_float32_is_refused(index: Index) -> None:
    with pytest.raises(errors.NonFiniteVector):
        index.add([9], np.array([[1e300, 0.0, 0.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_query_with_nan_or_infinity_is_refused(index: Index, bad: float) -> None:
    with pytest.raises(errors.NonFiniteVector, match="vector 1 holds NaN or infinity"):
        index.search([[1.0, 0.0, 0.0], [0.0, 0.0, bad]])


def test_zero_vector_has_no_cosine(index: Index) -> None:
    with pytest.raises(errors.ZeroVector, match="vector 1 is zero"):
        index.add([8, 9], [[1.0, 0.0, 0.0], [0.0, -0.0, 0.0]])
    with pytest.raises(errors.ZeroVector):
        index.search([0.0, 0.0, 0.0])
    assert len(index) == 2


@pytest.mark.parametrize("metric", ["ip", "l2", "l1"])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float32", 1e25), ("float16", 70_000.0), ("bfloat16", 1e25), ("int8", 1e25)],
)
def test_vector_whose_products_overflow_is_refused(
    metric: Metric, dtype: ElementType, value: float
) -> None:
    index = Index(dim=4, metric=metric, dtype=dtype)
    with pytest.raises(errors.NonFiniteVector, match="overflow"):
        index.add([1], [[0.0, -value, 0.0, 0.0]])
    with pytest.raises(errors.NonFiniteVector, match="overflow"):
        index.search([value, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("metric", ["ip", "l2", "l1"])
def test_largest_accepted_vectors_have_finite_scores(metric: Metric) -> None:
    index = Index(dim=4, metric=metric, params=IndexParams(graph_threshold=0))
    vectors = np.random.default_rng(0).choice([-3e18, 3e18], (60, 4))
    index.add(np.arange(60), vectors)
    scores = index.search(vectors, 60).scores
    assert np.isfinite(scores).all()


def test_denormal_vectors_are_held_as_int8() -> None:
    index = Index(dim=2, metric="ip", dtype="int8")
    index.add([1], np.array([[1e-45, 0.0]], np.float32))
    assert np.isfinite(index.get([1])).all()
    assert index.search([1.0, 1.0]).ids.tolist() == [1]


@pytest.mark.parametrize("ids", [[-1], [2**63], [2**64], [1.0], ["a"], [True], [None], [[1], [2]]])
def test_id_that_is_no_integer_of_63_bits_is_refused(index: Index, ids: Any) -> None:
    calls = (
        lambda: index.add(ids, np.ones((1, 3))),
        lambda: index.delete(ids),
        lambda: index.get(ids),
    )
    for call in calls:
        with pytest.raises((errors.InvalidId, errors.ShapeError)):
            call()


@pytest.mark.parametrize("ids", [range(5, 9), range(2**63 - 4, 2**63), range(8, 0, -2)])
def test_range_of_ids_is_as_the_list_of_it(ids: range) -> None:
    index = Index(dim=3, metric="l2")
    vectors = np.random.default_rng(4).standard_normal((4, 3)).astype(np.float32)
    index.add(ids, vectors)
    np.testing.assert_array_equal(index.get(list(ids)), vectors)


@pytest.mark.parametrize(
    "ids", [range(-1, 3), range(2**63 - 3, 2**63 + 1), range(2**64, 2**64 + 4)]
)
def test_range_beyond_63_bits_is_refused(index: Index, ids: range) -> None:
    with pytest.raises(errors.InvalidId):
        index.add(ids, np.ones((4, 3)))


@pytest.mark.parametrize("name", ["k", "ef_search", "threads"])
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", 2**63, 2**70])
def test_count_that_is_no_positive_integer_is_refused(index: Index, name: str, value: Any) -> None:
    with pytest.raises(errors.InputError, match=f"{name} must be an integer of at least 1"):
        index.search([1.0, 0.0, 0.0], **{name: value})


@pytest.mark.parametrize("value", [np.nan, "0.5"])
def test_threshold_that_is_no_number_is_refused(index: Index, value: Any) -> None:
    with pytest.raises(errors.InputError, match="threshold must be a number"):
        index.search([1.0, 0.0, 0.0], threshold=value)


def test_numpy_integers_are_counts(index: Index) -> None:
    assert index.search([1.0, 0.0, 0.0], np.int64(1), ef_search=np.uint8(4)).ids.tolist() == [1]


@pytest.mark.parametrize("dim", [0, -1, 16_385, 2.0, "3"])
def test_dimension_out_of_range_is_refused(dim: Any) -> None:
    with pytest.raises((errors.ConfigError, errors.InputError), match="dim must be"):
        Index(dim=dim)


def test_unknown_metric_and_dtype_are_refused() -> None:
    with pytest.raises(errors.ConfigError, match="unknown metric 'dot'"):
        Index(dim=3, metric="dot")  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigError, match="unknown dtype 'float8'"):
        Index(dim=3, dtype="float8")  # type: ignore[arg-type]


def test_largest_dimension_works() -> None:
    index = Index(dim=16_384, metric="l2", dtype="int8")
    index.add([1, 2], np.stack([np.full(16_384, 127), np.full(16_384, -127)]).astype(np.float32))
    found = index.search(np.full(16_384, 127.0), 2)
    assert found.ids.tolist() == [1, 2]
    assert found.distances.tolist() == [0.0, 254.0**2 * 16_384]


def test_settings_can_be_read_back() -> None:
    params = IndexParams(m=5, ef_construction=50, ef_search=40, graph_threshold=7, seed=9)
    index = Index(dim=4, metric="l2", dtype="float16", params=params)
    assert (index.dim, index.metric, index.dtype) == (4, "l2", "float16")
    assert index.params == IndexParams(
        m=5, ef_construction=50, ef_search=40, max_neighbors=10, graph_threshold=7, seed=9
    )
    assert repr(index) == "Index(dim=4, metric='l2', dtype='float16', len=0)"
