"""Embeddings by servers that one runs oneself, in formats of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.model_facts import ModelFacts
from llmspell.rag.embedding.openai import OpenAIEmbedder
from llmspell.rag.embedding.remote import Reply
from llmspell.rag.embedding.replies import token_count

__all__ = ["OllamaEmbedder", "TEIEmbedder"]


class OllamaEmbedder(OpenAIEmbedder):
    """Embeddings by Ollama's own ``/api/embed``, which cuts texts itself where it is told to.

    Arguments are those of :class:`OpenAIEmbedder`; ``base_url`` is as ``http://localhost:11434``.
    """

    _HOME = None
    _MODELS: ClassVar[Mapping[str, ModelFacts]] = {}

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"model": self._model, "input": texts, "truncate": truncate}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return "/api/embed", body

    def _reply(self, answer: Any, count: int) -> Reply:
        return Reply(answer["embeddings"], token_count(answer.get("prompt_eval_count")))


class TEIEmbedder(OpenAIEmbedder):
    """Embeddings by Hugging Face's Text Embeddings Inference, by its own ``/embed``.

    The server cuts texts itself where it is told to. Its answers are nothing but vectors, so that a
    tenant is charged for tokens as the tokenizer counts them, or as they are guessed. Arguments are
    those of :class:`OpenAIEmbedder`; ``model`` is a name of yours for what the server serves.
    """

    _HOME = None
    _MODELS: ClassVar[Mapping[str, ModelFacts]] = {}
    _BATCH = (32, 16_384)  # what a server takes unless it was told otherwise

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"inputs": texts, "truncate": truncate}
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return "/embed", body

    def _reply(self, answer: Any, count: int) -> Reply:
        return Reply(answer, None)
