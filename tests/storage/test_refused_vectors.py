"""Vectors that the index refuses: never committed, and no end of a tenant that has some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.config import Metric

DIM = 8
GOOD = np.random.default_rng(5).standard_normal((20, DIM)).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def config(metric: Metric) -> TenantConfig:
    return TenantConfig(id="acme", metric=metric, quotas=QuotaLimits.unlimited())


def as_earlier_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let vectors through to the log that the index then refuses."""
    for name in ("llmspell.storage.room", "llmspell.tenancy.inputs"):
        monkeypatch.setattr(f"{name}.check_rows", lambda vectors, metric: None)


REFUSED = [
    ("ip", np.full((1, DIM), 1e19, np.float32), errors.NonFiniteVector),
    ("l2", np.full((1, DIM), 3e38, np.float32), errors.NonFiniteVector),
    ("l2", np.full((1, DIM), np.inf, np.float32), errors.NonFiniteVector),
    ("cosine", np.zeros((1, DIM), np.float32), errors.ZeroVector),
    ("cosine", np.ones((1, 16_385), np.float32), errors.ShapeError),
]


@pytest.mark.parametrize(("metric", "vector", "error"), REFUSED)
def test_refused_vector_is_not_committed(
    root: Path, metric: Metric, vector: np.ndarray, error: type[Exception]
) -> None:
    with llmspell.open(root) as db:
        acme = db.create_tenant(config(metric))
        with pytest.raises(error):
            acme.upsert(["bad"], vector)
        with pytest.raises(error):
            acme._enter().write(puts=[], vectors=vector)
        assert (acme.count(), acme.dim) == (0, None)
        acme.upsert(range(20), GOOD)
        assert len(acme.search(GOOD[0], k=50)) == 20
    with llmspell.open(root) as db:
        assert db.tenant("acme").count() == 20


def test_largest_component_that_the_index_takes_is_committed(root: Path) -> None:
    largest = np.nextafter(np.sqrt(np.finfo(np.float32).max / np.float32(8 * DIM)), np.float32(0))
    with llmspell.open(root) as db:
        acme = db.create_tenant(config("l2"))
        acme.upsert(["large"], np.full((1, DIM), largest, np.float32))
    with llmspell.open(root) as db:
        assert db.tenant("acme").count() == 1


def with_snapshot_before(db: Database, acme: Tenant) -> Tenant:
    acme.close()
    return db.tenant("acme")


def without_snapshot(db: Database, acme: Tenant) -> Tenant:
    return acme


@pytest.mark.parametrize("before", [with_snapshot_before, without_snapshot])
@pytest.mark.parametrize(("metric", "vector", "error"), REFUSED[:-1])
def test_tenant_with_a_refused_vector_opens_without_it(
    root: Path,
    metric: Metric,
    vector: np.ndarray,
    error: type[Exception],
    before: Callable[[Database, Tenant], Tenant],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with llmspell.open(root) as db:
        acme = db.create_tenant(config(metric))
        acme.upsert(range(20), GOOD)
        acme = before(db, acme)
        with monkeypatch.context() as patch, pytest.raises(error):
            as_earlier_versions(patch)
            acme.upsert(["bad"], vector)
    for _ in range(2):
        caplog.clear()
        with llmspell.open(root) as db:
            acme = db.tenant("acme")
            assert (acme.count(), len(acme.search(GOOD[0], k=50))) == (21, 20)
            assert np.array_equal(acme.get("bad").vector, vector[0])
            assert "tenant acme: 1 record(s) left out of the index, such as 'bad'" in caplog.text
            acme.upsert([0], GOOD[:1])
    with llmspell.open(root) as db:
        assert db.tenant("acme").delete(["bad"]) == 1
    caplog.clear()
    with llmspell.open(root) as db:
        assert (db.tenant("acme").count(), len(caplog.records)) == (20, 0)


def test_tenant_with_too_many_dimensions_opens_without_an_index(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vector = np.ones((1, 16_385), np.float32)
    with llmspell.open(root) as db, monkeypatch.context() as patch:
        as_earlier_versions(patch)
        with pytest.raises(errors.ConfigError):
            db.create_tenant(config("ip")).upsert(["bad"], vector)
    with llmspell.open(root) as db:
        acme = db.tenant("acme")
        assert (acme.count(), acme.search(vector[0])) == (1, [])
        assert acme.get("bad").vector.shape == (16_385,)
        assert "tenant acme" in caplog.text
        assert "'bad': dimension 16385" in caplog.text
        assert acme.delete(["bad"]) == 1
    with llmspell.open(root) as db:
        assert db.tenant("acme").count() == 0
        db.drop_tenant("acme")
