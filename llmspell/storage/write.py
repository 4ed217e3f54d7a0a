"""What a write asks of a tenant's store, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.storage.codec import unpack
from llmspell.storage.log import Change, Counters
from llmspell.storage.record import NEVER
from llmspell.storage.state_table import StateEdit
from llmspell.storage.stored_document import StoredDocument

__all__ = ["Applied", "MetadataUpdate", "Put", "Write"]


class Put(NamedTuple):
    """A record to write, encoded: ``key`` by ``encode_id``, ``metadata`` by msgpack.

    Times are those of the write where None; ``created_us`` is that of what is replaced, if any.
    """

    key: bytes
    metadata: bytes
    text: bytes | None
    vector: bytes
    is_chunk: bool = False
    expires_us: int = NEVER
    created_us: int | None = None
    updated_us: int | None = None

    @property
    def storage(self) -> int:
        """Bytes that the storage quota counts, as :attr:`StoredRecord.storage` does."""
        return len(self.key) + len(self.metadata) + len(self.text or b"") + len(self.vector)

    @property
    def plain_metadata(self) -> dict[str, Any]:
        """Metadata as a read would give it."""
        plain: dict[str, Any] = unpack(self.metadata)
        return plain


class MetadataUpdate(NamedTuple):
    """Other metadata for a record that stays as it is: keys to set, or all of them.

    What leads from a chunk to its document is changed by an ingest alone.
    """

    key: bytes
    metadata: Mapping[str, Any]
    replace: bool
    of_ingest: bool = False


class Write(NamedTuple):
    """A batch, done as a whole or not at all.

    Args:
        puts: records; each replaces what has its key. Keys differ from each other.
        vectors: (len(puts), dim), contiguous: the vectors of ``puts``.
        must_be_new: refuse the batch where a key is there already.
        removes: keys of records to remove; missing ones are passed over.
        rows: rows to remove; missing ones are passed over.
        documents: by id, what to store, or None to remove it. Chunks that a document had so far go,
            but for the rows that it has still.
        updates: refused as a whole where a key isn't there.
        state: edits of the state, in order; refused as a whole where one is.
    """

    puts: Sequence[Put] = ()
    vectors: NDArray[np.float32] | None = None
    must_be_new: bool = False
    removes: Sequence[bytes] = ()
    rows: Sequence[int] = ()
    documents: Mapping[str, StoredDocument | None] = MappingProxyType({})
    updates: Sequence[MetadataUpdate] = ()
    state: Sequence[StateEdit] = ()

    @property
    def storage(self) -> int:
        """Bytes of ``puts`` that the storage quota counts."""
        return sum([put.storage for put in self.puts])

    @property
    def dim(self) -> int:
        """Dimension of the vectors; 0 without any."""
        return 0 if self.vectors is None else self.vectors.shape[1]


class Applied(NamedTuple):
    """What a write did.

    Args:
        change: the log entry; None where nothing was to be done but to the state.
        counters: as they are behind it.
        gone: records that it removed, without those that had expired.
        state: what each of its edits of the state gave; see :meth:`StateTable.edit`.
    """

    change: Change | None
    counters: Counters
    gone: int
    state: tuple[int, ...] = ()
