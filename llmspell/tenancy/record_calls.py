"""Records by their ids, as handles have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.errors import DuplicateId, IdNotFound, InputError
from llmspell.storage import Room, Write, decode_id, parse_filter
from llmspell.tenancy.inputs import (
    as_expiry,
    as_flag,
    as_keys,
    as_puts,
    as_updates,
    as_vectors,
    check_vectors,
)
from llmspell.tenancy.model import Metadata, Record, RecordId, ScanPage
from llmspell.tenancy.scan import as_record, scan_page
from llmspell.tenancy.tenant_handle import API_CALLS, TenantHandle, until_the_end

__all__ = ["RecordCalls"]


class RecordCalls(TenantHandle):
    """Mixed into :class:`llmspell.Tenant`."""

    __slots__ = ()

    @until_the_end
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
            self._charge(API_CALLS, 1)
            self._put(room, ids, vectors, metadata, texts, ttl, must_be_new=False)

    @until_the_end
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
            self._charge(API_CALLS, 1)
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
    @until_the_end
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
            self._charge(API_CALLS, 1)
            keys = as_keys(ids)
            stored = room.get(keys)
            missing = [decode_id(key) for key, one in zip(keys, stored, strict=True) if one is None]
            is_one = isinstance(ids, (str, int, np.integer))
            if missing and (is_one or not as_flag("missing_ok", missing_ok)):
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                raise IdNotFound(f"no record {', '.join(map(repr, missing[:5]))}{more}")
            records = [as_record(*one) for one in stored if one is not None]
            return records[0] if is_one else records

    @until_the_end
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
            self._charge(API_CALLS, 1)
            if (ids is None) == (filter is None):
                raise InputError("give ids or a filter; {} as the filter removes everything")
            if filter is not None:
                return room.delete_matching(parse_filter(filter, self.config.schema)).gone
            keys = as_keys(ids, in_order=False)
            documents = {str(name): None for name in map(decode_id, keys) if isinstance(name, str)}
            return room.write(Write(removes=keys, documents=documents)).gone

    @until_the_end
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
            self._charge(API_CALLS, 1)
            replace = as_flag("replace", replace)
            updates = as_updates(as_keys(ids), metadata, self.config.schema, replace=replace)
            if updates:
                room.write(Write(updates=updates))

    @until_the_end
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
            self._charge(API_CALLS, 1)
            return scan_page(room, self._residence.entry, filter, cursor, limit, vectors=vectors)

    @until_the_end
    def count(self) -> int:
        """Records held."""
        room = self._room or self._enter()
        self._charge(API_CALLS, 1)
        return room.count
