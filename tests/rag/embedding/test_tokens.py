from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.rag.embedding import LocalEmbedder
from llmspell.rag.embedding.tokens import TokenCounter, batches


@cache
def counter_of(embedder: LocalEmbedder) -> TokenCounter:
    return TokenCounter(embedder.tokenizer)


COUNTS = st.lists(st.integers(0, 50), max_size=60)


@given(counts=COUNTS, max_texts=st.integers(1, 9), max_tokens=st.integers(1, 120))
def test_batches_hold_each_text_once_in_order_and_as_many_as_fit(
    counts: list[int], max_texts: int, max_tokens: int
) -> None:
    planned = list(batches(counts, max_texts=max_texts, max_tokens=max_tokens))
    assert [position for batch in planned for position in batch] == list(range(len(counts)))
    for batch, following in zip(planned, [*planned[1:], None], strict=False):
        held = sum(counts[position] for position in batch)
        assert len(batch) <= max_texts
        assert held <= max_tokens or len(batch) == 1
        if following is not None:
            assert len(batch) == max_texts or held + counts[following[0]] > max_tokens


@pytest.mark.parametrize("times", [1, 2_000])
def test_few_texts_and_many_are_counted_as_the_tokenizer_encodes_them(
    embedder: LocalEmbedder, times: int
) -> None:
    texts = ["", "Doors close.", "Straße, naïve, 한국어, 🇩🇪", "word " * times]
    expected = [len(embedder.tokenizer.encode(text).ids) for text in texts]
    assert counter_of(embedder).counts(texts) == expected
    assert expected[0] == 2


@settings(deadline=None)  # the first loads the tokenizer
@given(text=st.text(max_size=60), size=st.integers(2, 12))
def test_a_cut_text_fits_and_is_a_beginning(embedder: LocalEmbedder, text: str, size: int) -> None:
    counter = counter_of(embedder)
    cut = counter.cut(text, size)
    assert text.startswith(cut)
    assert counter.counts([cut])[0] <= max(size, 2)


def test_a_tokenizer_that_is_given_stays_as_it_is(embedder: LocalEmbedder) -> None:
    from tokenizers import Tokenizer

    given_one = Tokenizer.from_str(embedder.tokenizer.to_str())
    given_one.enable_truncation(3)
    assert TokenCounter(given_one).counts(["a text of some words"]) == [7]
    assert given_one.truncation["max_length"] == 3


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="must be a"):
        TokenCounter(3)
    with pytest.raises(errors.ConfigError, match="can't be read"):
        TokenCounter(tmp_path / "missing.json")
    damaged = tmp_path / "tokenizer.json"
    damaged.write_text("{}")
    with pytest.raises(errors.ConfigError, match="can't be read"):
        TokenCounter(damaged)
