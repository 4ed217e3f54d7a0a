"""Any function as an embedder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, EmbeddingError, LlmspellError, TextTooLong
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.tokens import TokenCounter
from llmspell.rag.embedding.vectors import as_texts, unit_rows

__all__ = ["CallableEmbedder"]


class CallableEmbedder:
    """A function from texts to vectors as an embedder. As thread-safe as the function.

    Args:
        function: from n texts and their task to (n, dim) numbers, in order; normalised here.
        model_id: names what decides the vectors; change it when they change.
        dim: length of a vector.
        max_tokens: the longest text that the function takes.
        tokenizer: a ``tokenizers.Tokenizer``, or the path of its file, that counts as the model
            does; without one, length isn't checked and ``truncate`` has no effect.
        provider: who computes them.

    Raises:
        ConfigError: a setting is out of range, or the function is async.
    """

    def __init__(
        self,
        function: Callable[[Sequence[str], Task], Any],
        *,
        model_id: str,
        dim: int,
        max_tokens: int = 512,
        tokenizer: Any = None,
        provider: str = "callable",
    ) -> None:
        if not callable(function):
            raise ConfigError(f"function must be callable, got {type(function).__name__}")
        if inspect.iscoroutinefunction(function):
            raise ConfigError("function is called in a thread; give one that isn't async")
        if not model_id or not provider:
            raise ConfigError("model_id and provider must not be empty: they tell vectors apart")
        if dim < 1 or max_tokens < 1:
            raise ConfigError(f"dim and max_tokens must be at least 1, got {dim} and {max_tokens}")
        self._function = function
        self._counter = TokenCounter(tokenizer)
        self.provider = provider
        self.model_id = model_id
        self.dim = dim
        self.max_tokens = max_tokens

    @property
    def tokenizer(self) -> Any:
        """As it was given; None without one."""
        return self._counter.tokenizer

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`llmspell.rag.Embedder.embed`.

        Raises:
            EmbeddingError: the function raised; its exception is the cause.
            InvalidEmbedding: it gave something else than a finite vector for each text.
            TextTooLong: a text is too long for the model, ``truncate`` is False, and there is a
                tokenizer to tell.
        """
        found = as_texts(texts)
        if self._counter.is_exact:
            counts = self._counter.counts(found)
            for position, count in enumerate(counts):
                if count > self.max_tokens:
                    if not truncate:
                        raise TextTooLong(
                            f"text {position} has {count} tokens, {self.model_id} takes at most "
                            f"{self.max_tokens}; split it, or pass truncate=True"
                        )
                    found[position] = self._counter.cut(found[position], self.max_tokens)
        if not found:
            return np.empty((0, self.dim), dtype=np.float32)
        try:
            rows = self._function(found, task)
        except LlmspellError:
            raise
        except Exception as error:
            raise EmbeddingError(f"the function of {self.model_id} raised: {error}") from error
        return unit_rows(rows, count=len(found), dim=self.dim, model=self.model_id)

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, in a thread."""
        import asyncio

        return await asyncio.to_thread(self.embed, texts, task=task, truncate=truncate)
