"""Ingests, and what is there of them, as handles have it."""

from __future__ import annotations

from llmspell.tenancy.current import within
from llmspell.tenancy.documents import DocumentInfo, DocumentPage, IngestReport, Progress
from llmspell.tenancy.embedding import require_room_for_model
from llmspell.tenancy.inputs import as_flag
from llmspell.tenancy.listing import chunks_of, document_info, document_page
from llmspell.tenancy.model import Record
from llmspell.tenancy.ports import IngestSource
from llmspell.tenancy.target import Target
from llmspell.tenancy.tenant_handle import API_CALLS, TenantHandle, until_the_end

__all__ = ["DocumentCalls"]


class DocumentCalls(TenantHandle):
    """Mixed into :class:`llmspell.Tenant`."""

    __slots__ = ()

    @until_the_end
    def ingest(
        self,
        source: IngestSource,
        *,
        progress: Progress | bool | None = None,
        change_model: bool = False,
    ) -> IngestReport:
        """Split, embed and write documents; those that haven't changed cost nothing.

        Args:
            source: a file, a folder, a :class:`llmspell.Document`, a :class:`llmspell.Blob`, a
                :class:`llmspell.WebPage`, or an iterable of those.
            progress: called after every document; True draws a bar on standard error, by the extra
                ``cli``.
            change_model: take documents although another model embedded those that are there, and
                replace these by and by. Searches by a text's meaning are refused until no document
                of another model is left.

        Raises:
            DimensionMismatch: the model makes vectors of another dimension.
            EmbedderMismatch: documents of another model are there; nothing was read.
            IngestError: a source can't be read.
            EmbeddingError, MissingDependency: texts can't be embedded.
        """
        with self._instruments.ingest.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            change_model = as_flag("change_model", change_model)
            require_room_for_model(self._residence, room, change_model=change_model)
            target = Target(self._residence, self._enter, change_model=change_model)
            with within(self):
                report = self._residence.house.texts().ingest(target, source, progress=progress)
            counts = self._instruments.ingestion
            counts.written.inc(report.added + report.replaced)
            counts.unchanged.inc(report.unchanged)
            counts.skipped.inc(len(report.skipped))
            counts.chunks.inc(report.chunks)
            return report

    @until_the_end
    def document(self, document_id: str) -> DocumentInfo:
        """What is known of an ingested document.

        Raises:
            IdNotFound: there is none of this id.
            InvalidId: no document has such an id.
        """
        with self._instruments.get.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            return document_info(room, document_id)

    @until_the_end
    def documents(self, *, cursor: str | None = None, limit: int = 1_000) -> DocumentPage:
        """List ingested documents, page by page; each is charged as one API call.

        Args:
            cursor: of the page before; it holds in other processes and later ones too.
            limit: documents of a page, from 1 to 100,000; fewer come back at the end only.

        Raises:
            InputError: limit is out of range.
            InvalidCursor: the cursor is damaged, another tenant's, or a former one's of this id.
        """
        with self._instruments.scan.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            return document_page(room, self._residence.entry, cursor, limit)

    @until_the_end
    def chunks(
        self, document_id: str, *, vectors: bool = False, max_chars: int | None = None
    ) -> list[Record]:
        """Chunks of an ingested document in the order of its text, as one moment shows them.

        Args:
            document_id: of the document.
            vectors: whether to read vectors as well.
            max_chars: that the text of all of them together may have, what two share counted once;
                a longer document is refused when so much of it has been read. None for any.

        Raises:
            IdNotFound: there is no document of this id.
            InputError: it is longer than ``max_chars``, or that is no number above 0.
            InvalidId: no document has such an id.
        """
        with self._instruments.get.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            vectors = as_flag("vectors", vectors)
            return chunks_of(room, document_id, vectors=vectors, max_chars=max_chars)
