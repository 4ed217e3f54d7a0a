"""Records and documents as the items of an export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import InvalidId
from llmspell.storage.codec import pack
from llmspell.storage.export_file import ExportReader
from llmspell.storage.ids import check_document_id, decode_id, encode_id
from llmspell.storage.record import NEVER, StoredRecord
from llmspell.storage.stored_document import OF_A_CHUNK, StoredDocument

__all__ = [
    "ExportedDocument",
    "ExportedRecord",
    "decode_items",
    "encode_document",
    "encode_record",
]

RECORD: Final = 0
DOCUMENT: Final = 1
CHUNK: Final = 2
#: Year 9999, as far as datetime goes.
MAX_US: Final = 253_402_300_799_999_999

_RECORD_HEAD: Final = b"\x98" + pack(RECORD)  # msgpack: an array of 8
_CHUNK_HEAD: Final = b"\x98" + pack(CHUNK)


class ExportedRecord(NamedTuple):
    """A record of an export; metadata and text are still to be checked."""

    key: bytes
    created_us: int
    updated_us: int
    expires_us: int
    metadata: dict[str, Any]
    text: str | None
    vector: bytes


class ExportedDocument(NamedTuple):
    """A document of an export; so many chunks follow it."""

    id: str
    content_hash: bytes
    metadata: dict[str, Any]
    chunks: int
    version: int
    source: str
    embedder: str
    created_us: int
    updated_us: int


ExportedItem: TypeAlias = ExportedRecord | ExportedDocument


def encode_record(record: StoredRecord, vector: NDArray[np.float32]) -> bytes:
    """Item of a record, or of a chunk."""
    expires_us = record.expires_us
    return b"".join(
        (
            _CHUNK_HEAD if record.is_chunk else _RECORD_HEAD,
            pack(record.id),
            pack(record.created_us),
            pack(record.updated_us),
            pack(None if expires_us == NEVER else expires_us),
            record.raw_metadata,
            pack(record.text),
            pack(vector.astype("<f4", copy=False).tobytes()),
        )
    )


def encode_document(document_id: str, document: StoredDocument, chunks: int) -> bytes:
    """Item of a document of which so many chunks live."""
    return pack(
        [
            DOCUMENT,
            document_id,
            document.content_hash,
            document.metadata,
            chunks,
            document.version,
            document.source,
            document.embedder,
            document.created_us,
            document.updated_us,
        ]
    )


def decode_items(reader: ExportReader, dim: int) -> Iterator[ExportedItem]:
    """Records in the order of their ids, then documents in that of theirs, each with its chunks.

    Raises:
        CorruptFile: an item is not what the format says, or out of order.
    """
    last = b""
    document: ExportedDocument | None = None
    due = 0
    numbers: set[int] = set()
    for item in reader.items():
        kind = item[0] if isinstance(item, list) and item else None
        if (kind == CHUNK) != bool(due):
            reader.refuse(f"{due} chunks of a document were expected, got an item {kind!r}")
        if kind == DOCUMENT:
            following = _document(reader, item)
            if document is not None and following.id.encode() <= document.id.encode():
                reader.refuse(f"document {following.id!r} is out of order")
            document, due, numbers = following, following.chunks, set()
            yield document
            continue
        if kind not in (RECORD, CHUNK) or (kind == RECORD and document is not None):
            reader.refuse(f"an item {kind!r} is out of order")
        record = _record(reader, item, dim)
        if kind == RECORD:
            if record.key <= last:
                reader.refuse(f"record {decode_id(record.key)!r} is out of order")
            last = record.key
        else:
            due -= 1
            assert document is not None
            number = _chunk_number(reader, document, record)
            if number in numbers:
                reader.refuse(f"chunk {number} of document {document.id!r} stands there twice")
            numbers.add(number)
        yield record
    if due:
        reader.refuse(f"the last {due} chunks of document {document!r} are missing")


def _record(reader: ExportReader, item: list[Any], dim: int) -> ExportedRecord:
    if len(item) != 8:
        reader.refuse(f"a record of {len(item)} parts, expected 8")
    _, identity, created_us, updated_us, expires_us, metadata, text, vector = item
    try:
        key = encode_id(identity)
    except InvalidId as error:
        reader.refuse(str(error))
    times = created_us, updated_us, 0 if expires_us is None else expires_us
    if not all(type(us) is int and 0 <= us <= MAX_US for us in times):
        reader.refuse(f"record {identity!r}: times {times} are none")
    if not isinstance(metadata, dict) or not (text is None or isinstance(text, str)):
        reader.refuse(f"record {identity!r}: its metadata or its text is none")
    if not isinstance(vector, bytes) or len(vector) != 4 * dim:
        reader.refuse(f"record {identity!r}: its vector doesn't have dimension {dim}")
    expires_us = NEVER if expires_us is None else expires_us
    return ExportedRecord(key, created_us, updated_us, expires_us, metadata, text, vector)


def _document(reader: ExportReader, item: list[Any]) -> ExportedDocument:
    types = int, str, bytes, dict, int, int, str, str, int, int
    is_one = len(item) == len(types) and all(map(isinstance, item, types))
    if not is_one or item[4] < 0 or item[5] < 1 or not all(0 <= us <= MAX_US for us in item[8:]):
        reader.refuse("a document's item isn't one")
    try:
        check_document_id(item[1])
    except InvalidId as error:
        reader.refuse(str(error))
    return ExportedDocument(*item[1:])


def _chunk_number(reader: ExportReader, document: ExportedDocument, chunk: ExportedRecord) -> int:
    identity = str(decode_id(chunk.key))
    digits = identity.rpartition("#")[2]
    number = int(digits) if digits.isascii() and digits.isdigit() else -1
    if f"{document.id}#{number}" != identity:
        reader.refuse(f"{identity!r} is no chunk of document {document.id!r}")
    if chunk.expires_us != NEVER:
        reader.refuse(f"{identity!r} is a chunk, which doesn't expire")
    if chunk.metadata.get("document") != document.id or not chunk.metadata.keys() >= {*OF_A_CHUNK}:
        reader.refuse(f"the metadata of {identity!r} isn't that of a chunk of {document.id!r}")
    return number
