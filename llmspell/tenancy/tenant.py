"""The handle to a tenant: the only way to its data."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    NoReturn,
    ParamSpec,
    SupportsIndex,
    TypeVar,
    overload,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell._hot import SearchDoor, SearchOvertaken
from llmspell.config import TenantConfig
from llmspell.errors import (
    ClosedError,
    CorruptFile,
    DuplicateId,
    IdNotFound,
    InputError,
    QuotaExceeded,
    TenantSuspended,
)
from llmspell.index import CancelToken, Index, as_recall
from llmspell.quota import Quota, Usage
from llmspell.state import State
from llmspell.storage import CatalogEntry, Found, Room, Write, decode_id, parse_filter
from llmspell.tenancy.documents import DocumentInfo, DocumentPage, IngestReport, Progress
from llmspell.tenancy.embedding import require_room_for_model
from llmspell.tenancy.execute import Ingest, RunAgent, Search, TenantOperation, execute
from llmspell.tenancy.exporting import export_tenant
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.importing import OnConflict, import_tenant
from llmspell.tenancy.inputs import (
    as_expiry,
    as_flag,
    as_keys,
    as_puts,
    as_updates,
    as_vectors,
    check_vectors,
)
from llmspell.tenancy.listing import chunks_of, document_info, document_page
from llmspell.tenancy.model import (
    ExportReport,
    ImportReport,
    Metadata,
    Record,
    RecordId,
    ScanPage,
    SnapshotReport,
)
from llmspell.tenancy.operation import OPERATION_LEASE_S, Allowance, Operation, begin, within
from llmspell.tenancy.ports import IngestSource
from llmspell.tenancy.residence import Residence
from llmspell.tenancy.retrieve_calls import RetrieveCalls
from llmspell.tenancy.retrieving import Retrieve, retrieve
from llmspell.tenancy.scan import as_record, scan_page
from llmspell.tenancy.scrub_report import OnScrub, ScrubReport
from llmspell.tenancy.searching import Consistency, Question, search
from llmspell.tenancy.target import Target

if TYPE_CHECKING:
    from llmspell.tenancy.scrubbing import ScrubOptions

__all__ = ["Tenant"]

_API_CALLS = int(Quota.API_CALLS)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _until_the_end(operation: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep the room open for an operation, and report the end of its tenant as that end."""

    @functools.wraps(operation)
    def run(*given: _P.args, **named: _P.kwargs) -> _R:
        residence: Residence = given[0]._residence  # type: ignore[attr-defined]
        residence.is_recent = True
        try:
            with residence.uses:
                return operation(*given, **named)
        except ClosedError:
            residence.check()
            raise
        except (QuotaExceeded, TenantSuspended) as refusal:
            residence.refused(operation.__name__.lstrip("_"), refusal)
            raise
        finally:
            residence.keep_within_budget()

    return run


