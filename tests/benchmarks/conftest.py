"""A dataset folder small enough to index within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 clustered unit vectors of 24 components, 40 queries."""
    return _clusters(tmp_path_factory.mktemp("dataset") / "clusters-24", 24)


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of 64 components, the fewest that some libraries take."""
    return _clusters(tmp_path_factory.mktemp("dataset") / "clusters-64", 64)


def _clusters(path: Path, dim: int) -> Path:
    random = np.random.default_rng(7)
    centres = random.normal(size=(12, dim))
    vectors = centres[random.integers(12, size=640)] + 0.4 * random.normal(size=(640, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path.mkdir()
    np.save(path / "base.f16.npy", vectors[:600].astype(np.float16))
    np.save(path / "queries.f16.npy", vectors[600:].astype(np.float16))
    return path
