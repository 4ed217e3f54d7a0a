"""What tenancy needs from text, and what text may do to a tenant.

The layer of texts stands above this one and is handed in when a database is opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError
from llmspell.tenancy.documents import (
    Blob,
    Document,
    IngestReport,
    Progress,
    SplitDocument,
    WebPage,
)

__all__ = [
    "AsyncEmbed",
    "CacheOwner",
    "Embed",
    "EmbeddingModel",
    "IngestSource",
    "IngestTarget",
    "Task",
    "TextServices",
    "VectorCache",
    "require_embedder",
]

IngestSource: TypeAlias = (
    "str | PathLike[str] | Document | Blob | WebPage"
    "| Iterable[str | PathLike[str] | Document | Blob | WebPage]"
)
"""A file or folder, a document, bytes, a page of the web, or any number of these."""

Embed: TypeAlias = Callable[[Sequence[str]], NDArray[np.float32]]
"""From n texts to (n, dim) float32."""

AsyncEmbed: TypeAlias = Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]]
"""As :data:`Embed`, to be awaited."""

Task: TypeAlias = Literal["passage", "query"]
"""What a text is embedded for: to be found, or to find others."""


class EmbeddingModel(NamedTuple):
    """What decides, with task and text, which vector comes out."""

    provider: str
    model_id: str
    dim: int

    @property
    def name(self) -> str:
        """As documents name what embedded them."""
        return f"{self.provider}/{self.model_id}"


class CacheOwner(NamedTuple):
    """A tenant as a cache knows it: no other ever has its key; its directory goes with it."""

    key: bytes
    id: str
    directory: Path


class VectorCache(Protocol):
    """Keeps the vectors of texts, of each tenant apart. Thread-safe."""

    def embed(
        self,
        owner: CacheOwner,
        model: EmbeddingModel,
        task: str,
        texts: Sequence[str],
        compute: Embed,
    ) -> NDArray[np.float32]:
        """Vectors (n, model.dim) of n texts; ``compute`` is called with those that aren't there."""

    async def aembed(
        self,
        owner: CacheOwner,
        model: EmbeddingModel,
        task: str,
        texts: Sequence[str],
        compute: AsyncEmbed,
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, without holding up the event loop."""

    def rest(self, key: bytes) -> None:
        """Close the files of a tenant that nobody uses at present."""

    def forget(self, owner: CacheOwner) -> None:
        """Keep nothing of a tenant that is about to be removed, and close its files."""

    def close(self) -> None:
        """Write what waits, and close all."""


class IngestTarget(Protocol):
    """The tenant that an ingest writes to."""

    def document_hash(self, document_id: str) -> bytes | None:
        """Content hash of a document; empty where it lost chunks, None where it isn't there."""

    def put_documents(self, batch: Sequence[SplitDocument], embed: Embed) -> int:
        """Embed and write documents in one transaction; each replaces its former self.

        Chunks of that whose text is still in it stay, where the same model embedded them.

        What can be refused beforehand is refused before ``embed`` is called, and the texts are
        charged only where the documents are written.

        Args:
            batch: documents, each of another id.
            embed: called with the texts of chunks that aren't there, in order; not at all without
                any, and again only where another write came between.

        Returns:
            Chunks that were embedded and written.

        Raises:
            InputError: a document that can't be stored.
            QuotaExceeded: nothing was charged or written.
        """


class TextServices(Protocol):
    """Turns texts into vectors. Thread-safe.

    One that has an attribute ``embedding_model``, an :class:`EmbeddingModel`, lets the vectors of
    both its ways be cached, and is refused where documents name another model as their embedder.
    """

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts to search with; none of them is blank.

        Returns:
            (len(texts), dim) float32.
        """

    def ingest(
        self, room: IngestTarget, source: IngestSource, *, progress: Progress | bool | None
    ) -> IngestReport:
        """Load, split and embed a source, and write it to ``room``.

        Args:
            progress: called after every document; True draws a bar on standard error.
        """


def require_embedder(embedder: object) -> None:
    """Refuse what can't embed, before anything asks it to.

    Raises:
        ConfigError: it isn't an :class:`llmspell.rag.Embedder`.
    """
    if isinstance(embedder, type) or not callable(getattr(embedder, "embed", None)):
        raise ConfigError(
            f"embedder must be an llmspell.rag.Embedder, got {embedder!r:.100}; there are some in "
            "llmspell.rag.embedding, of which CallableEmbedder takes a function"
        )
