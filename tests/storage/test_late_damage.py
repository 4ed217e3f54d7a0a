"""Damage in a large snapshot, which is found when it is first met and not when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import IndexParams, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.index import Index
from llmspell.storage import view

ROWS, DIM = 3_000, 64
VECTORS = np.random.default_rng(8).standard_normal((ROWS, DIM)).astype(np.float32)
QUERY = VECTORS[7] + 0.1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    config = TenantConfig(
        id="acme",
        metric="ip",
        quotas=QuotaLimits.unlimited(),
        index=IndexParams(m=4, ef_construction=10),
    )
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(config)
        tenant.upsert(range(ROWS), VECTORS, [{"n": n} for n in range(ROWS)])
    return tmp_path / "data"


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "CHECKED_AT_ONCE", 0)


def snapshot_of(root: Path) -> Path:
    (path,) = root.glob("tenants/*/*/index-*.snap")
    return path


def damage_vectors(root: Path) -> None:
    """Flip a bit in each page of the last three quarters: the vectors, and links behind them."""
    path = snapshot_of(root)
    raw = bytearray(path.read_bytes())
    for at in range(len(raw) // 4, len(raw) - 4_096, 4_096):
        raw[at + 10] ^= 4
    path.write_bytes(raw)


def ids(tenant: Tenant) -> list[object]:
    return [hit.id for hit in tenant.search(QUERY, k=5, ef_search=ROWS)]


SEARCHES: dict[str, Callable[[Tenant], object]] = {
    "one": ids,
    "batch": lambda t: [[h.id for h in hits] for hits in t.search(QUERY[None], 5, ef_search=ROWS)],
    "filter": lambda t: [
        hit.id for hit in t.search(QUERY, 5, filter={"n": {"$gte": 5}}, ef_search=ROWS)
    ],
    "eventual": lambda t: t.search(QUERY, 5, ef_search=ROWS, consistency="eventual").ids,
    "recall": lambda t: len(t.search(QUERY, 5, recall=0.9)),
    "calibrate": lambda t: t.calibrate(5, recall=0.9),
    "write": lambda t: t.upsert(["new"], QUERY * 100),
    "delete": lambda t: t.delete([7]),
    "expiring": lambda t: t.upsert(["soon"], QUERY * 100, ttl=0.001),
}


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("name", SEARCHES)
def test_damage_that_is_met_late_costs_time_and_no_answer(
    root: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with llmspell.open(root) as db:
        sound = db.tenant("acme")
        expected = SEARCHES[name](sound)
        if name in ("write", "delete", "expiring"):
            sound.upsert(range(ROWS), VECTORS, [{"n": n} for n in range(ROWS)])
            sound.delete(["new", "soon"])
    for old in sorted(root.glob("tenants/*/*/index-*.snap"))[:-1]:
        old.unlink()
    damage_vectors(root)
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        assert tenant.count() == ROWS
        assert "is not used" not in caplog.text
        assert SEARCHES[name](tenant) == expected
        assert "is not used" in caplog.text
        assert "building the index from its" in caplog.text
        # By the records, which are the truth.
        left = {str(record.id): record.vector for record in tenant.scan(limit=2 * ROWS).records}
        best = sorted(left, key=lambda key: -float(left[key] @ QUERY))[:5]
        assert [str(one) for one in ids(tenant)] == best
        assert tenant.count() == len(left)


@pytest.mark.usefixtures("late")
def test_another_error_than_of_the_snapshot_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> object:
        raise errors.CorruptFile("of another kind")

    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        tenant.count()
        monkeypatch.setattr(Index, "search", fail)
        for query in (QUERY, QUERY[None]):
            with pytest.raises(errors.CorruptFile, match="of another kind"):
                tenant.search(query, threshold=-1e9)


def test_small_snapshot_is_checked_when_it_is_opened(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage_vectors(root)
    with llmspell.open(root) as db:
        assert db.tenant("acme").count() == ROWS
        assert "is not used" in caplog.text


@pytest.mark.usefixtures("late")
def test_opening_a_sound_snapshot_checks_none_of_its_vectors(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Index, "verify", None)
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        assert len(ids(tenant)) == 5