class Tenant(RetrieveCalls):
    """A handle to one tenant's room, made by :class:`llmspell.Database`. Thread-safe.

    Every operation on data is charged as one API call, a batch search as one for each query,
    before anything else is done. The room opens with the first of them.

    All operations raise:
        ClosedError: this handle or its database is closed.
        FlushFailed: writes that were acknowledged before couldn't be committed; nothing was done.
        DatabaseLocked: a write waited for that of another process longer than ``lock_timeout``.
        LedgerUnavailable: quotas are shared by hosts, and their server can't be asked.
        QuotaExceeded: nothing was done.
        StorageError: see :mod:`llmspell.errors`.
        TenantNotFound: the tenant was dropped, also where one of the same id was made since.
        UseAfterFork: the handle was made before ``fork()``.
    """

    __slots__ = (
        "__weakref__",
        "_door",
        "_instruments",
        "_residence",
        "_room",
        "_slot",
    )

    def __init__(self, residence: Residence) -> None:
        self._residence = residence
        self._room: Room | None = None
        self._door: SearchDoor | None = None
        self._slot = residence.slot
        self._instruments = residence.house.instruments
        residence.admit(self)

    def __repr__(self) -> str:
        return f"Tenant(id={self.id!r})"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        # A copy would keep the room past the end of the handle, and of the tenant.
        raise TypeError("a handle can't be copied or pickled; ask a database for another")

    @property
    def id(self) -> str:
        """Id of the tenant."""
        return self._residence.entry.config.id

    @property
    def config(self) -> TenantConfig:
        """What the tenant was created with."""
        return self._residence.entry.config

    @property
    def generation(self) -> int:
        """Tells it from former tenants of the same id."""
        return self._residence.entry.generation

    @property
    @_until_the_end
    def dim(self) -> int | None:
        """Dimension of its vectors; None until the first ones are written. Opens the room."""
        room = self._enter()
        # It is charged to nothing, and so nothing else tells that another process dropped it.
        self._residence.check()
        return room.dim or self.config.dim

    @_until_the_end
    def upsert(
        self,
        ids: RecordId | Sequence[RecordId] | NDArray[np.integer[Any]],
        vectors: ArrayLike,
        metadata: Metadata | Sequence[Metadata | None] | None = None,
        texts: str | Sequence[str | None] | None = None,
        *,
        ttl: float | timedelta | None = None,
    ) -> None:
        """Write records, all of them or none; each replaces what has its id.

        When they are on disk, and what a crash may take, is what the database was opened with: see
        ``durability`` of :class:`llmspell.Database`. All other writes are on disk when they return.

        Args:
            ids: n ids, str or 64-bit int, or one; of several equal ones the last counts.
            vectors: (n, dim) floats, kept as float32; (dim,) with one id.
            metadata: n mappings of JSON-like values, or Nones.
            texts: n strings, or Nones.
            ttl: seconds that the records live; no read finds them later. None means for ever.

        Raises:
            DimensionMismatch, DtypeError, InputError, InvalidId, MetadataError, NonFiniteVector,
            ShapeError, ZeroVector: nothing was written.
        """
        with self._instruments.upsert.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            self._put(room, ids, vectors, metadata, texts, ttl, must_be_new=False)

    @_until_the_end
    def insert(
        self,
        ids: RecordId | Sequence[RecordId] | NDArray[np.integer[Any]],
        vectors: ArrayLike,
        metadata: Metadata | Sequence[Metadata | None] | None = None,
        texts: str | Sequence[str | None] | None = None,
        *,
        ttl: float | timedelta | None = None,
    ) -> None:
        """Write records of new ids, all of them durably or none; arguments as :meth:`upsert`.

        Raises:
            DuplicateId: an id is there already, or is given twice; nothing was written.
            InputError: as :meth:`upsert`.
        """
        with self._instruments.insert.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            self._put(room, ids, vectors, metadata, texts, ttl, must_be_new=True)

    def _put(
        self,
        room: Room,
        ids: RecordId | Sequence[RecordId] | NDArray[np.integer[Any]],
        vectors: ArrayLike,
        metadata: Metadata | Sequence[Metadata | None] | None,
        texts: str | Sequence[str | None] | None,
        ttl: float | timedelta | None,
        *,
        must_be_new: bool,
    ) -> None:
        keys = as_keys(ids)
        matrix = as_vectors(vectors)
        if matrix.ndim == 1 and len(keys) == 1:
            matrix = matrix[np.newaxis]
        if not keys and not matrix.size:
            return
        config = self.config
        check_vectors(matrix, config.metric, room.dim or config.dim)
        expires_us = as_expiry(ttl, room.views.now_us())
        puts, matrix = as_puts(keys, matrix, metadata, texts, config.schema, expires_us)
        if must_be_new and len(puts) < len(keys):
            raise DuplicateId("an id is given twice; of equal ones insert can't keep both")
        write = Write(puts=puts, vectors=matrix, must_be_new=must_be_new)
        if must_be_new:
            room.write(write)
        else:
            room.submit(write)

    @overload
    def get(self, ids: RecordId) -> Record: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Sequence[RecordId], *, missing_ok: bool = False) -> list[Record]: ...
    @_until_the_end
    def get(
        self, ids: RecordId | Sequence[RecordId], *, missing_ok: bool = False
    ) -> Record | list[Record]:
        """Read one record, or several as one moment shows them.

        Args:
            ids: one, or several; records come in their order.
            missing_ok: of several, leave out those that aren't there.

        Raises:
            IdNotFound: the message names the ids that aren't there.
            InvalidId: neither str nor int.
        """
        with self._instruments.get.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            keys = as_keys(ids)
            stored = room.get(keys)
            missing = [decode_id(key) for key, one in zip(keys, stored, strict=True) if one is None]
            is_one = isinstance(ids, (str, int, np.integer))
            if missing and (is_one or not as_flag("missing_ok", missing_ok)):
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                raise IdNotFound(f"no record {', '.join(map(repr, missing[:5]))}{more}")
            records = [as_record(*one) for one in stored if one is not None]
            return records[0] if is_one else records

    @_until_the_end
    def delete(
        self,
        ids: RecordId | Sequence[RecordId] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,
    ) -> int:
        """Remove records, and ingested documents with all of their chunks, by id; or by filter.

        A document that loses the last of its chunks is gone too, and counts no more.

        Args:
            ids: those that aren't there are passed over.
            filter: metadata of the records that are to go, as they are when nobody else can
                write. In place of ``ids``.

        Returns:
            How many records are gone.

        Raises:
            FilterError: the message names the bad part.
            InputError: both are given, or neither.
        """
        with self._instruments.delete.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            if (ids is None) == (filter is None):
                raise InputError("give ids or a filter; {} as the filter removes everything")
            if filter is not None:
                return room.delete_matching(parse_filter(filter, self.config.schema)).gone
            keys = as_keys(ids, in_order=False)
            documents = {str(name): None for name in map(decode_id, keys) if isinstance(name, str)}
            return room.write(Write(removes=keys, documents=documents)).gone

    @_until_the_end
    def update_metadata(
        self,
        ids: RecordId | Sequence[RecordId],
        metadata: Metadata | Sequence[Metadata],
        *,
        replace: bool = False,
    ) -> None:
        """Change the metadata of records, all of them durably or none; vectors and texts stay.

        Args:
            ids: n ids, or one.
            metadata: n mappings, or one with one id; their keys are set, others stay as they are.
                What an ingest wrote to a chunk (document, source, version, start, end) stays in any
                case.
            replace: whether they take the place of all metadata instead.

        Raises:
            IdNotFound: the message names ids that aren't there; nothing was changed.
            InvalidId, MetadataError, ShapeError: nothing was changed.
        """
        with self._instruments.update_metadata.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            replace = as_flag("replace", replace)
            updates = as_updates(as_keys(ids), metadata, self.config.schema, replace=replace)
            if updates:
                room.write(Write(updates=updates))

    @overload
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Hits: ...
    @overload
    def search(
        self,
        query: ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any: ...
    def search(
        self,
        query: str | ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any:
        """Find the k nearest records, best first.

        Args:
            query: a text or a (dim,) vector; a list of texts or a (q, dim) array for a batch.
            k: fewer come back only where fewer match.
            filter: metadata that hits must have, as ``{"lang": "en", "year": {"$gte": 2020}}``.
            threshold: least score of a hit.
            ef_search: candidates kept in the walk over the graph; the tenant's where it and
                ``recall`` are None.
            recall: share of the true k nearest that is wanted on average, above 0 and up to 1,
                in place of ``ef_search``: see :meth:`llmspell.Index.search`. The first such search
                measures the index where :meth:`calibrate` hasn't, which takes seconds.
            consistency: ``"strong"`` sees every write that was acknowledged before the call, in
                whatever process; ``"eventual"`` doesn't look for those of other processes.

        Returns:
            :class:`llmspell.Hits`; for a batch a list of q of them.

        Raises:
            DimensionMismatch, DtypeError, NonFiniteVector, ShapeError, ZeroVector: the query.
            EmbedderMismatch: documents were embedded by another model than a text would be.
            EmbeddingError, MissingDependency: a text can't be embedded.
            FilterError: the message names the bad part.
            InputError: a text is blank, k or ef_search is below 1, or recall out of range or
                beside ef_search.
        """
        try:
            door = self._door
            if (
                door is not None
                and (filter is None and type(query) is np.ndarray and query.ndim == 1)
                and (consistency == "strong" or consistency == "eventual")
            ):
                if recall is not None:
                    recall = as_recall(recall, ef_search)
                is_strong = consistency == "strong"
                return door.search(self, query, k, ef_search, recall, threshold, is_strong)
            asked = Question(k, filter, threshold, ef_search, recall, consistency)
            return self._search(query, asked)
        except SearchOvertaken as overtaken:
            # The room was closed to make room for other tenants, or its index is damaged.
            self._mend(*overtaken.args)
            asked = Question(k, None, threshold, ef_search, recall, consistency)
            return self._search(query, asked, is_charged=True)
        except ClosedError:
            self._residence.check()
            raise
        except (QuotaExceeded, TenantSuspended) as refusal:
            self._residence.refused("search", refusal)
            raise

    @_until_the_end
    def _search(self, query: Any, asked: Question, *, is_charged: bool = False) -> Any:
        with self._instruments.search.timed():
            return search(self, self._enter(), query, asked, is_charged=is_charged)

    def _mend(self, error: Exception, index: Index | None) -> None:
        self._residence.check()
        room = self._room
        if isinstance(error, CorruptFile):
            if index is None:
                raise error
            if room is not None:
                room.views.mend(index, error)

    @_until_the_end
    def _read_again(self, *given: Any) -> Found:
        """Read what was found in a room that has closed since; it may be open again."""
        return self._enter().finder.read(*given)

    @_until_the_end
    def _retrieve(self, asked: Retrieve) -> Any:
        with self._instruments.retrieve.timed():
            return retrieve(self, self._enter(), asked)

    @_until_the_end
    def calibrate(self, k: int = 10, *, recall: float = 0.99) -> None:
        """Measure now what a search with ``recall`` would measure: see :meth:`Index.calibrate`.

        It takes seconds at 100,000 vectors. What it finds is kept with the tenant's snapshots, and
        measured again when much has changed.

        Raises:
            InputError: k is below 1, or recall out of range.
        """
        room = self._room or self._enter()
        self._charge(_API_CALLS, 1)
        room.calibrate(k, recall=recall)

    @_until_the_end
    def estimated_recall(self, k: int = 10, *, ef_search: int | None = None) -> float | None:
        """Estimate the recall that searches reach now: see :meth:`Index.estimated_recall`.

        Returns:
            1.0 where searches are exact, None where nothing is measured for this k.

        Raises:
            InputError: k or ef_search is below 1.
        """
        room = self._room or self._enter()
        self._charge(_API_CALLS, 1)
        index = room.index
        return 1.0 if index is None else index.estimated_recall(k, ef_search=ef_search)

    @_until_the_end
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
            self._charge(_API_CALLS, 1)
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

    @_until_the_end
    def scan(
        self,
        *,
        filter: Mapping[str, Any] | None = None,
        cursor: str | None = None,
        limit: int = 1_000,
        vectors: bool = True,
    ) -> ScanPage:
        """Read records in the order of their ids, page by page; each is charged as one API call.

        A page shows one moment. Writes may go on between pages: each record that is there all the
        while comes once, and what is written behind the cursor comes as it is then.

        Args:
            filter: metadata that records must have, as for :meth:`search`.
            cursor: of the page before; it holds in other processes and later ones too.
            limit: records of a page, from 1 to 100,000; fewer come back at the end only.
            vectors: whether to read vectors as well.

        Raises:
            FilterError: the message names the bad part.
            InputError: limit is out of range.
            InvalidCursor: the cursor is damaged, another tenant's, or a former one's of this id.
        """
        with self._instruments.scan.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            return scan_page(room, self._residence.entry, filter, cursor, limit, vectors=vectors)

    @_until_the_end
    def document(self, document_id: str) -> DocumentInfo:
        """What is known of an ingested document.

        Raises:
            IdNotFound: there is none of this id.
            InvalidId: no document has such an id.
        """
        with self._instruments.get.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            return document_info(room, document_id)

    @_until_the_end
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
            self._charge(_API_CALLS, 1)
            return document_page(room, self._residence.entry, cursor, limit)

    @_until_the_end
    def chunks(self, document_id: str, *, vectors: bool = False) -> list[Record]:
        """Chunks of an ingested document in the order of its text, as one moment shows them.

        Args:
            document_id: of the document.
            vectors: whether to read vectors as well.

        Raises:
            IdNotFound: there is no document of this id.
            InvalidId: no document has such an id.
        """
        with self._instruments.get.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            return chunks_of(room, document_id, vectors=as_flag("vectors", vectors))

    @_until_the_end
    def export(self, file: str | os.PathLike[str] | BinaryIO) -> ExportReport:
        """Write all records and ingested documents, as one moment shows them, to a file.

        It streams, and holds a few MiB whatever the tenant holds. Writes go on meanwhile; the space
        of what they replace is used again when the export has ended.

        Args:
            file: a path, which has the whole export, durably, or is as it was; or an open binary
                file, which is written from where it stands.

        Raises:
            CorruptFile: a record is damaged.
            InputError: neither a path nor a binary file.
            StorageError: the file can't be written.
        """
        with self._instruments.export.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            room.flush()
            with self._residence.step("tenant.export"):
                return export_tenant(room, self.config, file)

    @_until_the_end
    def snapshot(self, target: str | os.PathLike[str] | BinaryIO) -> SnapshotReport:
        """Copy all that the tenant is, as one moment shows it, for ``Database.restore_tenant``.

        Its records are verified on the way, and its config and the snapshot of its index are in it,
        so that what is restored opens as fast; :meth:`export` is for what other programs read.
        Writes go on meanwhile; the space of what they replace is used again when the snapshot has
        ended. It holds a few MiB, whatever the tenant holds.

        Args:
            target: a path that ends in ``.tar``, which has the whole snapshot, durably, or is as it
                was; another path, for a directory, which mustn't be there; or an open binary file,
                to which a tar file is written from where it stands.

        Raises:
            CorruptFile: what the tenant holds is damaged.
            InputError: neither a path nor a binary file, or the directory is there.
            StorageError: the target can't be written.
        """
        self._enter()
        self._charge(_API_CALLS, 1)
        return self._snapshot(self._residence.entry, target)

    def _snapshot(
        self, entry: CatalogEntry, target: str | os.PathLike[str] | BinaryIO
    ) -> SnapshotReport:
        from llmspell.tenancy.snapshots import snapshot_tenant

        with self._residence.step("tenant.snapshot"):
            return snapshot_tenant(self._enter(), entry, target)

    def scrub(
        self,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> ScrubReport:
        """Read and check everything that the tenant holds, also what no search comes to.

        Each record, vector, entry of the log, document and expiry, the tables that lead to them,
        the counters and the files that the views open from. It goes by short moments: writes and
        searches go on, and it holds a few MiB. It blocks; run it in a thread of its own.

        Args:
            rate: bytes a second that it reads at most; None is as fast as it can.
            repair: write a damaged file of a view anew from the log, which takes the memory of one
                more index meanwhile. Records aren't repaired.
            progress: called every now and then.
            cancel: stops it; the report says then that it isn't complete.

        Returns:
            What was found. Damage raises nothing.

        Raises:
            InputError: rate isn't above 0, or ``cancel`` is no token.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return self._scrub(scrub_options(rate, repair, progress, cancel))

    @_until_the_end
    def _scrub(self, options: ScrubOptions) -> ScrubReport:
        from llmspell.tenancy.scrubbing import scrub_tenant

        self._residence.require(self)
        self._charge(_API_CALLS, 1)
        return scrub_tenant(self, options)

    @_until_the_end
    def import_from(
        self, file: str | os.PathLike[str] | BinaryIO, *, on_conflict: OnConflict = "error"
    ) -> ImportReport:
        """Write the records and documents of an export, with the times that they had.

        A file that can seek is read to its end first: where it is damaged, doesn't fit this tenant
        or its quotas, nothing is written. Then batches are written, each durably or not at all,
        and a document always in one. Where that fails in the middle, a note at the error says what
        was written; the same import with ``on_conflict="skip"`` goes on from there.

        Args:
            file: a path, or an open binary file that stands at the export's first byte.
            on_conflict: what to do with ids that are there: ``"error"`` writes nothing,
                ``"replace"`` writes over them, ``"skip"`` leaves them as they are. A document is
                taken as a whole, with its chunks.

        Raises:
            CorruptFile: the file is damaged; the message names the frame.
            DimensionMismatch, MetricMismatch: it is of a tenant of another kind.
            DuplicateId: an id is there already.
            InputError: neither a path nor a binary file, or an unknown ``on_conflict``.
            MetadataError: metadata is not as this tenant's schema declares it.
            UnsupportedFormat: a later release wrote it.
        """
        with self._instruments.import_from.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            room.flush()
            with self._residence.step("tenant.import"):
                return import_tenant(room, self.config, self._residence.slot, file, on_conflict)

    @_until_the_end
    def count(self) -> int:
        """Records held."""
        room = self._room or self._enter()
        self._charge(_API_CALLS, 1)
        return room.count

    @property
    def state(self) -> State:
        """Durable values and lists under keys, in the tenant's own room."""
        return State(self._state)

    def operation(
        self,
        *,
        tokens: int = 0,
        embeddings: int = 0,
        cost: float = 0.0,
        api_calls: int = 1,
        lease: float = OPERATION_LEASE_S,
    ) -> AbstractContextManager[Operation[Tenant]]:
        """Do in a ``with`` what isn't a call of this handle, such as asking a language model.

        What it may use is reserved first, all or nothing. Inside, :func:`current_operation` gives
        the :class:`Operation`, to which is reported what was used. At the end the rest is given
        back: of what wasn't reported all is kept, or nothing where the block raised. Calls of this
        handle inside are charged by themselves.

        Args:
            tokens: of language models.
            embeddings: texts that it embeds itself.
            cost: money, in the unit of ``max_cost_per_month``.
            api_calls: that it counts as, 1 or more; kept in any case.
            lease: seconds for which the reservation holds, one day at most; the operation can
                renew it. One that is late is charged anew at its end, as far as it still fits.

        Raises:
            InputError: an amount is below zero or no number.
            QuotaExceeded: nothing was charged, and the block didn't run.
        """
        allowance = Allowance(tokens, embeddings, cost, api_calls, lease)
        return begin(self, allowance, self._instruments.operation)

    @overload
    def execute(self, operation: Ingest) -> IngestReport: ...
    @overload
    def execute(self, operation: RunAgent[_R]) -> _R: ...
    @overload
    def execute(self, operation: Search | Retrieve) -> Any: ...
    def execute(self, operation: TenantOperation) -> Any:
        """Run an operation that is an object, from a queue or a request; gives its result.

        An ingest or a search is charged as the call that it stands for, an agent as
        :meth:`operation`.

        Raises:
            InputError: it is none of them, or its agent is async.
            QuotaExceeded: nothing was done.
        """
        return execute(self, operation)

    @_until_the_end
    def flush(self) -> None:
        """Return when every write that was acknowledged is committed; free of charge.

        Of this process, through whatever handle. With durability "sync" there is nothing to do.

        Raises:
            FlushFailed: ``__cause__`` says why; nothing is lost, and the next occasion tries again.
        """
        self._enter()
        self._residence.flush()

    def usage(self) -> Usage:
        """Use and limit of every quota; free of charge, and without opening the room.

        Raises:
            LedgerUnavailable: quotas are shared, and their server can't be asked.
        """
        return self._residence.usage()

    def close(self) -> None:
        """Close this handle, and the room with the last one; does nothing the second time."""
        self._residence.leave(self)

    @_until_the_end
    def _state(self, call: Callable[[Room], _R]) -> _R:
        with self._instruments.state.timed():
            room = self._room or self._enter()
            self._charge(_API_CALLS, 1)
            return call(room)

    def _charge(self, quota: int, amount: int) -> None:
        self._slot.charge(quota, amount)

    def _take(self, room: Room, door: SearchDoor | None) -> None:
        """Called by the residence, which has opened the room."""
        self._room, self._door = room, door

    def _let_go(self) -> None:
        """Called by the residence: the next use opens the room again, where that may be."""
        self._room = self._door = None

    def _enter(self) -> Room:
        return self._room or self._residence.open(self)
