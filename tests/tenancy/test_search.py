"""Search through a tenant's handle."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from llmspell import Database, Hit, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import Write
from llmspell.storage.member import Member
from tests.tenancy.texts import embed

DIM = 8
VECTORS = np.random.default_rng(5).standard_normal((300, DIM)).astype(np.float32)


def fill(tenant: Tenant, count: int = 300) -> None:
    tenant.upsert(
        [f"r{i}" for i in range(count)],
        VECTORS[:count],
        [{"even": i % 2 == 0, "n": i} for i in range(count)],
        [f"text {i}" for i in range(count)],
    )


def oracle(query: np.ndarray, rows: list[int], k: int) -> list[str]:
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    scores = unit[rows] @ (query / np.linalg.norm(query))
    return [f"r{rows[i]}" for i in np.argsort(-scores)[:k]]


def ids(hits: list[Hit]) -> list[str | int]:
    return [hit.id for hit in hits]


def test_hits_carry_what_was_stored(acme: Tenant) -> None:
    fill(acme)
    hit = acme.search(VECTORS[7], k=1)[0]
    assert (hit.id, hit.text, hit.metadata) == ("r7", "text 7", {"even": False, "n": 7})
    assert hit.score == pytest.approx(1.0)
    assert hit.distance == pytest.approx(0.0, abs=1e-6)
    assert repr(hit) == "Hit(id='r7', score=1.0000, text='text 7')"


def test_hits_agree_with_an_exact_sweep(acme: Tenant) -> None:
    fill(acme)
    for query in VECTORS[:10]:
        assert ids(acme.search(query, k=12)) == oracle(query, list(range(300)), 12)


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_higher_score_and_lower_distance_are_better(db: Database, metric: str) -> None:
    tenant = db.create_tenant(
        TenantConfig(id=metric, metric=metric, quotas=QuotaLimits.unlimited())  # type: ignore[arg-type]
    )
    fill(tenant)
    hits = tenant.search(VECTORS[0], k=20)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    expected = [-s if metric == "l2" else 1.0 - s for s in scores]
    assert [hit.distance for hit in hits] == expected
    if metric == "l2":
        assert hits[1].distance == pytest.approx(
            float(((VECTORS[0] - tenant.get(hits[1].id).vector) ** 2).sum()), rel=1e-5
        )


def test_batch_answers_each_query_as_if_alone(acme: Tenant) -> None:
    fill(acme)
    batch = acme.search(VECTORS[:5], k=3)
    assert [ids(hits) for hits in batch] == [ids(acme.search(q, k=3)) for q in VECTORS[:5]]
    assert acme.search(np.empty((0, DIM), dtype=np.float32), k=3) == []


def test_lists_and_float64_are_taken_as_queries(acme: Tenant) -> None:
    fill(acme)
    wanted = ids(acme.search(VECTORS[0], k=3))
    assert ids(acme.search(VECTORS[0].tolist(), k=3)) == wanted
    assert ids(acme.search(VECTORS[0].astype(np.float64), k=3)) == wanted
    assert [ids(hits) for hits in acme.search(VECTORS[:1].tolist(), k=3)] == [wanted]


def test_filter_acts_inside_the_search(acme: Tenant) -> None:
    fill(acme)
    for source, rows in (
        ({"even": True}, list(range(0, 300, 2))),
        ({"n": {"$gte": 290}}, list(range(290, 300))),
        ({"even": True, "n": {"$in": [3, 4, 5]}}, [4]),
        ({"n": {"$lt": 0}}, []),
    ):
        wanted = oracle(VECTORS[9], rows, 10) if rows else []
        assert ids(acme.search(VECTORS[9], k=10, filter=source)) == wanted
        assert [ids(h) for h in acme.search(VECTORS[9:10], k=10, filter=source)] == [wanted]


def test_filters_follow_writes(acme: Tenant) -> None:
    fill(acme, 10)
    assert len(acme.search(VECTORS[0], filter={"even": True})) == 5
    acme.delete(["r0"])
    acme.upsert("r1", VECTORS[1], {"even": True})
    acme.upsert("new", VECTORS[11], {"even": True, "lang": "en"})
    found = ids(acme.search(VECTORS[0], k=20, filter={"even": True}))
    assert set(found) == {"r2", "r4", "r6", "r8", "r1", "new"}
    assert ids(acme.search(VECTORS[0], filter={"lang": "en"})) == ["new"]


def test_bad_filter_names_its_part(acme: Tenant) -> None:
    fill(acme, 3)
    with pytest.raises(errors.FilterError, match=r"filter\['n'\]\['\$like'\]"):
        acme.search(VECTORS[0], filter={"n": {"$like": 1}})


def test_threshold_keeps_only_good_hits(acme: Tenant) -> None:
    fill(acme)
    every = acme.search(VECTORS[0], k=300)
    kept = acme.search(VECTORS[0], k=300, threshold=0.5)
    assert ids(kept) == [hit.id for hit in every if hit.score >= 0.5]
    assert 0 < len(kept) < 300


def test_k_beyond_the_records_gives_them_all(acme: Tenant) -> None:
    fill(acme, 5)
    assert len(acme.search(VECTORS[0], k=50)) == 5
    assert [len(hits) for hits in acme.search(VECTORS[:2], k=50)] == [5, 5]


def test_tenant_without_records_has_no_hits(acme: Tenant) -> None:
    assert acme.search(VECTORS[0]) == []
    assert acme.search(VECTORS[:2]) == [[], []]
    assert acme.search("anything") == []
    assert acme.search(["one", "two"]) == [[], []]
    fill(acme, 1)
    acme.delete("r0")
    assert acme.search(VECTORS[0]) == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (np.zeros(DIM, dtype=np.float32), errors.ZeroVector),
        (np.full(DIM, np.nan, dtype=np.float32), errors.NonFiniteVector),
        (np.ones(DIM + 1, dtype=np.float32), errors.DimensionMismatch),
        (np.ones((2, 2, DIM), dtype=np.float32), errors.ShapeError),
        (np.float32(1.0), errors.ShapeError),
        (np.ones(DIM, dtype=np.int64), errors.DtypeError),
        ([["a", "b"]], errors.DtypeError),
        (["a", 1], errors.InputError),
    ],
)
def test_bad_query_is_refused_by_name(acme: Tenant, query: object, error: type[Exception]) -> None:
    fill(acme, 3)
    with pytest.raises(error):
        acme.search(query)  # type: ignore[arg-type]


def test_k_below_one_is_refused(acme: Tenant) -> None:
    fill(acme, 3)
    with pytest.raises(errors.InputError, match="k must be"):
        acme.search(VECTORS[0], k=0)


def test_text_is_embedded_and_searched(acme: Tenant) -> None:
    texts = ["the cat sat", "on the mat", "and purred"]
    acme.upsert(["a", "b", "c"], embed(texts), texts=texts)
    assert acme.search("on the mat", k=1)[0].id == "b"
    assert [hits[0].id for hits in acme.search(["and purred", "the cat sat"], k=1)] == ["c", "a"]


def test_record_that_goes_between_search_and_read_is_made_up_for(acme: Tenant) -> None:
    """A write is in the store before it is in the index; a search in between must not see holes."""
    fill(acme)
    room = acme._enter()
    key = b"sr" + oracle(VECTORS[0], list(range(300)), 3)[1][1:].encode()
    wanted = [i for i in ids(acme.search(VECTORS[0], k=6)) if i != key[1:].decode()]
    room.store.apply([Member(Write(removes=[key]))], 0)
    assert ids(acme.search(VECTORS[0], k=5)) == wanted
    assert [ids(hits) for hits in acme.search(VECTORS[:1], k=5)] == [wanted]
    assert len(acme.search(VECTORS[0], k=1000)) == 299


def test_searches_beside_writes_always_see_whole_records(acme: Tenant) -> None:
    fill(acme)
    stop = threading.Event()
    failures: list[object] = []

    def search() -> None:
        while not stop.is_set():
            try:
                hits = acme.search(VECTORS[0], k=20)
                if len({hit.id for hit in hits}) != len(hits) or len(hits) != 20:
                    failures.append(ids(hits))
                for hit in hits:
                    if hit.text != f"text {hit.metadata['n']}":
                        failures.append(hit)
                acme.search(VECTORS[0], k=5, filter={"even": True})
            except errors.LlmspellError as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(0)
    for _ in range(60):
        chosen = rng.choice(300, 20, replace=False)
        acme.upsert(
            [f"r{i}" for i in chosen],
            VECTORS[chosen],
            [{"n": int(i), "even": bool(i % 2 == 0)} for i in chosen],
            [f"text {i}" for i in chosen],
        )
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_searching_by_vector_loads_no_embedding_model(tmp_path: Path) -> None:
    program = """
import sys
import numpy as np
import llmspell
with llmspell.open(sys.argv[1]) as db:
    acme = db.create_tenant(llmspell.TenantConfig(id="acme"))
    acme.upsert(["a"], np.ones((1, 3), np.float32))
    assert acme.search(np.ones(3, np.float32))[0].id == "a"
print(*sorted({"onnxruntime", "tokenizers"} & sys.modules.keys()))
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == ""
