"""What tenancy needs from text, and what text may do to a tenant.

The layer of texts stands above this one and is handed in when a database is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.tenancy.model import Document, IngestReport, PreparedDocument, Progress

__all__ = ["IngestSource", "IngestTarget", "TextServices"]

IngestSource: TypeAlias = (
    "str | PathLike[str] | Document | Iterable[str | PathLike[str] | Document]"
)
"""A file or folder, a document, or any number of either."""


class IngestTarget(Protocol):
    """The tenant that an ingest writes to."""

    def document_hash(self, document_id: str) -> bytes | None:
        """Content hash of a document; empty where it lost chunks, None where it isn't there."""

    def charge_embeddings(self, count: int) -> None:
        """Charge texts that are about to be embedded.

        Raises:
            QuotaExceeded: nothing was charged.
        """

    def put_documents(self, batch: Sequence[PreparedDocument]) -> None:
        """Write documents in one transaction; each replaces all chunks of its former self.

        Raises:
            InputError: a document that can't be stored.
            QuotaExceeded: documents, vectors or storage; nothing was written.
        """


class TextServices(Protocol):
    """Turns texts into vectors. Thread-safe."""

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts to search with.

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
