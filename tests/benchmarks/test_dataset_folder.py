from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import folders


def test_vectors_get_unit_length_back_after_float16(folder: Path) -> None:
    dataset = folders.load(folder)
    assert dataset.base.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(dataset.base, axis=1), 1.0, atol=1e-6)
    assert dataset.describe() == {
        "name": "clusters-24",
        "vectors": 600,
        "dim": 24,
        "queries": 40,
        "metric": "ip",
    }


def test_limit_draws_the_same_vectors_for_the_same_seed(folder: Path) -> None:
    first = folders.load(folder, limit=100, seed=3)
    again = folders.load(folder, limit=100, seed=3)
    other = folders.load(folder, limit=100, seed=4)
    np.testing.assert_array_equal(first.base, again.base)
    assert not np.array_equal(first.base, other.base)
    assert first.name == "clusters-24-100"


def test_exact_neighbors_agree_with_double_precision(folder: Path) -> None:
    dataset = folders.load(folder)
    scores = dataset.queries.astype(np.float64) @ dataset.base.astype(np.float64).T
    expected = np.argsort(-scores, axis=1)[:, :10]
    assert folders.recall(folders.exact_neighbors(dataset, 10), expected) > 0.999


def test_l2_folder_keeps_lengths_and_ranks_by_distance(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "l2"
    shutil.copytree(folder, copy)
    np.save(copy / "base.f16.npy", (3 * np.load(folder / "base.f16.npy")).astype(np.float16))
    (copy / "meta.json").write_text(json.dumps({"metric": "l2"}))
    dataset = folders.load(copy)
    gaps = dataset.queries[:, None, :].astype(np.float64) - dataset.base[None]
    expected = np.argsort((gaps**2).sum(axis=2), axis=1)[:, :10]
    assert np.linalg.norm(dataset.base, axis=1).mean() == pytest.approx(3.0, rel=1e-3)
    assert folders.recall(folders.exact_neighbors(dataset, 10), expected) > 0.999


def test_cosine_folder_keeps_lengths_and_ranks_by_angle(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cosine"
    shutil.copytree(folder, copy)
    base = np.load(folder / "base.f16.npy")
    lengths = np.linspace(0.5, 3.0, len(base))[:, None]
    np.save(copy / "base.f16.npy", (lengths * base).astype(np.float16))
    (copy / "meta.json").write_text(json.dumps({"metric": "cosine"}))
    dataset = folders.load(copy)
    assert np.linalg.norm(dataset.base, axis=1).max() == pytest.approx(3.0, rel=1e-2)
    unit = dataset.base.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.argsort(-(dataset.queries.astype(np.float64) @ unit.T), axis=1)[:, :10]
    assert folders.recall(folders.exact_neighbors(dataset, 10), expected) > 0.999


def test_best_rows_are_in_order_and_equal_scores_go_to_the_lower_row() -> None:
    scores = np.array([[1, 3, 2, 3, 3], [0, 0, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(folders.best_rows(scores, 3), [[1, 3, 4], [0, 1, 2]])


def test_unknown_metric_in_meta_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "odd"
    shutil.copytree(folder, copy)
    (copy / "meta.json").write_text(json.dumps({"metric": "hamming"}))
    with pytest.raises(ValueError, match="hamming"):
        folders.load(copy)


def test_exact_neighbors_come_from_the_cache_the_second_time(folder: Path, tmp_path: Path) -> None:
    dataset = folders.load(folder)
    first = folders.exact_neighbors(dataset, 10, tmp_path)
    (file,) = tmp_path.iterdir()
    np.save(file, first[:, ::-1])
    again = folders.exact_neighbors(dataset, 10, tmp_path)
    np.testing.assert_array_equal(again, first[:, ::-1])


def test_more_neighbors_than_vectors_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="only 20 vectors"):
        folders.exact_neighbors(folders.load(folder, limit=20), 21)


def test_recall_counts_short_answers_as_misses() -> None:
    exact = np.array([[1, 2], [3, 4]])
    assert folders.recall(np.array([[2, 1], [3, -1]]), exact) == 0.75
