"""Ranking by words: in one order whatever the engine's files look like, and by the living texts."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmspell.storage.lexical.analyzer import Analyzer
from llmspell.storage.lexical.text_index import MOST_DRIFT, TextIndex
from llmspell.storage.lexical.text_searcher import TextSearcher

WORDS = ("apple", "pear", "plum", "fig")


@pytest.fixture
def index(tmp_path: Path) -> TextIndex:
    return TextIndex(tmp_path)


def ranked(index: TextIndex, query: str, limit: int, **rows: list[int]) -> list[tuple[int, float]]:
    chosen = {name: np.array(given, dtype=np.int64) for name, given in rows.items()}
    found = index.search(index.analyzer.terms(query), limit, **chosen)
    return list(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


def test_every_cut_is_a_part_of_one_order(index: TextIndex) -> None:
    drawn = random.Random(0)
    living: set[int] = set()
    row = 0
    for size in (40, 90, 3, 60, 25):
        texts = [" ".join(drawn.choices(WORDS, k=drawn.randrange(4))) for _ in range(size)]
        added = list(enumerate(texts, row + 1))
        removed = drawn.sample(sorted(living), len(living) // 5)
        index.apply(added, removed)
        row += size
        living = (living | {one for one, _ in added}) - {*removed}
    assert index.documents == len(living)
    for _ in range(60):
        query = " ".join(drawn.choices(WORDS, k=drawn.randint(1, 4)))
        limit = drawn.randint(1, 30)
        whole = ranked(index, query, row)
        assert whole == sorted(whole, key=lambda one: (-one[1], one[0]))
        assert len({score for _, score in whole}) < len(whole)
        assert ranked(index, query, limit) == whole[:limit]
        some = sorted(drawn.sample(sorted(living), drawn.randint(1, len(living))))
        few = [one for one in whole if one[0] in some]
        assert ranked(index, query, limit, allowed=some) == few[:limit]
        others = [one for one in whole if one[0] not in some]
        assert ranked(index, query, limit, refused=some) == others[:limit]


def test_equals_that_are_too_many_to_look_through_are_cut_by_their_rows(
    index: TextIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(range(1, 2_001))
    random.Random(0).shuffle(rows)
    for start in range(0, 2_000, 500):
        index.apply([(row, "apple") for row in rows[start : start + 500]], ())
    index.apply([(3_000, "apple apple"), (2_500, "apple apple")], rows[:3])
    living = sorted(rows[3:])
    looked: list[int] = []
    fetch = TextSearcher._fetch

    def counting(self: TextSearcher, query: Any, asked: int, choice: Any) -> Any:
        looked.append(asked)
        return fetch(self, query, asked, choice)

    monkeypatch.setattr(TextSearcher, "_fetch", counting)
    best = [row for row, _ in ranked(index, "apple", 10)]
    assert best == [2_500, 3_000, *living[:8]]
    assert sum(looked) < 500, looked
    odd = [row for row in living if row % 2]
    assert [row for row, _ in ranked(index, "apple", 10, allowed=odd)] == odd[:10]


def paragraphs() -> Iterator[str]:
    """Of Python's language reference, as it ships with it."""
    from pydoc_data.topics import topics

    for _, page in sorted(topics.items()):
        for text in page.split("\n\n"):
            if len(text) > 80:
                yield text


def drift(index: TextIndex, anew: TextIndex, queries: Sequence[str]) -> float:
    """By how much the best scores are other than those of an index of the same texts, made anew."""
    most = 0.0
    for query in queries:
        mine, others = dict(ranked(index, query, 10)), dict(ranked(anew, query, 10))
        assert len(mine) == len(others)
        most = max([most, *(abs(mine[row] / others[row] - 1) for row in mine.keys() & others)])
    return most


@pytest.mark.parametrize("order", ["mixed", "longest", "shortest"])
def test_removed_texts_make_no_word_more_frequent(
    index: TextIndex, tmp_path: Path, order: str
) -> None:
    kept = list(paragraphs())[:900]
    kept.sort(key=len, reverse=order == "longest")
    if order == "mixed":
        # Four of nine of every length go first.
        kept = [text for _, text in sorted(enumerate(kept), key=lambda one: one[0] % 9)]
    texts = list(enumerate(kept, 1))
    queries = [" ".join(re.findall(r"\w+", text)[:6]) for _, text in texts[::40]]
    index.apply(texts, ())
    index.apply((), [row for row, _ in texts[:400]])
    (tmp_path / "anew").mkdir()
    anew = TextIndex(tmp_path / "anew")
    anew.apply(texts[400:], ())
    assert index._searcher.removed == 400
    # What is left is the mean length of a text, which the engine takes over removed ones as well.
    told = index._searcher.drift(lambda row: index.analyzer.terms(texts[row - 1][1]))
    assert (told > MOST_DRIFT) == (order != "mixed")
    assert 0 < drift(index, anew, queries) < told + 1e-6
    assert index.is_worn(lambda row: texts[row - 1][1]) == (order != "mixed")
    assert not index.is_worn(lambda row: None)
    assert not anew.is_worn(lambda row: texts[row - 1][1])
    for query in queries:
        terms = index.analyzer.terms(query)
        assert index.most(terms) == pytest.approx(anew.most(terms))


def test_terms_are_counted_as_they_are_made() -> None:
    analyzer = Analyzer()
    for size in (126, 127, 128, 129, 300):
        for letter in ("a", "\xe9", "7"):
            text = f"one {letter * size}, two_three{letter * (size // 2)}"
            assert analyzer.count(text) == len(analyzer.terms(text)), (letter, size)
    odd = ["", " \n", "don't x-1 3.14", "a\x00b", "\u4e2d\u6587 words", "cafe\u0301 \u0939\u093f"]
    for text in [*list(paragraphs())[:50], *odd]:
        assert analyzer.count(text) == len(analyzer.terms(text)), text
