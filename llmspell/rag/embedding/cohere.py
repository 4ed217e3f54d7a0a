"""Cohere's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.model_facts import ModelFacts
from llmspell.rag.embedding.remote import RemoteEmbedder, Reply
from llmspell.rag.embedding.replies import token_count

__all__ = ["CohereEmbedder"]

_COHERE: Final = "https://api.cohere.com"
# docs.cohere.com/docs/cohere-embed
_MODELS: Final = {
    "embed-v4.0": ModelFacts(1_536, 128_000),
    "embed-english-light-v3.0": ModelFacts(384, 512),
    "embed-english-v3.0": ModelFacts(1_024, 512),
    "embed-multilingual-light-v3.0": ModelFacts(384, 512),
    "embed-multilingual-v3.0": ModelFacts(1_024, 512),
}
_INPUT_TYPES: Final[dict[Task, str]] = {"passage": "search_document", "query": "search_query"}


class CohereEmbedder(RemoteEmbedder):
    """Embeddings by Cohere (its API v2), which is told what texts are for.

    See :class:`llmspell.rag.embedding.RemoteEmbedder` for what all services have in common.
    """

    _HOME = (_COHERE, "cohere")
    _MODELS = _MODELS
    _TELLS_TASK = True
    _BATCH = (96, 100_000)  # more texts are refused

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._model,
            "texts": texts,
            "input_type": _INPUT_TYPES[task],
            "embedding_types": ["float"],
            "truncate": "END" if truncate else "NONE",
        }
        if self._dimensions is not None:
            body["output_dimension"] = self._dimensions
        return "/v2/embed", body

    def _reply(self, answer: Any, count: int) -> Reply:
        units = (answer.get("meta") or {}).get("billed_units") or {}
        return Reply(answer["embeddings"]["float"], token_count(units.get("input_tokens")))
