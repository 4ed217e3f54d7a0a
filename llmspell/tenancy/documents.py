"""Documents on their way into a tenant, and what an ingest tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from llmspell.tenancy.model import Metadata

__all__ = [
    "Blob",
    "Chunk",
    "Document",
    "DocumentInfo",
    "DocumentPage",
    "IngestProgress",
    "IngestReport",
    "Progress",
    "SplitDocument",
    "WebPage",
]


@dataclass(frozen=True, slots=True)
class Document:
    """A text to ingest.

    Args:
        id: identifies it within its tenant; ingesting the same id again replaces it.
        text: its whole content.
        metadata: copied to every chunk of it. An ingest writes ``document``, ``version``, ``start``
            and ``end`` there itself, and refuses them here.
        media_type: says how to read ``text``: "text/plain", "text/markdown", "text/html",
            "text/csv", "application/jsonl", or a source's, such as "text/x-python".
        source: where it comes from, such as a path or a URL; kept on every chunk. Where None, what
            ``metadata`` has as ``source``, or its id.
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    media_type: str = "text/plain"
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to ingest, as those of a file: an upload, an attachment, an object of a bucket.

    Args:
        id: as of a :class:`Document`.
        data: all of them.
        metadata: copied to every chunk.
        media_type: what they are, as a server would say it; taken from ``name`` and from the bytes
            themselves where None.
        name: of the file, for its extension; the id where None.
        source: as of a :class:`Document`.
    """

    id: str
    data: bytes = field(repr=False)
    metadata: Metadata = field(default_factory=dict)
    media_type: str | None = None
    name: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page to fetch and ingest, by the broker that the database's texts were made with.

    Args:
        url: of http or https.
        id: as of a :class:`Document`; the URL where None.
        metadata: copied to every chunk.
    """

    url: str
    id: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: ``text`` is what stands from ``start`` to ``end``, in characters."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document that is split, ready to be embedded and written.

    Args:
        id: of the document.
        content_hash: equal for equal content, metadata and way of splitting; not empty.
        metadata: of the document.
        chunks: in order.
        source: where it comes from; its id where None.
        embedder: names the model that its chunks are embedded with. Chunks that are there with the
            same text, embedded by the same model, stay as they are; none does where it is empty.
    """

    id: str
    content_hash: bytes
    metadata: Metadata
    chunks: Sequence[Chunk]
    source: str | None = None
    embedder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """An ingested document.

    Args:
        id: of the document.
        version: 1 at first, and one more with each ingest that changed it.
        content_hash: of its content, metadata and way of splitting, in hexadecimal digits; empty
            where a chunk of it was deleted or replaced since, so that the next ingest makes it
            whole again.
        source: where it comes from.
        metadata: of the document, as it was given and read; every chunk has it.
        chunks: how many it has.
        created_at: when it was first ingested, UTC.
        updated_at: when this version of it was, UTC.
    """

    id: str
    version: int
    content_hash: str
    source: str
    metadata: Mapping[str, object]
    chunks: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPage:
    """A page of the list of documents.

    Args:
        documents: in the order of their ids in UTF-8.
        cursor: goes on behind the last of them, also in another process; None at the end.
    """

    documents: list[DocumentInfo]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """How far an ingest has come.

    Args:
        documents: done so far, the unchanged ones included.
        total: documents there are; None where the source can't say before its end.
        chunks: written so far.
        current: id of the document at hand.
    """

    documents: int
    total: int | None
    chunks: int
    current: str


Progress: TypeAlias = Callable[[IngestProgress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    Args:
        added: documents that were new.
        replaced: documents that were there with other content.
        unchanged: documents that were there just so; nothing was embedded or written for them.
        chunks: chunks embedded and written.
        kept: chunks of replaced documents whose text hadn't changed: neither embedded nor written.
        seconds: wall-clock time.
        stages: seconds of it by stage: "load", "split", "embed", "write".
        skipped: sources that were passed over, each with the reason, such as a binary file.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    chunks: int = 0
    kept: int = 0
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """Documents seen."""
        return self.added + self.replaced + self.unchanged

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.stages.items())
        return (
            f"{self.documents:,} documents ({self.added:,} added, {self.replaced:,} replaced, "
            f"{self.unchanged:,} unchanged), {len(self.skipped):,} skipped; {self.chunks:,} chunks "
            f"and {self.kept:,} kept in {self.seconds:.2f} s ({parts})"
        )
