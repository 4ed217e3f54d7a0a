"""Voyage's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.model_facts import ModelFacts
from llmspell.rag.embedding.remote import RemoteEmbedder, Reply
from llmspell.rag.embedding.replies import data_reply

__all__ = ["VoyageEmbedder"]

_VOYAGE: Final = "https://api.voyageai.com/v1"
# docs.voyageai.com/docs/embeddings
_MODELS: Final = {
    "voyage-3.5": ModelFacts(1_024, 32_000),
    "voyage-3-large": ModelFacts(1_024, 32_000),
    "voyage-3.5-lite": ModelFacts(1_024, 32_000),
    "voyage-code-3": ModelFacts(1_024, 32_000),
    "voyage-finance-2": ModelFacts(1_024, 32_000),
    "voyage-law-2": ModelFacts(1_024, 16_000),
}
_INPUT_TYPES: Final[dict[Task, str]] = {"passage": "document", "query": "query"}


class VoyageEmbedder(RemoteEmbedder):
    """Embeddings by Voyage, which is told what texts are for.

    See :class:`llmspell.rag.embedding.RemoteEmbedder` for what all services have in common.
    """

    _HOME = (_VOYAGE, "voyage")
    _MODELS = _MODELS
    _TELLS_TASK = True
    _BATCH = (256, 100_000)  # 120,000 tokens at most for some models

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._model,
            "input": texts,
            "input_type": _INPUT_TYPES[task],
            "truncation": truncate,
            "encoding_format": "base64",
        }
        if self._dimensions is not None:
            body["output_dimension"] = self._dimensions
        return "/embeddings", body

    def _reply(self, answer: Any, count: int) -> Reply:
        return data_reply(answer, count)
