"""Cohere's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from llmspell.errors import ConfigError
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.openai import facts_of
from llmspell.rag.embedding.remote import ApiKey, ModelFacts, RemoteEmbedder, Reply
from llmspell.rag.embedding.remote_settings import RemoteSettings
from llmspell.rag.embedding.replies import token_count

__all__ = ["CohereEmbedder"]

_COHERE: Final = "https://api.cohere.com"
# docs.cohere.com/docs/cohere-embed
_MODELS: Final = {
    "embed-english-light-v3.0": ModelFacts(384, 512),
    "embed-english-v3.0": ModelFacts(1_024, 512),
    "embed-multilingual-light-v3.0": ModelFacts(384, 512),
    "embed-multilingual-v3.0": ModelFacts(1_024, 512),
    "embed-v4.0": ModelFacts(1_536, 128_000),
}
_INPUT_TYPES: Final[dict[Task, str]] = {"passage": "search_document", "query": "search_query"}


class CohereEmbedder(RemoteEmbedder):
    """Embeddings by Cohere (its API v2), which is told what texts are for.

    See :class:`llmspell.rag.embedding.RemoteEmbedder` for what all services have in common.

    Args:
        model: its name.
        api_key: a :class:`llmspell.security.Secret`, or a function that gives one for each request.
        base_url: of the service; another for a private deployment.
        dim, max_tokens: of the model, where it isn't known here.
        dimensions: have the service shorten the vectors to so many, where the model can.
        tokenizer: as of :class:`OpenAIEmbedder`.
        settings: batches, concurrency, retries and time.

    Raises:
        ConfigError: a setting is out of range or missing.
    """

    _BATCH: ClassVar[tuple[int, int]] = (96, 100_000)  # more texts are refused

    def __init__(
        self,
        model: str = "embed-v4.0",
        *,
        api_key: ApiKey,
        base_url: str = _COHERE,
        dim: int | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        tokenizer: Any = None,
        settings: RemoteSettings | None = None,
    ) -> None:
        if api_key is None:
            raise ConfigError("Cohere wants an api_key, such as Secret(...)")
        super().__init__(
            model,
            home=(_COHERE, "cohere"),
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
