"""One source to the text of which its chunks are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell.errors import IngestError
from llmspell.rag.loaders import load, read, readable
from llmspell.rag.parsers import Parsers
from llmspell.rag.sources import Pending, Skipped, find
from llmspell.rag.web import fetch
from llmspell.tenancy.documents import Blob, Document, WebPage
from llmspell.tenancy.ports import IngestSource

if TYPE_CHECKING:
    from llmspell.security import Broker

__all__ = ["Reader"]


class Reader:
    """Gets bytes, and documents from them. Thread-safe; for the arguments see ``Pipeline``."""

    def __init__(self, *, max_file_bytes: int, web: Broker | None, allow_unsandboxed: bool) -> None:
        self.max_file_bytes = max_file_bytes
        self._web = web
        self._parsers = Parsers(allow_unsandboxed=allow_unsandboxed)

    def get(self, item: Pending | Blob | WebPage) -> Blob | Skipped:
        """The bytes of a file or a page."""
        if isinstance(item, WebPage):
            found = fetch(item, self._web)
            if isinstance(found, Skipped):
                return found
            item = found
        return read(item, max_bytes=self.max_file_bytes)

    def load(self, blob: Blob) -> Document | Skipped:
        """See :func:`load`."""
        return load(blob, max_bytes=self.max_file_bytes, parsers=self._parsers)

    def readable(self, document: Document) -> Document:
        """A document with its text as it is split; see :func:`readable`."""
        text, media_type, metadata = readable(document, self._parsers)
        return Document(document.id, text, metadata, media_type, document.source)

    def read(self, source: IngestSource) -> Document:
        """See ``Pipeline.read``."""
        found = find(source)
        if not found.is_one:
            raise IngestError("read takes one file, Document, Blob or WebPage; ingest takes many")
        (item,) = found
        if isinstance(item, Pending | Blob | WebPage):
            item = self.get(item)
        if isinstance(item, Blob):
            item = self.load(item)
        if isinstance(item, Skipped):
            raise IngestError(str(item))
        try:
            item.text.encode()
        except UnicodeEncodeError as error:
            raise IngestError(f"document {item.id!r} isn't valid Unicode: {error}") from error
        return self.readable(item)
