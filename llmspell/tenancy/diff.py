"""What an ingest changes of documents that are there: chunks by their texts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, TypeAlias

import numpy as np

from llmspell.config import FieldType
from llmspell.storage import (
    NEVER,
    OF_A_CHUNK,
    MetadataUpdate,
    Moment,
    Put,
    StoredDocument,
    StoredRecord,
    Write,
    conform,
    encode_id,
    pack,
)
from llmspell.tenancy.documents import Chunk, SplitDocument
from llmspell.tenancy.inputs import pack_text

__all__ = ["Diff", "Place"]

Place: TypeAlias = tuple[int, int]
"""Number of a document in the batch, and of a chunk in it."""

_OWN: Final = frozenset(OF_A_CHUNK)


class Diff:
    """What is to be written so that a tenant has some documents, as it is at one moment.

    A chunk whose text is there keeps its row, its vector and its id where the model that made the
    vector is still the one in use. Where it has moved, its metadata alone is written anew.

    Attributes:
        new: chunks that need a vector, in order.
        growth: by how much documents and vectors become more.
    """

    def __init__(
        self,
        moment: Moment,
        batch: Sequence[SplitDocument],
        schema: Mapping[str, FieldType],
        now_us: int,
    ) -> None:
        """Compare.

        Args:
            batch: documents, each of another id, with metadata as a read would give it.
            now_us: what has expired by then is not kept.
        """
        self._schema = schema
        self._sequence = moment.counters.sequence
        self._expires_us = NEVER
        self._puts: list[Put] = []
        self._updates: list[MetadataUpdate] = []
        self._documents: dict[str, StoredDocument | None] = {}
        self.new: list[Place] = []
        came = 0
        gone: set[int] = set()
        for number, document in enumerate(batch):
            stored = moment.document(document.id)
            former: list[StoredRecord] = []
            if stored is None:
                came += 1
            else:
                former = [record for record, _ in moment.chunks(stored, vectors=False)]
            live = [record for record in former if record.expires_us > now_us]
            self._expires_us = min([self._expires_us, *(record.expires_us for record in live)])
            kept = self._add(number, document, stored, live)
            gone.update(record.rowid for record in former if record.rowid not in kept)
        replaced = moment.rows([put.key for put in self._puts])
        gone.update(int.from_bytes(row) for row in replaced if row is not None)
        self.growth = {"documents": came, "vectors": max(len(self._puts) - len(gone), 0)}

    def holds(self, sequence: int, now_us: int) -> bool:
        """Whether another one would be the same, where the log ends at ``sequence``."""
        return sequence == self._sequence and now_us < self._expires_us

    def write(self, vectors: Mapping[Place, bytes]) -> Write:
        """The write, with a vector for each of :attr:`new`."""
        puts = [
            put._replace(vector=vectors[place])
            for put, place in zip(self._puts, self.new, strict=True)
        ]
        matrix = None
        if puts:
            raw = b"".join(put.vector for put in puts)
            matrix = np.frombuffer(raw, dtype="<f4").reshape(len(puts), -1)
        return Write(
            puts=puts, vectors=matrix, documents=self._documents, updates=tuple(self._updates)
        )

    def _add(
        self,
        number: int,
        document: SplitDocument,
        stored: StoredDocument | None,
        live: Sequence[StoredRecord],
    ) -> set[int]:
        """Add a document to the write; returns the rows that stay."""
        source = document.source or document.id
        version = 1 if stored is None else stored.version + 1
        is_same_model = stored is not None and stored.embedder == document.embedder != ""
        matches = _match(document.chunks, live if is_same_model else ())
        numbers = _free_numbers([record for record in matches if record is not None])
        rows: list[int] = []
        for position, (chunk, record) in enumerate(zip(document.chunks, matches, strict=True)):
            metadata = {
                **document.metadata,
                "document": document.id,
                "source": source,
                "version": version,
                "start": chunk.start,
                "end": chunk.end,
            }
            if record is not None:
                assert stored is not None
                rows.append(record.rowid)
                self._keep(record, metadata, stored)
                continue
            rows.append(-1 - len(self._puts))
            self.new.append((number, position))
            self._puts.append(
                Put(
                    encode_id(f"{document.id}#{next(numbers)}"),
                    pack(conform(metadata, self._schema)),
                    pack_text(chunk.text),
                    vector=b"",
                    is_chunk=True,
                )
            )
        self._documents[document.id] = StoredDocument(
            document.content_hash,
            dict(document.metadata),
            tuple(rows),
            version=version,
            source=source,
            embedder=document.embedder,
            created_us=None if stored is None else stored.created_us,
        )
        return {row for row in rows if row >= 0}

    def _keep(
        self, record: StoredRecord, metadata: Mapping[str, Any], former: StoredDocument
    ) -> None:
        """Write what is other than it was of a chunk's metadata; keys that users set stay."""
        before = record.metadata
        of_users = {
            name: value
            for name, value in before.items()
            if name not in former.metadata and name not in _OWN
        }
        # Its text is that of the version in which it came.
        after = {**of_users, **metadata, "version": before["version"]}
        if _sorted(after) != _sorted(before):
            self._updates.append(MetadataUpdate(record.key, after, replace=True, of_ingest=True))


def _match(chunks: Sequence[Chunk], live: Sequence[StoredRecord]) -> list[StoredRecord | None]:
    """For each chunk a record that has its text, each record once."""
    by_text: dict[bytes | None, deque[StoredRecord]] = defaultdict(deque)
    for record in live:
        by_text[record.raw_text].append(record)
    if not by_text:
        return [None] * len(chunks)
    found = (by_text.get(pack_text(chunk.text)) for chunk in chunks)
    return [records.popleft() if records else None for records in found]


def _free_numbers(kept: Sequence[StoredRecord]) -> Iterator[int]:
    """Numbers for new chunks: the smallest that no other chunk of the document has."""
    used = {int(str(record.id).rpartition("#")[2]) for record in kept}
    return (number for number in count() if number not in used)


def _sorted(metadata: Mapping[str, Any]) -> bytes:
    # Bytes, for 1 and True and 1.0 are equal.
    return pack(dict(sorted(metadata.items())))
