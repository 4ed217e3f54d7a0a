"""Text services without a model: the embedded default's part, in a form tests can predict."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmspell import Document, IngestProgress, IngestReport
from llmspell.tenancy import (
    Chunk,
    IngestSource,
    IngestTarget,
    Progress,
    SplitDocument,
)

DIM = 16


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """A vector for each text that depends on nothing but the text."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        rows.append(np.random.default_rng(seed).standard_normal(DIM))
    return np.array(rows, dtype=np.float32).reshape(-1, DIM)


def split(document: Document, embedder: str = "") -> SplitDocument:
    """One chunk for each line that isn't empty."""
    chunks, start = [], 0
    for line in document.text.splitlines(keepends=True):
        text = line.rstrip("\n")
        if text:
            chunks.append(Chunk(text, start, start + len(text)))
        start += len(line)
    content = repr((document.text, sorted(document.metadata.items()), embedder)).encode()
    return SplitDocument(
        id=document.id,
        content_hash=hashlib.blake2b(content, digest_size=16).digest(),
        metadata=document.metadata,
        chunks=chunks,
        source=document.source,
        embedder=embedder,
    )


class Lines:
    """Text services that split into lines, and name no model, so that no chunk is kept."""

    embedder = ""

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return embed(texts)

    def ingest(
        self, room: IngestTarget, source: IngestSource, *, progress: Progress | None
    ) -> IngestReport:
        documents = [source] if isinstance(source, Document) else list(source)  # type: ignore[arg-type]
        added = replaced = unchanged = chunks = 0
        for number, document in enumerate(documents, 1):
            made = split(document, self.embedder)
            known = room.document_hash(document.id)
            if known == made.content_hash:
                unchanged += 1
            else:
                chunks += room.put_documents([made], self.embed_query)
                added += known is None
                replaced += known is not None
            if progress is not None:
                progress(
                    IngestProgress(
                        documents=number, total=len(documents), chunks=chunks, current=document.id
                    )
                )
        return IngestReport(added=added, replaced=replaced, unchanged=unchanged, chunks=chunks)
