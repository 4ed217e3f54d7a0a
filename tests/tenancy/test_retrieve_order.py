"""What comes after the candidates: reranking, diversity, passages of documents, and pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llmspell import (
    MMR,
    Database,
    Document,
    ParentDocument,
    QuotaLimits,
    Rerank,
    Retrieval,
    Tenant,
    TenantConfig,
    current_operation,
    errors,
)

COUNT = 30


def fan() -> np.ndarray:
    """Directions of which no two pairs lie equally close."""
    angles = 1.4 * (np.arange(COUNT) / COUNT) ** 1.5
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.fixture
def many(acme: Tenant) -> Tenant:
    vectors = fan()
    texts = ["word " * (1 + n % 5) + f"number{n}" for n in range(COUNT)]
    acme.upsert(list(range(COUNT)), vectors, [{"n": n} for n in range(COUNT)], texts)
    return acme


def by_number(query: str, texts: Sequence[str]) -> list[float]:
    """The highest number first."""
    assert query == "word"
    return [float(text.rpartition("number")[2]) for text in texts]


def test_a_reranker_orders_the_best_candidates_and_leaves_the_rest_out(many: Tenant) -> None:
    hits = many.retrieve("word", 3, mode="lexical", rerank=by_number)
    assert hits.ids == [29, 28, 27]
    assert hits[0].rerank == (1, 29.0)
    assert hits[0].score == 29.0
    assert "reranked #1" in hits[0].why
    few = many.retrieve(
        "word", 30, mode="dense", vector=[1.0, 0.0], rerank=Rerank(model=by_number, depth=4)
    )
    assert few.ids == [3, 2, 1, 0]
    assert many.retrieve("word", mode="lexical", rerank=by_number, threshold=28.5).ids == [29]


def test_a_reranker_sees_no_record_without_a_text(acme: Tenant) -> None:
    acme.upsert(["bare", "told"], np.eye(2), texts=[None, "number1"])
    assert acme.retrieve("word", mode="dense", vector=[1.0, 0.0], rerank=by_number).ids == ["told"]


def test_a_reranker_reports_what_it_uses(many: Tenant) -> None:
    def paid(query: str, texts: Sequence[str]) -> np.ndarray:
        operation = current_operation()
        assert operation is not None and operation.tenant_id == "acme"
        operation.use(tokens=7)
        return np.arange(len(texts))

    many.retrieve("word", mode="lexical", rerank=paid)
    assert many.usage().tokens.used == 7


@pytest.mark.parametrize(
    "given", [[1.0], [float("nan")] * COUNT, ["high"] * COUNT, None, np.ones((COUNT, 2))]
)
def test_what_a_reranker_gives_is_checked(many: Tenant, given: Any) -> None:
    with pytest.raises(errors.RerankError, match="a reranker gives"):
        many.retrieve("word", mode="lexical", rerank=lambda query, texts: given)


def test_what_a_reranker_raises_is_raised(many: Tenant) -> None:
    def fail(query: str, texts: Sequence[str]) -> list[float]:
        raise KeyError(query)

    with pytest.raises(KeyError):
        many.retrieve("word", mode="lexical", rerank=fail)


def greedy(scores: np.ndarray, vectors: np.ndarray, relevance: float, count: int) -> list[int]:
    worth = (scores - scores.min()) / (scores.max() - scores.min())
    taken: list[int] = []
    for _ in range(count):
        rest = [one for one in range(len(scores)) if one not in taken]

        def value(one: int) -> float:
            near = max((float(vectors[one] @ vectors[other]) for other in taken), default=0.0)
            return relevance * worth[one] - (1 - relevance) * near

        taken.append(max(rest, key=value))
    return taken


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.7, 1.0])
def test_mmr_takes_what_a_plain_sweep_takes(many: Tenant, relevance: float) -> None:
    vectors = fan()
    query = [1.0, 0.0]
    asked = {"mode": "dense", "vector": query, "mmr": MMR(relevance=relevance)}
    hits = many.retrieve("word", 8, **asked)
    assert hits.ids == greedy(vectors @ query, vectors, relevance, 8)


def test_mmr_works_by_words_as_well(many: Tenant) -> None:
    plain = many.retrieve("word", 30, mode="lexical")
    diverse = many.retrieve("word", 30, mode="lexical", mmr=MMR(relevance=0.2))
    assert diverse.ids != plain.ids
    assert sorted(map(int, diverse.ids)) == sorted(map(int, plain.ids))


TEXT = "\n".join(f"line {n} of the text" for n in range(12))


@pytest.fixture
def document(acme: Tenant) -> Tenant:
    acme.ingest(Document("doc", TEXT + "\nneedle one\n\nneedle two"))
    acme.ingest(Document("other", "a needle elsewhere"))
    acme.upsert("bare", np.ones(16), texts="a needle without a document")
    return acme


def test_a_chunk_is_given_with_its_document_once(document: Tenant) -> None:
    hits = document.retrieve("needle", mode="lexical", parents=ParentDocument())
    found = {hit.document: hit for hit in hits}
    assert len(hits) == 3
    whole = found["doc"]
    assert whole.text == TEXT + "\nneedle one\nneedle two"
    assert (whole.start, whole.end) == (0, len(TEXT) + len("\nneedle one\n\nneedle two"))
    assert whole.chunks == tuple(f"doc#{n}" for n in range(14))
    assert [whole.text[span.start : span.end] for span in whole.spans] == ["needle", "needle"]
    assert found["other"].text == "a needle elsewhere"
    assert found[None].text == "a needle without a document"
    assert found[None].chunks == ()


def test_a_passage_has_nothing_that_the_filter_keeps_out(document: Tenant) -> None:
    document.update_metadata(["doc#2", "doc#8"], [{"secret": True}] * 2)
    hits = document.retrieve(
        "5 10",
        mode="lexical",
        parents=ParentDocument(),
        filter={"document": "doc", "secret": {"$exists": False}},
    )
    assert sorted(hit.chunks for hit in hits) == [
        tuple(f"doc#{n}" for n in range(3, 8)),
        tuple(f"doc#{n}" for n in range(9, 14)),
    ]


def test_a_passage_grows_by_neighbours_as_far_as_they_fit(document: Tenant) -> None:
    def passages(**settings: Any) -> list[tuple[Any, ...]]:
        hits = document.retrieve("5 9", mode="lexical", parents=ParentDocument(**settings))
        return sorted(hit.chunks for hit in hits)

    assert passages(around=1) == [("doc#4", "doc#5", "doc#6"), ("doc#8", "doc#9", "doc#10")]
    assert passages(around=0) == [("doc#5",), ("doc#9",)]
    assert passages(max_chars=45) == [("doc#5", "doc#6"), ("doc#9", "doc#10")]
    assert passages(max_chars=1) == [("doc#5",), ("doc#9",)]
    # Two passages share no chunk: what the better one has, the other leaves out.
    (first, second) = passages(around=3)
    assert not set(first) & set(second)
    assert set(first) | set(second) == {f"doc#{n}" for n in range(2, 12)} | {"doc#12"}


def test_chunks_that_overlap_are_joined_without_what_they_share() -> None:
    from llmspell.storage import encode_id, pack
    from llmspell.storage.record import StoredRecord, encode_record
    from llmspell.tenancy.parents import _joined
    from llmspell.tenancy.retrieved import Retrieved

    text = "the quick brown fox jumps"
    places = [(0, 15), (10, 19), (12, 18), (20, 25)]
    chunks = []
    for number, (start, end) in enumerate(places, 1):
        metadata = pack({"document": "d", "start": start, "end": end})
        raw = encode_record(
            number, encode_id(number), metadata, text[start:end].encode(), 4, 0, 0, 1 << 60, True
        )
        chunks.append(StoredRecord(number, raw))
    hit = _joined(Retrieved(id=1, score=1.0, text="", metadata={}), chunks)
    assert hit.text == "the quick brown fox\njumps"
    assert (hit.start, hit.end, hit.chunks) == (0, 25, (1, 2, 3, 4))


def pages(tenant: Tenant, k: int, **asked: Any) -> list[Retrieval]:
    found = [tenant.retrieve("word", k, **asked)]
    while (cursor := found[-1].cursor) is not None:
        found.append(tenant.retrieve("word", k, cursor=cursor, **asked))
    return found


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_pages_give_every_candidate_once(many: Tenant, mode: Any) -> None:
    asked = {"mode": mode, "vector": None if mode == "lexical" else [1.0, 0.0]}
    whole = many.retrieve("word", 30, **asked)
    assert whole.cursor is None
    found = pages(many, 7, **asked)
    assert [len(page) for page in found] == [7, 7, 7, 7, 2]
    assert [one for page in found for one in page.ids] == whole.ids


def test_pages_of_reranked_hits_end_with_them(many: Tenant) -> None:
    found = pages(many, 4, mode="lexical", rerank=Rerank(model=by_number, depth=10), mmr=MMR())
    assert [len(page) for page in found] == [4, 4, 2]
    assert len({one for page in found for one in page.ids}) == 10


def test_pages_of_passages_repeat_none(document: Tenant) -> None:
    asked: dict[str, Any] = {"mode": "lexical", "parents": ParentDocument()}
    first = document.retrieve("needle", 2, **asked)
    second = document.retrieve("needle", 2, cursor=first.cursor, **asked)
    assert (len(first), len(second), second.cursor) == (2, 1, None)
    assert not set(first.ids) & set(second.ids)


def test_a_cursor_holds_for_its_question_and_tenant_alone(many: Tenant, db: Database) -> None:
    asked: dict[str, Any] = {"mode": "lexical", "filter": {"n": {"$gte": 0}}}
    cursor = many.retrieve("word", 5, **asked).cursor
    assert cursor is not None
    assert len(many.retrieve("word", 5, cursor=cursor, **asked)) == 5
    other = db.create_tenant(TenantConfig(id="other", quotas=QuotaLimits.unlimited()))
    for tenant, query, k, more in [
        (other, "word", 5, asked),
        (many, "words", 5, asked),
        (many, "word", 6, asked),
        (many, "word", 5, {"mode": "lexical"}),
    ]:
        with pytest.raises(errors.InvalidCursor):
            tenant.retrieve(query, k, cursor=cursor, **more)
    for bad in (cursor[:-1], "", "x" * 2_000, 5, many.scan(limit=1).cursor):
        with pytest.raises(errors.InvalidCursor):
            many.retrieve("word", 5, cursor=bad, **asked)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidCursor):
        many.scan(cursor=cursor)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mmr": 0.5}, "mmr is"),
        ({"parents": True}, "parents is"),
        ({"rerank": "best"}, "rerank is"),
        ({"rerank": asyncio.sleep}, "isn't async"),
        ({"query": ["a", "b"], "cursor": "x"}, "one query"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(
    many: Tenant, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        many.retrieve(**{"query": "word", "mode": "lexical", **asked})


@pytest.mark.parametrize(
    "make",
    [
        lambda: MMR(relevance=1.1),
        lambda: Rerank(model=by_number, depth=0),
        lambda: Rerank(model="model"),  # type: ignore[arg-type]
        lambda: ParentDocument(around=-1),
        lambda: ParentDocument(max_chars=0),
    ],
)
def test_settings_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(errors.ConfigError):
        make()


def test_equal_scores_come_in_one_order_however_they_are_asked_for(acme: Tenant) -> None:
    ids = [f"r{(7 * n) % 150:03}" for n in range(150)]
    vectors = np.stack([np.cos(np.arange(150)), np.sin(np.arange(150))], axis=1)
    # In several commits of the engine, whose segments it looks through in an order of its own.
    for start in (0, 50, 100):
        some = ids[start : start + 50]
        acme.upsert(some, vectors[start : start + 50], [{"n": 1}] * 50, ["some word"] * 50)
        acme.retrieve("word", mode="lexical")
    oldest = ids[:20]
    assert acme.retrieve("word", 20, mode="lexical", candidates=20).ids == oldest
    assert acme.retrieve("word", 20, mode="lexical", filter={"n": 1}).ids == oldest
    batch = acme.retrieve(["word", "some word"], 20, mode="lexical")
    assert [one.ids for one in batch] == [oldest, oldest]
    paged: list[Any] = []
    cursor = None
    while len(paged) < 20:
        page = acme.retrieve("word", 5, mode="lexical", cursor=cursor)
        paged, cursor = [*paged, *page.ids], page.cursor
    assert paged == oldest
