"""Every kernel level of this machine, seen from Python, against NumPy in float64.

The C++ tests fix the dimensions; here hypothesis picks dimension, values and layout.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmspell import _core, errors

LEVELS = _core.simd_levels()
METRICS = ["ip", "l2", "cosine", "l1"]
DTYPES = ["float32", "float16", "bfloat16", "int8"]

# Rows of bfloat16 are passed as uint16.
Vectors = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint16] | NDArray[np.int8]
Query = NDArray[np.float32] | NDArray[np.int8]


def make(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Vectors:
    if dtype == "int8":
        return rng.integers(-128, 128, shape, dtype=np.int8)
    scale = 10.0 ** rng.integers(-3, 3)
    if dtype == "bfloat16":
        singles = (rng.standard_normal(shape) * scale).astype(np.float32)
        return (singles.view(np.uint32) >> 16).astype(np.uint16)
    return (rng.standard_normal(shape) * scale).astype(dtype)


def values_of(vectors: Vectors | Query) -> NDArray[np.float64]:
    if vectors.dtype == np.uint16:
        return (vectors.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return vectors.astype(np.float64)


def make_query(rng: np.random.Generator, dim: int, dtype: str) -> Query:
    """A query for rows of ``dtype``."""
    row = make(rng, (dim,), dtype)
    return row.astype(np.int8) if dtype == "int8" else values_of(row).astype(np.float32)


def expected(metric: str, query: Query, rows: Vectors) -> tuple[NDArray[np.float64], float]:
    """What float64 gives, and how far float32 sums may be from it."""
    q, r = values_of(query), values_of(rows)
    bound = (q.size / 2 + 8) * 2.0**-24
    if metric == "l2":
        squared = ((r - q) ** 2).sum(axis=1)
        return squared, float(bound * squared.max(initial=0.0))
    if metric == "l1":
        differences = np.abs(r - q).sum(axis=1)
        return differences, float(bound * differences.max(initial=0.0))
    dots = r @ q
    if metric == "ip":
        return dots, float(bound * np.abs(r * q).sum(axis=1).max(initial=0.0))
    norms = np.sqrt((q @ q) * (r * r).sum(axis=1))
    return np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0), 2 * bound


def test_scalar_is_always_there_and_the_active_level_is_one_of_the_machines() -> None:
    assert LEVELS[0] == "scalar"
    assert _core.simd_level() in LEVELS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40, deadline=None)
@given(
    dim=st.one_of(st.integers(1, 70), st.integers(71, 2_000)),
    count=st.integers(0, 13),
    seed=st.integers(0, 2**32 - 1),
)
def test_distances_agree_with_numpy_in_float64(
    metric: str, dtype: str, level: str, dim: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query = make_query(rng, dim, dtype)
    rows = make(rng, (count, dim), dtype)
    wanted, slack = expected(metric, query, rows)
    got = _core.distances(metric, query, rows, level)
    assert got.shape == (count,) and got.dtype == np.float32
    if dtype == "int8" and metric != "cosine":
        np.testing.assert_array_equal(got, wanted.astype(np.float32))
    else:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=slack)
    for i in range(min(count, 2)):
        one = _core.distance(metric, query, rows[i], level)
        np.testing.assert_allclose(one, wanted[i], rtol=2.0**-24, atol=slack)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("low, high", [(-128, -128), (-128, 127), (127, 127)])
def test_int8_extremes_stay_exact_at_the_largest_dimension(level: str, low: int, high: int) -> None:
    query = np.full(16_384, low, np.int8)
    rows = np.full((5, 16_384), high, np.int8)
    assert set(_core.distances("ip", query, rows, level)) == {np.float32(low * high * 16_384)}
    assert set(_core.distances("l2", query, rows, level)) == {
        np.float32((low - high) ** 2 * 16_384)
    }
    assert set(_core.distances("l1", query, rows, level)) == {np.float32(abs(low - high) * 16_384)}


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=40, deadline=None)
@given(
    width=st.one_of(st.integers(1, 70), st.integers(71, 2_048)),
    count=st.integers(0, 13),
    seed=st.integers(0, 2**32 - 1),
)
def test_hamming_counts_the_bits_that_differ(level: str, width: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = rng.integers(0, 256, width, dtype=np.uint8)
    rows = rng.integers(0, 256, (count, width), dtype=np.uint8)
    wanted = np.unpackbits(rows ^ query, axis=1).sum(axis=1).astype(np.float32)
    np.testing.assert_array_equal(_core.distances("hamming", query, rows, level), wanted)
    for i in range(min(count, 2)):
        assert _core.distance("hamming", query, rows[i], level) == wanted[i]


def test_hamming_is_for_bits_and_bits_for_hamming() -> None:
    for metric, dtype in (("hamming", np.float32), ("hamming", np.int8), ("l2", np.uint8)):
        row = np.zeros(4, dtype)  # type: ignore[var-annotated]
        with pytest.raises(errors.ConfigError, match=f"uint8 go together .*'{metric}'"):
            _core.distance(metric, row, row)


def test_strided_views_give_the_same_as_their_copies() -> None:
    rng = np.random.default_rng(5)
    query = make_query(rng, 60, "float32")[::2]
    rows = make(rng, (8, 90), "float32")[::2, ::3]
    copied = _core.distances("l2", query.copy(), rows.copy())
    np.testing.assert_array_equal(_core.distances("l2", query, rows), copied)


@pytest.mark.parametrize(
    "query, rows, error",
    [
        (np.zeros(4, np.float64), np.zeros((1, 4), np.float32), errors.DtypeError),
        (np.zeros(4, np.float32), np.zeros((1, 4), np.int8), errors.DtypeError),
        (np.zeros(4, np.float32), np.zeros((1, 4), np.int32), errors.DtypeError),
        (np.zeros(4, np.float32), np.zeros((1, 4), ">f4"), errors.DtypeError),
        (np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32), errors.ShapeError),
        (np.zeros(4, np.float32), np.zeros(4, np.float32), errors.ShapeError),
        (np.zeros(0, np.float32), np.zeros((1, 0), np.float32), errors.ShapeError),
        (np.zeros(4, np.float32), np.zeros((1, 5), np.float32), errors.DimensionMismatch),
        (np.zeros(4, np.float32), np.zeros((1, 4), np.uint32), errors.DtypeError),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    query: Query, rows: Vectors, error: type[Exception]
) -> None:
    with pytest.raises(error):
        _core.distances("ip", query, rows)


def test_an_unknown_metric_or_level_is_refused() -> None:
    row = np.zeros(4, np.float32)
    with pytest.raises(errors.ConfigError, match="manhattan"):
        _core.distance("manhattan", row, row)
    with pytest.raises(errors.ConfigError, match="sse9"):
        _core.distance("ip", row, row, "sse9")


def run_forced(level: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, "LLMSPELL_SIMD": level},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("level", LEVELS)
def test_environment_variable_forces_a_level(level: str) -> None:
    done = run_forced(level, "from llmspell import _core; print(_core.simd_level())")
    assert (done.returncode, done.stdout.strip()) == (0, level), done.stderr


@pytest.mark.parametrize("level", ["nonsense", "neon" if "avx2" in LEVELS else "avx512vnni"])
def test_environment_variable_that_the_machine_cannot_honour_raises_config_error(
    level: str,
) -> None:
    code = (
        "from llmspell import errors\n"
        "from llmspell.index import Index\n"
        "try:\n"
        "    Index(dim=4)\n"
        "except errors.ConfigError as error:\n"
        "    print(error)\n"
    )
    done = run_forced(level, code)
    assert done.returncode == 0, done.stderr
    assert level in done.stdout and "scalar" in done.stdout
