"""What is found by meaning, by words and by both, and what is said of it."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import math
import pickle
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import (
    MMR,
    AsyncTenant,
    Database,
    Document,
    ParentDocument,
    QuotaLimits,
    ReciprocalRank,
    Rerank,
    Retrieve,
    Tenant,
    TenantConfig,
    Thresholds,
    WeightedScores,
    errors,
)

TEXTS = {
    "cats": "The cats sleep on the warm roof.",
    "dogs": "Dogs run after cats, and the cats run away.",
    "log": "A log keeps what was written, in its order.",
    "logs": "Logging writes lines; logs rotate daily.",
    "hanzi": "全文检索 finds 汉字 without spaces.",
}
#: Each text has a direction of its own.
VECTORS = dict(zip(TEXTS, np.eye(len(TEXTS), dtype=np.float32), strict=True))


@pytest.fixture
def animals(acme: Tenant) -> Tenant:
    metadata = [{"n": number} for number in range(len(TEXTS))]
    acme.upsert(list(TEXTS), np.eye(len(TEXTS)), metadata, list(TEXTS.values()))
    return acme


def by_words(tenant: Tenant, query: str, **more: Any) -> list[Any]:
    return tenant.retrieve(query, mode="lexical", **more).ids


def test_words_are_found_whatever_their_case_accent_and_ending(animals: Tenant) -> None:
    assert by_words(animals, "CAT") == ["dogs", "cats"]
    assert by_words(animals, "çats running") == ["dogs", "cats"]
    assert by_words(animals, "elephant") == []
    assert by_words(animals, "?!") == []


def test_writing_without_spaces_is_found_by_its_characters(animals: Tenant) -> None:
    assert by_words(animals, "检索") == ["hanzi"]


def test_a_hit_says_where_the_words_are_and_why_it_was_found(animals: Tenant) -> None:
    hit = animals.retrieve("running cats", vector=VECTORS["log"])[0:2]
    found = {one.id: one for one in animals.retrieve("running cats", vector=VECTORS["log"])}
    assert [one.id for one in hit] == ["log", "dogs"]
    dogs = found["dogs"]
    assert dogs.text is not None
    assert [dogs.text[span.start : span.end] for span in dogs.spans] == [
        *("run", "cats", "cats", "run")
    ]
    assert dogs.terms == ("run", "cat")
    assert dogs.lexical is not None and dogs.lexical.rank == 1 and dogs.lexical.score > 0
    assert dogs.metadata == {"n": 1}
    assert dogs.why.endswith("has run, cat")
    log = found["log"]
    assert log.lexical is None and log.dense is not None
    assert (log.dense.rank, log.dense.score) == (1, pytest.approx(1.0))
    assert log.why == "meaning #1 (1.000)"


def test_spans_are_counted_in_characters(acme: Tenant) -> None:
    text = "😀 é naïve 𝒳 word ünïcode"
    acme.upsert("one", [1.0, 0.0], texts=text)
    (hit,) = acme.retrieve("unicode naive", mode="lexical")
    assert [text[span.start : span.end] for span in hit.spans] == ["naïve", "ünïcode"]


def test_hits_are_whole_behind_the_end_of_their_tenant_and_can_be_copied(animals: Tenant) -> None:
    before = animals.retrieve("running cats", mode="lexical")
    after = animals.retrieve("running cats", mode="lexical")
    whole = [hit.spans for hit in before]
    animals.close()
    assert [hit.spans for hit in after] == whole
    assert after == before
    copied = pickle.loads(pickle.dumps(before))
    assert [hit.spans for hit in copied] == whole
    assert copied == before


def test_dense_gives_what_a_search_gives(animals: Tenant) -> None:
    query = np.array([0.5, 0.3, 0.2, 0.1, 0.0], dtype=np.float32)
    hits = animals.retrieve("anything", 3, mode="dense", vector=query)
    searched = animals.search(query, k=3)
    assert hits.ids == searched.ids
    np.testing.assert_allclose(hits.scores, searched.scores, rtol=1e-6)
    assert hits[0].spans == ()


def test_reciprocal_ranks_are_summed(animals: Tenant) -> None:
    query = np.array([0.9, 0.1, 0.5, 0.3, 0.2], dtype=np.float32)
    fusion = ReciprocalRank(k=10, dense=1.0, lexical=2.0)
    hits = animals.retrieve("cats", 5, vector=query, fusion=fusion)
    # By meaning cats, log, logs, hanzi, dogs; by words dogs, cats.
    expected = {"cats": 1 / 11 + 2 / 12, "dogs": 1 / 15 + 2 / 11, "log": 1 / 12, "logs": 1 / 13}
    assert dict(zip(hits.ids, hits.scores, strict=True)) == pytest.approx(
        {**expected, "hanzi": 1 / 14}
    )


def test_weighted_scores_count_what_words_alone_have_found_by_its_vector(animals: Tenant) -> None:
    query = np.array([0.6, 0.8, 0.0, 0.0, 0.0], dtype=np.float32)
    fusion = WeightedScores(dense=1.0, lexical=0.0)
    hits = animals.retrieve("log sleep", 5, vector=query, fusion=fusion, candidates=5)
    assert dict(zip(hits.ids, hits.scores, strict=True)) == pytest.approx(
        {"dogs": 1.0, "cats": 0.75, "log": 0.0, "logs": 0.0, "hanzi": 0.0}, abs=1e-6
    )
    # One candidate by meaning: that of the words alone is scored all the same.
    few = animals.retrieve("sleep", 1, vector=query, fusion=fusion, candidates=1)
    assert few.ids == ["dogs"]


def test_what_words_could_score_at_most_holds_behind_deletes(acme: Tenant) -> None:
    texts = [f"apple {'pie ' * number}" for number in range(5)] + ["pear"] * 40
    acme.upsert(list(range(45)), np.ones((45, 2)), texts=texts)
    fusion = WeightedScores(dense=0.0, lexical=1.0)
    before = acme.retrieve("apple", 5, fusion=fusion, vector=[1.0, 1.0])
    acme.delete(list(range(5, 45)))
    after = acme.retrieve("apple", 5, fusion=fusion, vector=[1.0, 1.0])
    assert after.ids == before.ids == [0, 1, 2, 3, 4]
    assert (np.diff(after.scores) < 0).all() and after.scores[0] < 1.0


def test_a_word_counts_as_often_as_a_query_says_it(acme: Tenant) -> None:
    acme.upsert([1, 2], np.ones((2, 2)), texts=["apple", "apple pear"])
    once = acme.retrieve("apple", mode="lexical").scores
    often = acme.retrieve("apple " * 20_000, mode="lexical").scores
    assert often == pytest.approx(20_000 * once, rel=1e-3)


def test_weighted_scores_count_words_by_what_they_could_score_at_most(animals: Tenant) -> None:
    fusion = WeightedScores(dense=0.0, lexical=2.0)
    asked = {"vector": VECTORS["log"], "fusion": fusion}
    hits = {hit.id: hit for hit in animals.retrieve("dogs unicorn", **asked)}
    # One text of five has dogs, none has unicorns.
    most = 2.2 * (math.log(1 + 4.5 / 1.5) + math.log(1 + 5.5 / 0.5))
    assert hits["dogs"].lexical is not None
    assert hits["dogs"].score == pytest.approx(hits["dogs"].lexical.score / most, rel=1e-3)
    assert hits["log"].score == 0.0
    # No text has more than it could, however short it is and however often the word comes.
    animals.upsert("only", VECTORS["hanzi"], texts="unicorn " * 200)
    animals.upsert("once", VECTORS["hanzi"], texts="unicorn")
    assert max(hit.score for hit in animals.retrieve("unicorn", **asked)) <= 1.0


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_filter_holds_for_both_ways(animals: Tenant, mode: Any) -> None:
    vector = None if mode == "lexical" else VECTORS["dogs"]
    asked = {"mode": mode, "vector": vector, "filter": {"n": {"$lt": 1}}}
    assert animals.retrieve("cats", **asked).ids == ["cats"]


@pytest.mark.parametrize("kept", [1, 40, 400])
def test_a_filter_that_keeps_few_or_many_loses_no_hit(acme: Tenant, kept: int) -> None:
    count = 500
    acme.upsert(
        list(range(count)),
        np.ones((count, 2)),
        [{"n": n} for n in range(count)],
        ["word " * (1 + n % 7) for n in range(count)],
    )
    found = acme.retrieve("word", 10, mode="lexical", filter={"n": {"$gte": count - kept}})
    assert len(found) == min(10, kept)
    assert all(hit.metadata["n"] >= count - kept for hit in found)


def test_thresholds_hold_for_each_way_and_for_the_end(animals: Tenant) -> None:
    query = np.array([0.6, 0.8, 0.0, 0.0, 0.0], dtype=np.float32)
    asked = {"vector": query, "threshold": Thresholds(dense=0.7)}
    hits = {hit.id: hit for hit in animals.retrieve("sleep", **asked)}
    assert hits.keys() == {"dogs", "cats"}
    assert hits["cats"].dense is None
    assert animals.retrieve("cats", mode="dense", vector=query, threshold=0.7).ids == ["dogs"]
    most = animals.retrieve("cats", mode="lexical")[0].score
    assert len(animals.retrieve("cats", mode="lexical", threshold=most)) == 1
    assert animals.retrieve("cats", mode="lexical", threshold=most * 1.01).ids == []


def test_a_batch_is_answered_in_its_order_and_charged_by_its_queries(db: Database) -> None:
    tenant = db.create_tenant(
        TenantConfig(id="few", quotas=QuotaLimits(max_api_calls_per_minute=4))
    )
    tenant.upsert(list(TEXTS), np.eye(len(TEXTS)), texts=list(TEXTS.values()))
    one, two = tenant.retrieve(["cats", "order"], mode="lexical")
    assert (one.ids, two.ids) == (["dogs", "cats"], ["log"])
    assert tenant.retrieve([], mode="lexical") == []
    # One call wrote, two asked: a third query is one too many for a batch of two.
    with pytest.raises(errors.QuotaExceeded, match="api_calls"):
        tenant.retrieve(["a", "b"], mode="lexical")
    assert len(tenant.retrieve(["a"], mode="lexical")) == 1


def test_a_text_is_embedded_and_charged(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one line\nanother line\nthe third"))
    before = acme.usage().embeddings.used
    hits = acme.retrieve("another line", 2)
    assert acme.usage().embeddings.used == before + 1
    assert hits[0].text == "another line"
    assert (hits[0].document, hits[0].start, hits[0].end) == ("doc", 9, 21)
    acme.retrieve("another line", mode="lexical")
    assert acme.usage().embeddings.used == before + 1


def test_writes_are_seen_at_once(animals: Tenant) -> None:
    assert by_words(animals, "cats") == ["dogs", "cats"]
    animals.upsert("cats", VECTORS["cats"], texts="nothing of the kind")
    assert by_words(animals, "cats") == ["dogs"]
    animals.delete("dogs")
    assert by_words(animals, "cats") == []
    animals.update_metadata("log", {"seen": True})
    assert animals.retrieve("log", mode="lexical", filter={"seen": True}).ids == ["log"]


def test_what_has_expired_is_not_found(db: Database, acme: Tenant) -> None:
    acme.upsert(["a", "b"], np.eye(2), texts=["some word"] * 2)
    acme.upsert("c", [1.0, 1.0], texts="some word", ttl=0.001)
    while acme.count() == 3:
        pass
    assert sorted(by_words(acme, "word", k=2)) == ["a", "b"]


def test_an_empty_tenant_finds_nothing_and_embeds_nothing(acme: Tenant) -> None:
    assert acme.retrieve("cats").ids == []
    assert acme.usage().embeddings.used == 0


def test_records_without_a_text_are_found_by_meaning_alone(acme: Tenant) -> None:
    acme.upsert(["bare", "told"], np.eye(2), texts=[None, "some words"])
    hits = acme.retrieve("words", vector=[1.0, 0.0])
    assert {hit.id: hit.text for hit in hits} == {"bare": None, "told": "some words"}


def test_async_and_as_an_object(animals: Tenant, db: Database) -> None:
    asked = Retrieve("cats", mode="lexical")
    assert animals.execute(asked).ids == ["dogs", "cats"]

    async def both() -> Sequence[Any]:
        async with llmspell.open(db.path.parent / "other") as other:
            tenant = await other.create_tenant(TenantConfig(id="acme"))
            await tenant.upsert(list(TEXTS), np.eye(len(TEXTS)), texts=list(TEXTS.values()))
            one = await tenant.retrieve("cats", mode="lexical")
            return one.ids, (await tenant.execute(asked)).ids

    assert asyncio.run(both()) == (["dogs", "cats"], ["dogs", "cats"])


def test_operations_are_counted(animals: Tenant, db: Database) -> None:
    animals.retrieve("cats", mode="lexical")
    assert db.instruments.retrieve.ok.value == 1
    assert db.instruments.stages.lexical.count == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"query": " "}, "blank"),
        ({"query": b"cats"}, "a query is a str"),
        ({"query": ["cats", 1]}, "a query is a str"),
        ({"query": "\ud800"}, "Unicode"),
        ({"mode": "sparse"}, "mode must be one of"),
        ({"consistency": "weak"}, "consistency must be one of"),
        ({"k": 0}, "from 1"),
        ({"k": True}, "an int"),
        ({"k": 10_001}, "10,000"),
        ({"candidates": 3}, "k or more"),
        ({"fusion": "rrf"}, "fusion is"),
        ({"threshold": "much"}, "threshold is"),
        ({"mode": "lexical", "vector": [1.0] * 5}, "takes no vector"),
        ({"query": " ".join(map(str, range(1_025))), "mode": "lexical"}, "1,024"),
    ],
)
def test_what_is_no_question_is_refused(
    animals: Tenant, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        animals.retrieve(**{"query": "cats", **asked})


def test_vectors_are_as_many_as_queries(animals: Tenant) -> None:
    with pytest.raises(errors.ShapeError, match=r"\(2, dim\)"):
        animals.retrieve(["cats", "dogs"], vector=np.eye(5)[:1])
    with pytest.raises(errors.DimensionMismatch):
        animals.retrieve("cats", vector=[1.0, 2.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReciprocalRank(k=0),
        lambda: ReciprocalRank(dense=0, lexical=0),
        lambda: WeightedScores(dense=-1),
        lambda: WeightedScores(lexical=float("nan")),
        lambda: Thresholds(dense=float("inf")),
    ],
)
def test_settings_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(errors.ConfigError):
        make()


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_each_index_gives_100_candidates_or_k_where_that_is_more(acme: Tenant, mode: Any) -> None:
    angles = np.linspace(0.1, 1.4, 130)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    acme.upsert(list(range(130)), vectors, texts=["word"] * 130)
    seen: list[int] = []

    def equal(query: str, texts: Sequence[str]) -> list[float]:
        seen.append(len(texts))
        return [0.0] * len(texts)

    asked: dict[str, Any] = {"mode": mode, "vector": [1.0, 0.0] if mode == "dense" else None}
    hits = acme.retrieve("word", **asked, rerank=Rerank(model=equal, depth=1_000))
    acme.retrieve("word", 120, **asked, rerank=Rerank(model=equal, depth=1_000))
    assert (seen, len(hits)) == ([100, 120], 10)
    assert len(acme.execute(Retrieve("word", **asked))) == 10


def test_scores_are_weighted_unless_ranks_are_asked_for(animals: Tenant) -> None:
    asked: dict[str, Any] = {"vector": [0.9, 0.1, 0.5, 0.3, 0.2]}
    hits = animals.retrieve("cats", **asked)
    assert hits == animals.retrieve("cats", **asked, mode="hybrid", fusion=WeightedScores())
    assert hits != animals.retrieve("cats", **asked, fusion=ReciprocalRank())


@pytest.mark.parametrize("call", [Tenant.retrieve, AsyncTenant.retrieve])
def test_call_has_the_settings_of_the_object(call: Any) -> None:
    _, _, *given = inspect.signature(call).parameters.values()
    assert {one.name: one.default for one in given} == {
        one.name: one.default for one in dataclasses.fields(Retrieve) if one.name != "query"
    }


def test_settings_are_as_the_reference_says_unless_others_are_given() -> None:
    assert Retrieve("q") == Retrieve("q", 10, "hybrid", consistency="strong")
    assert ParentDocument() == ParentDocument(around=None, max_chars=20_000)
    assert WeightedScores() == WeightedScores(dense=0.5, lexical=0.5)
    assert ReciprocalRank() == ReciprocalRank(k=60, dense=1, lexical=1)
    assert MMR() == MMR(relevance=0.7)
    assert Rerank(model=lambda query, texts: texts).depth == 50


def test_without_the_engine_words_are_refused_by_name(
    animals: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tantivy", None)
    with pytest.raises(errors.MissingDependency, match=r"llmspell\[lexical\]"):
        animals.retrieve("cats", mode="lexical")
    assert animals.retrieve("cats", mode="dense", vector=VECTORS["log"])[0].id == "log"
