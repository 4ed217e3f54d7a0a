"""What an ingest makes of an item before it embeds it: read, look up, parse, split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

from llmspell.errors import IngestError, InvalidId, MissingDependency, SandboxUnavailable
from llmspell.rag.chunker import Chunker
from llmspell.rag.chunking import Chunking
from llmspell.rag.content_hash import hash_of_blob, hash_of_document
from llmspell.rag.embedding import Embedder
from llmspell.rag.memory import Hold, MemoryGuard
from llmspell.rag.reading import Reader
from llmspell.rag.run import Loaded, Run, Split, Unchanged
from llmspell.rag.sources import Item, Pending, Skipped, name_of
from llmspell.rag.weighing import bytes_to_keep, bytes_to_read, bytes_to_split
from llmspell.tenancy.documents import Blob, Document, SplitDocument, WebPage
from llmspell.tenancy.ports import EmbeddingModel

__all__ = ["Preparing", "model_of"]

_Found = TypeVar("_Found")


def model_of(embedder: Embedder) -> EmbeddingModel:
    """What an embedder's vectors are told apart by."""
    return EmbeddingModel(embedder.provider, embedder.model_id, embedder.dim)


class _Room:
    """What an item holds of the guard; given back at the end of a ``with``, unless it is kept."""

    __slots__ = ("_hold", "_item", "_memory")

    def __init__(self, memory: MemoryGuard, item: Item) -> None:
        self._memory = memory
        self._item = item
        self._hold: Hold | None = None

    def grow(self, size: int) -> Skipped | None:
        """Hold ``size`` bytes or more; what waits is written first where there is no room for them.

        Returns:
            Why the item is passed over, where it is.
        """
        if self._hold is not None:
            if size <= self._hold.size:
                return None
            # Who waits must hold nothing; the text alone isn't counted meanwhile.
            self._hold.release()
        most = self._memory.max_bytes
        if size > most:
            reason = f"takes up to {size:,} bytes of memory, and ingests may hold {most:,}"
            return Skipped(name_of(self._item), reason)
        hold = self._memory.try_take(size)
        if hold is None:
            self._memory.relieve()
            hold = self._memory.take(size)
        self._hold = hold
        return None

    def keep(self, size: int) -> Hold:
        """The hold, of so many bytes from now on, which somebody else gives back."""
        hold, self._hold = self._hold, None
        assert hold is not None
        hold.shrink(size)
        return hold

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._hold is not None:
            self._hold.release()


class Preparing:
    """Makes split documents of items, within the memory that ingests may hold. Thread-safe.

    Args:
        reader: of files, blobs and pages.
        memory: that what is under way is taken of.
        chunking: how documents are split, a part of what tells whether one is there already.
        embedder: for which they are split.
        chunker: gives what splits them, made when the first one is split.
    """

    def __init__(
        self,
        reader: Reader,
        memory: MemoryGuard,
        chunking: Chunking,
        embedder: Embedder,
        chunker: Callable[[], Chunker],
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._chunking = chunking
        self._embedder = embedder
        self._chunker = chunker

    def prepare(
        self, run: Run, item: Pending | Blob | Document | WebPage
    ) -> Split | Unchanged | Skipped:
        """What an item gives; nothing is read before the guard has room for it.

        Raises:
            LlmspellError: as an ingest does, where no other item can be gone on with.
        """
        with _Room(self._memory, item) as room:
            refused = room.grow(bytes_to_read(item, self._reader.max_file_bytes))
            if refused is not None:
                return refused
            got = self._or_skipped(run, item, lambda: self._get(run, item))
            if isinstance(got, Skipped):
                return got
            if got is not item:
                # A file may have grown, and of a page nobody knew.
                refused = room.grow(bytes_to_read(got, self._reader.max_file_bytes))
                if refused is not None:
                    return refused
            loaded = self._or_skipped(run, item, lambda: self._load(run, got))
            if not isinstance(loaded, Loaded):
                return loaded
            # A table with its columns' names, or what was packed, is longer than its file.
            refused = room.grow(bytes_to_split(loaded.document.text))
            if refused is not None:
                return refused
            split = self._or_skipped(run, item, lambda: self._split(run, loaded))
            if isinstance(split, Skipped):
                return split
            size = bytes_to_keep(split.document, self._model.dim)
            refused = room.grow(size)
            if refused is not None:
                return refused
            split.hold = room.keep(size)
        return split

    def _or_skipped(self, run: Run, item: Item, step: Callable[[], _Found]) -> _Found | Skipped:
        """What a step gives; where it fails for the item alone, why that is passed over."""
        try:
            return step()
        except (MissingDependency, SandboxUnavailable) as error:
            if run.ends_with(error):
                raise
            return Skipped(name_of(item), str(error))
        except (IngestError, InvalidId) as error:
            if not isinstance(item, Pending):
                raise
            return Skipped(item.id, str(error))

    def _get(self, run: Run, item: Item) -> Blob | Document | Skipped:
        """The bytes of a file or a page."""
        with run.stage("load"):
            return self._reader.get(item) if isinstance(item, Pending | Blob | WebPage) else item

    def _load(self, run: Run, item: Blob | Document) -> Loaded | Unchanged | Skipped:
        """The document of an item that isn't there as it is."""
        with run.stage("load"):
            # Bytes that are known need not be parsed; a text is what it is.
            if isinstance(item, Blob):
                content_hash = hash_of_blob(item, self._chunking, self._model.name)
            else:
                content_hash = hash_of_document(item, self._chunking, self._model.name)
            known = run.room.document_hash(item.id)
            loaded: Document | Skipped | None = item if isinstance(item, Document) else None
            if isinstance(item, Blob) and known != content_hash:
                loaded = self._reader.load(item)
            if isinstance(loaded, Skipped):
                return loaded
            if not run.seen.add(item.id):
                return Skipped(item.id, "the same id came before in this ingest")
            if loaded is None or known == content_hash:
                return Unchanged(item.id)
            try:
                loaded = self._reader.readable(loaded)
            except IngestError as error:
                return Skipped(item.id, str(error))
        return Loaded(loaded, content_hash, is_known=known is not None)

    def _split(self, run: Run, loaded: Loaded) -> Split | Skipped:
        document = loaded.document
        with run.stage("split"):
            chunks = self._chunker().split(document.text, document.media_type)
        if not chunks and not loaded.is_known:
            return Skipped(document.id, "no text in it")
        made = SplitDocument(
            document.id,
            loaded.content_hash,
            document.metadata,
            chunks,
            document.source,
            self._model.name,
        )
        return Split(made, replaces=loaded.is_known)

    @property
    def _model(self) -> EmbeddingModel:
        return model_of(self._embedder)
