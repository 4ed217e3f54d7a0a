from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llmspell import errors
from llmspell.rag.embedding import CallableEmbedder, LocalEmbedder, Task


def lengths(texts: Sequence[str], task: Task) -> list[list[float]]:
    return [[len(text), 1.0 if task == "query" else 2.0] for text in texts]


def test_a_function_gives_unit_rows_and_is_told_the_task() -> None:
    embedder = CallableEmbedder(lengths, model_id="lengths", dim=2)
    passages = embedder.embed(["abc", ""])
    np.testing.assert_allclose(np.linalg.norm(passages, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(passages[1], [0, 1])
    queries = asyncio.run(embedder.aembed(["abc", ""], task="query"))
    assert queries.dtype == np.float32 and not np.array_equal(queries, passages)
    assert embedder.embed([]).shape == (0, 2)
    assert (embedder.provider, embedder.max_tokens, embedder.tokenizer) == ("callable", 512, None)


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0]],
        [[1.0], [2.0]],
        [[1.0, 2.0], [1.0]],
        [[1.0, float("nan")], [1.0, 2.0]],
        [[1.0, float("inf")], [1.0, 2.0]],
        [[0.0, 0.0], [1.0, 2.0]],
        ["a", "b"],
        None,
        [1.0, 2.0],
    ],
)
def test_what_a_function_gives_is_checked(rows: Any) -> None:
    embedder = CallableEmbedder(lambda texts, task: rows, model_id="bad", dim=2)
    with pytest.raises(errors.InvalidEmbedding):
        embedder.embed(["a", "b"])


def test_vectors_of_any_length_become_unit_ones() -> None:
    rows = [[1e300, 1e300], [1e-300, 0.0]]
    embedder = CallableEmbedder(lambda texts, task: rows, model_id="wide", dim=2)
    np.testing.assert_allclose(
        embedder.embed(["a", "b"]), [[0.5**0.5, 0.5**0.5], [1, 0]], rtol=1e-6
    )


def test_what_a_function_raises_is_the_cause() -> None:
    def fails(texts: Sequence[str], task: Task) -> None:
        raise KeyError("gone")

    embedder = CallableEmbedder(fails, model_id="fails", dim=2)
    with pytest.raises(errors.EmbeddingError, match="gone") as failed:
        embedder.embed(["a"])
    assert isinstance(failed.value.__cause__, KeyError)


def test_async_function_is_refused() -> None:
    async def awaited(texts: Sequence[str], task: Task) -> list[list[float]]:
        return [[1.0, 0.0]] * len(texts)

    with pytest.raises(errors.ConfigError, match="isn't async"):
        CallableEmbedder(awaited, model_id="awaited", dim=2)


def test_length_is_checked_by_the_tokenizer(embedder: LocalEmbedder) -> None:
    seen: list[str] = []

    def keep(texts: Sequence[str], task: Task) -> list[list[float]]:
        seen.extend(texts)
        return lengths(texts, task)

    short = CallableEmbedder(
        keep, model_id="short", dim=2, max_tokens=4, tokenizer=embedder.tokenizer
    )
    with pytest.raises(errors.TextTooLong, match="text 1 has 5 tokens"):
        short.embed(["one two", "one two three"])
    assert not seen
    short.embed(["one two three"], truncate=True)
    assert seen == ["one two"]
