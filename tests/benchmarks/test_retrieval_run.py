from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import retrieval
from benchmarks.corpus import library_files
from benchmarks.retrieval_sets import SETS
from benchmarks.tables.retrieval import retrieval_summary, retrieval_table


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """How often each letter comes: enough of a vector for texts to differ."""
    counts = np.array(
        [[text.lower().count(chr(97 + n)) + 0.01 for n in range(26)] for text in texts]
    )
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", ["docstrings", "topics"])
def test_a_set_has_texts_that_do_not_give_the_query_away(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of the library takes a while to read.
    some = [file for file in library_files() if file.parent.name == "asyncio"]
    monkeypatch.setattr("benchmarks.retrieval_sets.library_files", lambda: some)
    made = SETS[name](40, 0)
    assert len(made.texts) == len(set(made.texts.values())) == 40
    assert SETS[name](40, 0) == made
    for query, relevant in made.queries:
        assert relevant <= made.texts.keys()
        assert all(made.texts[one] != query for one in relevant)
    assert len(made.sample(5, 1).queries) == 5


def test_a_package_s_questions_find_their_answers() -> None:
    pytest.importorskip(
        "zaragoza_construction_faq", reason="pip install 'llmspell[bench-retrieval]'"
    )
    made = SETS["construction"](1_000, 0)
    assert (len(made.texts), len(made.queries)) == (503, 497)
    assert all(relevant <= made.texts.keys() for _, relevant in made.queries)


def test_weights_are_compared_on_queries_that_are_not_measured_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tantivy", reason="pip install 'llmspell[lexical]'")
    monkeypatch.setattr(retrieval, "WEIGHED_ON", "topics")
    result = retrieval.run(["topics"], texts=30, queries=20, peers=(), embed=letters, times=False)
    (one,) = result["sets"]
    weighed = one["weights"]
    assert (one["queries"], weighed["queries"]) == (20, 10)
    assert list(weighed["ndcg_at_10"]) == ["0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]
    assert one["lexical_index"] is None and "p50_ms" not in one["ways"]["hybrid"]
    assert any("10 other queries of this set" in line for line in retrieval_table(result))


def test_ndcg_is_that_of_the_field() -> None:
    relevant = frozenset("ab")
    assert retrieval.ndcg(["a", "b", "c"], relevant) == 1.0
    assert retrieval.ndcg(["c", "a"], relevant) == pytest.approx(
        (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    )
    assert retrieval.ndcg([*"cdefghijkl", "a"], relevant) == 0.0


def test_a_run_measures_every_way_and_draws_a_table() -> None:
    pytest.importorskip("tantivy", reason="pip install 'llmspell[lexical]'")
    result = retrieval.run(["topics"], texts=30, queries=6, peers=(), embed=letters)
    (one,) = result["sets"]
    assert (one["texts"], one["queries"]) == (30, 6)
    assert list(one["ways"]) == [
        *("lexical", "dense", "hybrid", "hybrid, reciprocal ranks", "hybrid, reranked")
    ]
    for row in one["ways"].values():
        assert 0 <= row["ndcg_at_10"] <= 1
        assert row["recall_at_10"] <= row["recall_at_50"] <= 1
    assert one["ways"]["lexical"]["ndcg_at_10"] > 0
    table = retrieval_table(result)
    assert sum(line.startswith("| llmspell") for line in table) == 5
    assert len(retrieval_summary(result)) == 1
