"""From sources to searchable chunks: load, split, embed, write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import (
    ConfigError,
    InputError,
    LlmspellError,
)
from llmspell.rag.chunker import Chunker
from llmspell.rag.chunking import Chunking
from llmspell.rag.embedding import Embedder, LocalEmbedder
from llmspell.rag.loaders import MAX_FILE_BYTES
from llmspell.rag.memory import MemoryGuard
from llmspell.rag.preparing import Preparing, model_of
from llmspell.rag.progress import progress_bar
from llmspell.rag.reading import Reader
from llmspell.rag.run import Run, Split, Waiting
from llmspell.rag.sources import Item, Skipped, find
from llmspell.tenancy.current import current_operation
from llmspell.tenancy.documents import (
    Document,
    IngestReport,
    Progress,
)
from llmspell.tenancy.embedding import embedded_within
from llmspell.tenancy.ports import (
    EmbeddingModel,
    IngestSource,
    IngestTarget,
    require_embedder,
)

if TYPE_CHECKING:
    from llmspell.security import Broker

__all__ = ["Pipeline"]

_Found = TypeVar("_Found")

# Written at once: about 8 s of embedding on 2 cores, which is what a killed ingest loses at most,
# unless one document alone has more.
_BATCH_CHUNKS: Final = 64


class Pipeline:
    """The text services of a database; one serves all tenants. Thread-safe.

    Args:
        embedder: the embedded default model where None. Nothing is loaded before the first use.
        chunking: how documents are split.
        max_file_bytes: larger files and blobs are skipped.
        web: fetches each :class:`WebPage`, from the hosts that it allows.
        allow_unsandboxed: read PDF and DOCX files in this process where the host can't confine one.
        memory: bounds what all ingests by this hold together; one of 500 MB where None. Give the
            same to several to bound these together.
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        chunking: Chunking | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
        web: Broker | None = None,
        allow_unsandboxed: bool = False,
        memory: MemoryGuard | None = None,
        batch_chunks: int = _BATCH_CHUNKS,
    ) -> None:
        if embedder is not None:
            require_embedder(embedder)
        self._embedder: Embedder = LocalEmbedder() if embedder is None else embedder
        self._chunking = chunking or Chunking()
        if self._chunking.size > self._embedder.max_tokens:
            raise ConfigError(
                f"size of a chunk must be at most {self._embedder.max_tokens}, the longest text "
                f"that {self._embedder.model_id} takes, got {self._chunking.size}"
            )
        if isinstance(batch_chunks, bool) or not isinstance(batch_chunks, int) or batch_chunks < 1:
            raise ConfigError(f"batch_chunks must be an int of 1 or more, got {batch_chunks!r}")
        self._batch_chunks = batch_chunks
        self._reader = Reader(
            max_file_bytes=max_file_bytes, web=web, allow_unsandboxed=allow_unsandboxed
        )
        self._memory = memory or MemoryGuard()
        self._preparing = Preparing(
            self._reader, self._memory, self._chunking, self._embedder, self._chunker
        )
        self._lock = threading.Lock()
        self._lazy_chunker: Chunker | None = None

    @property
    def embedding_model(self) -> EmbeddingModel:
        """What embeds, by which vectors of texts can be cached."""
        return model_of(self._embedder)

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts to search with; one that is too long for the model is cut at its end.

        Returns:
            A (len(texts), dim) float32 array of unit rows.
        """
        return self._embedder.embed(texts, task="query", truncate=True)

    def read(self, source: IngestSource) -> Document:
        """The text of which an ingest of one file or document cuts its chunks, and nothing else.

        The span of a chunk, ``start`` to ``end`` of its metadata, is one of this text: that of a
        page is Markdown, that of a table has a paragraph for each row.

        Returns:
            The document with its text as it is split, and the media type and metadata of that.

        Raises:
            IngestError: the source is not one file or document, or can't be read.
            MissingDependency, SandboxUnavailable, ConfigError: as :meth:`ingest` does.
        """
        return self._reader.read(source)

    def ingest(
        self,
        room: IngestTarget,
        source: IngestSource,
        *,
        progress: Progress | bool | None = None,
    ) -> IngestReport:
        """Load, split and embed a source, and write it to ``room``.

        A document that is there with the same text, metadata and settings costs nothing; a file or
        a blob that is there with the same bytes is read, and not parsed, split or embedded. All
        others are written with all of their chunks in one transaction, several small ones
        together. What was written before an error or a kill stays, and a note of the error says how
        many documents that is; ingesting the same again goes on from there.

        Args:
            room: the tenant.
            source: a file, a folder, a :class:`Document`, a :class:`Blob`, a :class:`WebPage`, or
                an iterable of these.
            progress: called after every document; True draws a bar on standard error.

        Raises:
            IngestError: a path that doesn't exist, or a :class:`Document` that isn't valid Unicode.
            InputError: its id or its metadata can't be stored.
            QuotaExceeded: the batch at hand is refused as a whole.
            MissingDependency: an extra isn't installed. Of extras that only some types need, where
                the source is one file or document; from among others it is skipped.
            SandboxUnavailable: the source is one PDF or DOCX file, on a host that can't confine its
                parser; from among others it is skipped.
            ConfigError: a page of the web, without a broker.
        """
        started = time.perf_counter()
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise InputError(
                f"progress must be called with a state, or be a bool, got {type(progress).__name__}"
            )
        with ExitStack() as stack:
            if progress is True:
                callback: Progress | None = stack.enter_context(progress_bar())
            else:
                callback = progress or None
            items = find(source)
            total = items.count() if callback is not None else None
            run = Run(room, callback, total, is_of_one=items.is_one)
            try:
                self._ingest(run, items)
            except LlmspellError as error:
                if written := run.added + run.replaced:
                    error.add_note(
                        f"{written:,} documents of this ingest are written, and stay; the same "
                        "ingest again goes on behind them"
                    )
                raise
        return IngestReport(
            added=run.added,
            replaced=run.replaced,
            unchanged=run.unchanged,
            chunks=run.chunks,
            kept=run.kept,
            seconds=time.perf_counter() - started,
            stages=run.seconds,
            skipped=tuple(run.skipped),
        )

    def _ingest(self, run: Run, items: Iterable[Item]) -> None:
        waiting = Waiting()
        failed: list[BaseException] = []

        def write() -> None:
            try:
                self._write(run, waiting.take())
            except BaseException as error:
                failed.append(error)
                raise

        # An ingest within this one's source may need the room that this one holds; whose tokens
        # are charged goes by the context.
        relief = partial(copy_context().run, write)
        try:
            with self._memory.relieved_by(relief):
                for item in items:
                    if failed:
                        break  # the source went on, but what it had given isn't there
                    split = self._read(run, item)
                    if split is None:
                        continue
                    waiting.add(split)
                    if waiting.chunks > self._batch_chunks:
                        self._write(run, waiting.take(keep=1))
                if failed:
                    raise failed[0]
                self._write(run, waiting.take())
        finally:
            waiting.release()

    def _read(self, run: Run, item: Item) -> Split | None:
        """What is to be embedded of an item; None where it is settled without that."""
        found = item if isinstance(item, Skipped) else self._preparing.prepare(run, item)
        if isinstance(found, Split):
            return found
        if isinstance(found, Skipped):
            run.skip(found)
        else:
            run.unchanged += 1
            run.finished(found.id)
        return None

    def _write(self, run: Run, batch: Sequence[Split]) -> None:
        """Write what has waited, and let it go."""
        if not batch:
            return

        def embed(texts: Sequence[str]) -> NDArray[np.float32]:
            with run.stage("embed"):
                return self._embedder.embed(texts, task="passage")

        try:
            with run.stage("write"):
                written = run.room.put_documents([split.document for split in batch], embed)
        finally:
            # Before anybody is told, who may begin another ingest.
            for split in batch:
                split.release()
        run.chunks += written
        run.kept += sum(len(split.document.chunks) for split in batch) - written
        for split in batch:
            run.added += not split.replaces
            run.replaced += split.replaces
            run.finished(split.document.id)

    def _chunker(self) -> Chunker:
        with self._lock:
            if self._lazy_chunker is None:
                # What a service counts by is often not to be had; then the default model's does.
                tokenizer = self._embedder.tokenizer or LocalEmbedder().tokenizer
                self._lazy_chunker = Chunker(tokenizer, self._chunking, embed=self._embed_charged)
            return self._lazy_chunker

    def _embed_charged(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed what isn't written; cached for, and charged to, the tenant that it is for."""
        operation = current_operation()
        if operation is None:
            return self._embedder.embed(texts, task="passage")

        def charged(texts: Sequence[str]) -> NDArray[np.float32]:
            operation.use(embeddings=len(texts))
            return self._embedder.embed(texts, task="passage")

        return embedded_within(operation, self.embedding_model, texts, charged)
