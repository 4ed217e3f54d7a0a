"""What embedders that ask a service have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, InputError, TextTooLong
from llmspell.observability import MODELS, Model
from llmspell.rag.embedding.base_url import checked_url, place
from llmspell.rag.embedding.charges import hold_tokens
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.model_facts import ModelFacts, facts_of
from llmspell.rag.embedding.remote_settings import EmbeddingUsage, RemoteSettings
from llmspell.rag.embedding.tokens import TokenCounter, batches
from llmspell.rag.embedding.vectors import as_texts
from llmspell.remote import KeyReader, KeySource, SecretReader
from llmspell.security import Secret

if TYPE_CHECKING:
    import asyncio

    from llmspell.rag.embedding.remote_call import EmbeddingCall

__all__ = ["RemoteEmbedder", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service gave: a row for each text, and the tokens that it counted, if it says."""

    rows: object
    tokens: int | None


class RemoteEmbedder(ABC):
    """Asks a service for vectors: in batches, several at once, again where that may help.

    Thread-safe; any number of threads and tasks may embed at once, and share ``concurrency``.
    Connections are opened with the first text; close it, or use it in ``with``.

    In an operation of a tenant, :func:`llmspell.current_operation`, the tokens that a call takes
    are charged to it. Before anything is sent they are set aside, as the tokenizer counts them, or
    guessed by bytes without one; at the end what the answers report is charged in their place. What
    was sent and not answered may be billed, and is charged as it was set aside.

    Args:
        model: its name at the service; the service's newest where None.
        api_key: a :class:`llmspell.security.Secret`; or, read anew for each request, a
            :class:`llmspell.security.SecretRef` or a function that gives a secret.
        base_url: of the service; its own where None.
        dim: length of the model's vectors, where the model isn't known here.
        dimensions: have the service shorten the vectors to so many, where the model can.
        max_tokens: the longest text that the model takes, where the model isn't known here.
        tokenizer: a ``tokenizers.Tokenizer`` that counts as the model does, or the path of its
            ``tokenizer.json``. Texts that are too long are then refused before they are sent.
        settings: batches, concurrency, retries and time.
        secrets: what reads an ``api_key`` that is a reference; the process's environment where
            None.

    Raises:
        ConfigError: a setting is out of range or missing.
    """

    #: Base URL and name of the service; None where each has its own.
    _HOME: ClassVar[tuple[str, str] | None]
    #: What is known of its models; the first is the default.
    _MODELS: ClassVar[Mapping[str, ModelFacts]]
    #: Texts and tokens of a request.
    _BATCH: ClassVar[tuple[int, int]]
    #: Whether the service is told what texts are for. That decides the vectors, so those of another
    #: interface of the same host are told apart.
    _TELLS_TASK: ClassVar[bool] = False
    #: Whether a server that isn't the service's own wants a key, too.
    _ALWAYS_HAS_KEY: ClassVar[bool] = True

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
        settings: RemoteSettings | None = None,
        secrets: SecretReader | None = None,
    ) -> None:
        home, name = self._HOME or ("", "")
        base_url = home if base_url is None else base_url
        model = next(iter(self._MODELS), "") if model is None else model
        self._settings = settings or RemoteSettings()
        self._url = checked_url(
            base_url, has_key=api_key is not None, allow_http=self._settings.allow_http
        )
        if not isinstance(model, str) or not model:
            raise ConfigError("model must be the name of a model")
        facts = facts_of(self._MODELS, model, dim if dimensions is None else dimensions, max_tokens)
        self._model = model
        self._dimensions = dimensions
        self._key = None if api_key is None else KeyReader(api_key, name or base_url, secrets)
        self._counter = TokenCounter(tokenizer)
        self._lock = threading.Lock()
        self._texts = self._tokens = 0
        where = place(self._url, home=home)
        elsewhere = f"{name}@{where}" if self._TELLS_TASK else where
        self.provider = name if self._url == home else elsewhere
        if api_key is None and (self._ALWAYS_HAS_KEY or self._url == home):
            raise ConfigError(f"{name or self.provider} wants an api_key, such as Secret(...)")
        self.model_id = model
        self._counted = Model("embeddings", self.provider, model)
        from llmspell.rag.embedding.service import Service  # it needs asyncio

        self._service = Service(self._settings, self._counted, self._key, self._headers)
        self.dim = facts.dim
        self.max_tokens = facts.max_tokens

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model!r}, url={self._url!r}, dim={self.dim})"

    @property
    def tokenizer(self) -> Any:
        """As it was given; None without one."""
        return self._counter.tokenizer

    @property
    def usage(self) -> EmbeddingUsage:
        """What this embedder has used so far."""
        with self._lock:
            return EmbeddingUsage(
                requests=self._service.sent, texts=self._texts, tokens=self._tokens
            )

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`llmspell.rag.Embedder.embed`.

        An empty text is sent as a space, for services refuse it. Without a tokenizer it is the
        service that finds a text too long, when others may have been embedded; ``truncate`` then
        sends it again, shorter by a quarter each time.

        Raises:
            EmbeddingError: the service failed, or refused; a subclass says how.
            MissingDependency: the extra ``embeddings`` isn't installed.
            QuotaExceeded: the tenant of the current operation has no tokens or money left.
            TextTooLong: a text is too long for the model, and ``truncate`` is False.
        """
        from llmspell.remote.background import run_in_background

        call, planned = self._planned(texts, task, truncate)
        if planned:
            try:
                run_in_background(call.run(planned), holds_up=True)
            finally:
                call.give_back()
        return call.rows

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`; cancelling it ends its requests.

        What was sent by then may be billed, and is charged as it was counted or guessed.
        """
        import asyncio

        from llmspell.remote.background import await_in_background

        # Counting takes a while, and charging may ask a server.
        planning = asyncio.ensure_future(asyncio.to_thread(self._planned, texts, task, truncate))
        try:
            call, planned = await asyncio.shield(planning)
        except asyncio.CancelledError:
            planning.add_done_callback(_give_back)  # the thread goes on
            raise
        if planned:
            try:
                await await_in_background(call.run(planned))
            finally:
                call.give_back()  # of one that was cancelled before its turn
        return call.rows

    def _planned(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[EmbeddingCall, list[list[int]]]:
        """A call, and the batches that it sends; what is known of its cost is set aside."""
        from llmspell.rag.embedding.remote_call import EmbeddingCall

        if task not in ("passage", "query"):
            raise InputError(f"task must be 'passage' or 'query', got {task!r}")
        found = [self._marked(text, task) or " " for text in as_texts(texts)]
        counts = self._fit(found, truncate)
        hold = hold_tokens(sum(counts), price=self._settings.price)
        size, tokens = self._BATCH
        planned = batches(
            counts,
            max_texts=self._settings.batch_texts or size,
            max_tokens=self._settings.batch_tokens or tokens,
        )
        return EmbeddingCall(self, found, counts, hold, task, truncate), list(planned)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _request(
        self, texts: Sequence[str], task: Task, truncate: bool
    ) -> tuple[str, dict[str, Any]]:
        """Path behind the base URL, and body."""

    @abstractmethod
    def _reply(self, answer: Any, count: int) -> Reply:
        """Read an answer; KeyError, TypeError and the like where it isn't as it should be."""

    def _auth(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _marked(self, text: str, task: Task) -> str:
        """A text as the model wants it for a task, where the service doesn't see to that."""
        return text

    def _fit(self, texts: list[str], truncate: bool) -> list[int]:
        """Tokens of each text; texts that are too long are cut in place."""
        counts = self._counter.counts(texts)
        if not self._counter.is_exact:  # the service cuts them, or refuses them until they fit
            return [min(count, self.max_tokens) for count in counts] if truncate else counts
        for position, count in enumerate(counts):
            if count > self.max_tokens:
                if not truncate:
                    raise TextTooLong(
                        f"text {position} has {count} tokens, {self.model_id} takes at most "
                        f"{self.max_tokens}; split it, or pass truncate=True"
                    )
                texts[position] = self._counter.cut(texts[position], self.max_tokens)
                counts[position] = self.max_tokens
        return counts

    def _count(self, texts: int, tokens: int) -> None:
        with self._lock:
            self._texts += texts
            self._tokens += tokens
        MODELS.used(self._counted, input=tokens, cost=tokens * self._settings.price / 1e6)

    def _headers(self, key: Secret[str] | None) -> Mapping[str, str]:
        return {} if key is None else self._auth(key.reveal())


def _give_back(planning: asyncio.Future[tuple[EmbeddingCall, list[list[int]]]]) -> None:
    if not planning.cancelled() and planning.exception() is None:
        planning.result()[0].give_back()
