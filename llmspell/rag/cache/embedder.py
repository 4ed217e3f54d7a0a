"""An embedder whose vectors a tenant's cache keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ClosedError, ConfigError
from llmspell.rag.embedding import Embedder, Task
from llmspell.rag.embedding.vectors import as_texts
from llmspell.tenancy import AsyncTenant, Tenant, sync_handle
from llmspell.tenancy.current import within
from llmspell.tenancy.embedding import owner_of
from llmspell.tenancy.ports import EmbeddingModel
from llmspell.tenancy.target import EMBED_LEASE_S

if TYPE_CHECKING:
    import asyncio

    from llmspell.quota import Reservation

__all__ = ["CachedEmbedder"]


class CachedEmbedder:
    """An embedder in front of which a tenant's cache stands, for what isn't search or ingestion.

    It is an :class:`llmspell.rag.Embedder` itself, sync and async, and as thread-safe as the one
    that it asks. The cache is that of the tenant's database: passages that the tenant ingested and
    queries that it was asked are found, and the other way round, where both use the same model.
    What isn't found is charged to ``max_embeddings_per_day``, what is found costs nothing.

    Args:
        embedder: asked for what isn't in the cache.
        tenant: whose cache it is; a handle, sync or async, which stays open as long as this is
            used.

    Raises:
        ConfigError: the tenant's database has no ``embedding_cache``.
    """

    def __init__(self, embedder: Embedder, tenant: Tenant | AsyncTenant) -> None:
        sync = sync_handle(tenant)
        cache = sync._residence.house.embedding_cache
        if cache is None:
            raise ConfigError(
                "the tenant's database keeps no vectors of texts; open it with "
                "embedding_cache=EmbeddingCacheSettings()"
            )
        self._embedder = embedder
        self._tenant = sync
        self._cache = cache

    def __repr__(self) -> str:
        return f"CachedEmbedder({self._embedder!r}, {self._tenant!r})"

    @property
    def provider(self) -> str:
        """As the embedder that it asks."""
        return self._embedder.provider

    @property
    def model_id(self) -> str:
        """As the embedder that it asks."""
        return self._embedder.model_id

    @property
    def dim(self) -> int:
        """As the embedder that it asks."""
        return self._embedder.dim

    @property
    def tokenizer(self) -> Any:
        """As the embedder that it asks."""
        return self._embedder.tokenizer

    @property
    def max_tokens(self) -> int:
        """As the embedder that it asks."""
        return self._embedder.max_tokens

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts, each that isn't there once; see :meth:`llmspell.rag.Embedder.embed`.

        Raises:
            ClosedError: the handle, or the database, is closed.
            QuotaExceeded: the tenant's embeddings of the day don't suffice; nothing is charged.
            TenantNotFound, TenantSuspended: meanwhile.
        """
        wanted = as_texts(texts)
        self._enter()

        def charged(missing: Sequence[str]) -> NDArray[np.float32]:
            with self._reserve(len(missing)):
                return self._embedder.embed(missing, task=task, truncate=truncate)

        owner, model = owner_of(self._tenant._residence), self._model()
        with within(self._tenant):
            return self._cache.embed(owner, model, _kind(task, truncate), wanted, charged)

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, without holding up the event loop.

        One that is cancelled charges nothing; what it embedded for others too, one of them does.
        """
        wanted = as_texts(texts)
        await self._aenter()

        async def charged(missing: Sequence[str]) -> NDArray[np.float32]:
            with await self._areserve(len(missing)):
                return await self._embedder.aembed(missing, task=task, truncate=truncate)

        owner, model = owner_of(self._tenant._residence), self._model()
        with within(self._tenant):
            return await self._cache.aembed(owner, model, _kind(task, truncate), wanted, charged)

    def _model(self) -> EmbeddingModel:
        return EmbeddingModel(self.provider, self.model_id, self.dim)

    def _enter(self) -> None:
        """Open the tenant where it isn't, and refuse one that is suspended, found or not."""
        residence = self._tenant._residence
        try:
            if self._tenant._room is None:
                self._tenant._enter()
            residence.slot.charge_all()
        except ClosedError:
            residence.check()
            raise

    async def _aenter(self) -> None:
        import asyncio

        if self._tenant._room is None:
            await asyncio.to_thread(self._enter)
        else:
            self._enter()

    def _reserve(self, count: int) -> Reservation:
        slot = self._tenant._residence.slot
        return slot.reserve(embeddings=count, lease=EMBED_LEASE_S)

    async def _areserve(self, count: int) -> Reservation:
        """In a thread, for it may ask a server; given back where the caller is cancelled."""
        import asyncio

        waiting = asyncio.ensure_future(asyncio.to_thread(partial(self._reserve, count)))
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.add_done_callback(_give_back)
            raise


def _give_back(waiting: asyncio.Future[Reservation]) -> None:
    if not waiting.cancelled() and waiting.exception() is None:
        waiting.result().cancel()


def _kind(task: Task, truncate: bool) -> str:
    """What stands for the task in a key.

    A text that must not be cut isn't to be answered by what was made of its beginning. Those of
    search and ingestion have the plain name.
    """
    is_plain = truncate == (task == "query")
    return task if is_plain else f"{task}, {'cut' if truncate else 'whole'}"
