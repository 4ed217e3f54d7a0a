"""Voyage's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from llmspell.errors import ConfigError
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.openai import facts_of
from llmspell.rag.embedding.remote import ApiKey, ModelFacts, RemoteEmbedder, Reply
from llmspell.rag.embedding.remote_settings import RemoteSettings
from llmspell.rag.embedding.replies import data_reply

__all__ = ["VoyageEmbedder"]

_VOYAGE: Final = "https://api.voyageai.com/v1"
# docs.voyageai.com/docs/embeddings
_MODELS: Final = {
    "voyage-3-large": ModelFacts(1_024, 32_000),
    "voyage-3.5": ModelFacts(1_024, 32_000),
    "voyage-3.5-lite": ModelFacts(1_024, 32_000),
    "voyage-code-3": ModelFacts(1_024, 32_000),
    "voyage-finance-2": ModelFacts(1_024, 32_000),
    "voyage-law-2": ModelFacts(1_024, 16_000),
}
_INPUT_TYPES: Final[dict[Task, str]] = {"passage": "document", "query": "query"}


class VoyageEmbedder(RemoteEmbedder):
    """Embeddings by Voyage, which is told what texts are for.

    See :class:`llmspell.rag.embedding.RemoteEmbedder` for what all services have in common.

    Args:
        model: its name.
        api_key: a :class:`llmspell.security.Secret`, or a function that gives one for each request.
        base_url: up to ``/v1``.
        dim, max_tokens: of the model, where it isn't known here.
        dimensions: have the service shorten the vectors to so many, where the model can.
        tokenizer: as of :class:`OpenAIEmbedder`.
        settings: batches, concurrency, retries and time.

    Raises:
        ConfigError: a setting is out of range or missing.
    """

    _BATCH: ClassVar[tuple[int, int]] = (256, 100_000)  # 120,000 tokens at most for some models

    def __init__(
        self,
        model: str = "voyage-3.5",
        *,
        api_key: ApiKey,
        base_url: str = _VOYAGE,
        dim: int | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        tokenizer: Any = None,
        settings: RemoteSettings | None = None,
    ) -> None:
        if api_key is None:
            raise ConfigError("Voyage wants an api_key, such as Secret(...)")
        super().__init__(
            model,
            home=(_VOYAGE, "voyage"),
            base_url=base_url,
            api_key=api_key,
            facts=facts_of(_MODELS, model, dim if dimensions is None else dimensions, max_tokens),
            tokenizer=tokenizer,
            settings=settings,
        )
        self._dimensions = dimensions

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
