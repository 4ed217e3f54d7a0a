"""Recall as a parameter of a tenant's search, and what is kept of its calibration."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import (
    Database,
    IndexParams,
    QuotaLimits,
    SearchCounters,
    Tenant,
    TenantConfig,
    errors,
)
from llmspell.config import Quantization
from tests.index.vectors import clustered
from tests.tenancy.texts import Lines

N, DIM, K = 4_000, 32, 10
VECTORS, QUERIES = clustered(N, DIM, 1), clustered(400, DIM, 2)


def config(quantization: Quantization = "none", name: str = "acme") -> TenantConfig:
    params = IndexParams(m=8, ef_construction=40, graph_threshold=100, quantization=quantization)
    return TenantConfig(id=name, metric="ip", index=params, quotas=QuotaLimits.unlimited())


def fill(tenant: Tenant) -> None:
    tenant.upsert(range(N), VECTORS, [{"even": i % 2 == 0} for i in range(N)])


@pytest.fixture(scope="module", params=["none", "pq"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenant]:
    with llmspell.open(tmp_path_factory.mktemp("recall") / "data") as db:
        tenant = db.create_tenant(config(request.param))
        fill(tenant)
        yield tenant


def index_of(tenant: Tenant) -> llmspell.Index:
    index = tenant._enter().index
    assert index is not None
    return index


def share(found: list[list[llmspell.Hit]], exact: list[list[llmspell.Hit]]) -> float:
    return float(
        np.mean(
            [
                len({hit.id for hit in a} & {hit.id for hit in b}) / len(b)
                for a, b in zip(found, exact, strict=True)
            ]
        )
    )


@pytest.mark.parametrize("filter", [None, {"even": True}])
def test_a_recall_is_reached_by_batch_and_by_vector(
    filled: Tenant, filter: dict[str, bool] | None
) -> None:
    exact = filled.search(QUERIES, K, recall=1.0, filter=filter)
    batch = filled.search(QUERIES, K, recall=0.95, filter=filter)
    single = [filled.search(query, K, recall=0.95, filter=filter) for query in QUERIES]
    assert share(batch, exact) >= 0.94
    assert share(single, exact) >= 0.94
    assert index_of(filled).calibration()


def test_recall_one_is_exact(filled: Tenant) -> None:
    best = np.argsort(-(VECTORS @ QUERIES[0]))[:K]
    assert [hit.id for hit in filled.search(QUERIES[0], K, recall=1)] == best.tolist()


def test_a_text_is_searched_with_recall(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    tenant.ingest(llmspell.Document("doc", "one\ntwo\nthree"))
    assert tenant.search("two", k=1, recall=0.9)[0].text == "two"
    assert [hits[0].text for hits in tenant.search(["one", "two"], k=1, recall=0.9)] == [
        "one",
        "two",
    ]


@pytest.mark.parametrize(
    ("recall", "ef_search", "message"),
    [(0.9, 50, "not both"), (0.0, None, "recall"), (1.5, None, "recall"), (True, None, "recall")],
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_wrong_recall_is_refused_before_anything_is_embedded(
    db: Database, recall: float, ef_search: int | None, message: str, is_empty: bool
) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    if not is_empty:
        tenant.ingest(llmspell.Document("doc", "one"))
    before = tenant.usage().embeddings.used
    for query in ("one", ["one", "two"], np.ones(16, dtype=np.float32)):
        with pytest.raises(errors.InputError, match=message):
            tenant.search(query, recall=recall, ef_search=ef_search)
    assert tenant.usage().embeddings.used == before


def test_the_async_handle_takes_a_recall(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(config())
            await acme.upsert(range(N), VECTORS)
            assert await acme.estimated_recall(K) is None
            await acme.calibrate(K)
            estimate = await acme.estimated_recall(K, ef_search=2_000)
            assert estimate is not None
            assert estimate >= 0.98
            exact = await acme.search(QUERIES, K, recall=1.0)
            assert share(await acme.search(QUERIES, K, recall=0.95), exact) >= 0.94

    asyncio.run(main())


def test_a_tenant_searches_by_codes_also_after_opening_again(tmp_path: Path) -> None:
    def strategy(tenant: Tenant) -> str:
        counters = SearchCounters()
        index_of(tenant).search(QUERIES[0], K, counters=counters)
        return counters.strategy

    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(config("pq"))
        fill(tenant)
        exact = tenant.search(QUERIES, K, recall=1.0)
        assert strategy(tenant) == "quantized"
        assert share(tenant.search(QUERIES, K), exact) > 0.95
        tenant.delete(range(100))
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("acme")
        assert tenant.config.index.quantization == "pq"
        assert strategy(tenant) == "quantized"
        assert tenant.count() == N - 100
        tenant.upsert(range(100), VECTORS[:100])
        assert share(tenant.search(QUERIES, K), exact) > 0.95
        assert strategy(tenant) == "quantized"


@pytest.mark.parametrize("quantization", ["none", "pq"])
def test_a_calibration_is_there_after_opening_again(
    tmp_path: Path, quantization: Quantization
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(config(quantization))
        fill(tenant)
        tenant.calibrate(K)
        tenant.upsert(range(N, N + 20), clustered(20, DIM, 3))
        kept = index_of(tenant).calibration()
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("acme")
        assert index_of(tenant).calibration() == kept
        tenant.search(QUERIES[0], K, recall=0.95)
        # Measured anew, nothing would have changed since.
        assert index_of(tenant).calibration()[0].changed == kept[0].changed > 0
        tenant.upsert(range(N + 20, N + 40), clustered(20, DIM, 4))
    with llmspell.open(tmp_path / "data") as db:
        (curve,) = index_of(db.tenant("acme")).calibration()
        assert curve.changed == pytest.approx(2 * kept[0].changed)


def test_a_calibration_is_kept_where_nothing_was_written(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        fill(db.create_tenant(config()))
    with llmspell.open(tmp_path / "data") as db:
        db.tenant("acme").calibrate(K)
    with llmspell.open(tmp_path / "data") as db:
        assert [curve.k for curve in index_of(db.tenant("acme")).calibration()] == [K]


def _damaged(kept: bytes) -> bytes:
    return kept.replace(b"recall", b"recoil", 1)


def _of_another_snapshot(kept: bytes) -> bytes:
    body = kept.split(b"\n")[1].replace(b'"sequence": ', b'"sequence": 9')
    return b"%08x\n%s\n" % (zlib.crc32(body), body)


def _no_curve(kept: bytes) -> bytes:
    body = kept.split(b"\n")[1].replace(b'"k": 10', b'"k": 11')
    return b"%08x\n%s\n" % (zlib.crc32(body), body)


@pytest.mark.parametrize(
    ("change", "warned"), [(_damaged, True), (_no_curve, True), (_of_another_snapshot, False)]
)
def test_curves_that_do_not_hold_are_measured_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[bytes], bytes], warned: bool
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(config())
        fill(tenant)
        tenant.calibrate(K)
    (path,) = (tmp_path / "data").glob("tenants/*/*/recall.json")
    path.write_bytes(change(path.read_bytes()))
    with llmspell.open(tmp_path / "data") as db, caplog.at_level(logging.WARNING, "llmspell"):
        tenant = db.tenant("acme")
        assert index_of(tenant).calibration() == ()
        assert ["recall curves are not used" in r.getMessage() for r in caplog.records] == (
            [True] if warned else []
        )
        exact = tenant.search(QUERIES, K, recall=1.0)
        assert share(tenant.search(QUERIES, K, recall=0.95), exact) >= 0.94


def test_the_estimated_recall_is_exported_while_it_is_known(tmp_path: Path) -> None:
    def exported(db: Database) -> dict[str, float]:
        name = "llmspell_tenant_estimated_recall{"
        lines = [line for line in db.metrics().splitlines() if line.startswith(name)]
        return {line.split()[0][len(name) - 1 :]: float(line.split()[1]) for line in lines}

    with llmspell.open(tmp_path / "data", texts=Lines()) as db:
        tenant = db.create_tenant(config())
        db.create_tenant(config(name="corp")).upsert([1], VECTORS[:1])
        fill(tenant)
        assert tenant.estimated_recall(K) is None
        assert exported(db) == {}
        tenant.search(QUERIES[0], K, recall=0.9)
        tenant.calibrate(1)
        assert exported(db) == {
            '{k="1",tenant="acme"}': tenant.estimated_recall(1),
            '{k="10",tenant="acme"}': tenant.estimated_recall(K),
        }
        assert 0.9 < min(exported(db).values()) < 1.0
        tenant.close()
        assert exported(db) == {}


def test_an_empty_tenant_is_exact(db: Database) -> None:
    tenant = db.create_tenant(config())
    tenant.calibrate()
    assert tenant.estimated_recall() == 1.0
