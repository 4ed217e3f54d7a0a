"""OpenAI's embeddings, and those of the many servers that speak as it does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote

from llmspell.errors import ConfigError
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.model_facts import ModelFacts
from llmspell.rag.embedding.remote import RemoteEmbedder, Reply
from llmspell.rag.embedding.remote_settings import RemoteSettings
from llmspell.rag.embedding.replies import data_reply
from llmspell.remote import KeySource, SecretReader

__all__ = ["AzureEmbedder", "OpenAIEmbedder"]

_OPENAI: Final = "https://api.openai.com/v1"
_API_VERSION: Final = "2024-10-21"
# platform.openai.com/docs/guides/embeddings
_MODELS: Final = {
    "text-embedding-3-small": ModelFacts(1_536, 8_192),
    "text-embedding-3-large": ModelFacts(3_072, 8_192),
    "text-embedding-ada-002": ModelFacts(1_536, 8_192),
}


class OpenAIEmbedder(RemoteEmbedder):
    """Embeddings by OpenAI, or by a server with its interface: vLLM, Ollama, TEI and others.

    See :class:`llmspell.rag.embedding.RemoteEmbedder` for what all services have in common, and for
    the other arguments. ``base_url`` goes up to ``/v1``; ``dim`` and ``max_tokens`` are needed
    where the model isn't one of OpenAI's, and no key where the server wants none.

    Args:
        query_prefix, passage_prefix: what the model wants before texts of either task, such as
            ``"query: "``.

    Raises:
        ConfigError: a setting is out of range or missing.
    """

    _HOME: ClassVar[tuple[str, str] | None] = (_OPENAI, "openai")
    _MODELS: ClassVar[Mapping[str, ModelFacts]] = _MODELS
    _BATCH = (256, 100_000)
    _ALWAYS_HAS_KEY = False

    def __init__(
        self,
        model: str | None = None,
        *,
        api_key: KeySource | None = None,
        base_url: str | None = None,
        dim: int | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        tokenizer: Any = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        settings: RemoteSettings | None = None,
        secrets: SecretReader | None = None,
    ) -> None:
        super().__init__(
            model,
            api_key=api_key,
            base_url=base_url,
            dim=dim,
            dimensions=dimensions,
            max_tokens=max_tokens,
            tokenizer=tokenizer,
            settings=settings,
            secrets=secrets,
        )
        self._prefixes: dict[Task, str] = {"query": query_prefix, "passage": passage_prefix}
        if query_prefix or passage_prefix:
            marks = hashlib.blake2b(repr((query_prefix, passage_prefix)).encode(), digest_size=4)
            self.model_id = f"{self.model_id}+{marks.hexdigest()}"

    def _marked(self, text: str, task: Task) -> str:
        return self._prefixes[task] + text

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        # A quarter of the bytes of numbers as text; servers that don't know it give those.
        body: dict[str, Any] = {
            "model": self._model,
            "input": texts,
            "encoding_format": "base64",
        }
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return "/embeddings", body

    def _reply(self, answer: Any, count: int) -> Reply:
        return data_reply(answer, count)


class AzureEmbedder(OpenAIEmbedder):
    """Embeddings by a deployment of Azure OpenAI.

    Args:
        deployment: its name; it is the model's id too, for Azure doesn't say which model it is.
        endpoint: of the resource, such as ``https://acme.openai.azure.com``.
        api_key: as of :class:`OpenAIEmbedder`.
        dim, dimensions, max_tokens, tokenizer, settings, secrets: as there; ``dim`` is needed
            unless the deployment is named as its model.
        api_version: of Azure's interface.

    Raises:
        ConfigError: a setting is out of range or missing.
    """

    _HOME = None
    _ALWAYS_HAS_KEY = True

    def __init__(
        self,
        deployment: str,
        *,
        endpoint: str,
        api_key: KeySource,
        dim: int | None = None,
        dimensions: int | None = None,
        max_tokens: int | None = 8_192,
        tokenizer: Any = None,
        api_version: str = _API_VERSION,
        settings: RemoteSettings | None = None,
        secrets: SecretReader | None = None,
    ) -> None:
        if not re.fullmatch(r"[0-9a-z-]{1,40}", api_version):
            raise ConfigError(f"api_version must be a date such as {_API_VERSION!r}")
        super().__init__(
            deployment,
            api_key=api_key,
            base_url=endpoint,
            dim=dim,
            dimensions=dimensions,
            max_tokens=max_tokens,
            tokenizer=tokenizer,
            settings=settings,
            secrets=secrets,
        )
        self._path = f"/openai/deployments/{quote(deployment, safe='')}/embeddings"
        self._path += f"?api-version={api_version}"

    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        _, body = super()._request(texts, task, truncate)
        del body["model"]
        return self._path, body

    def _auth(self, key: str) -> dict[str, str]:
        return {"api-key": key}
