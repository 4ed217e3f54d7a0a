"""The snapshot of a payload index: one file, of which a filter reads the fields that it names.

After the header lies the directory, then a block for each field. Each has a checksum (CRC-32) and a
length that is held against the size of the file before anything is read or made of it. All
integers are little-endian; blocks and the arrays in them begin at multiples of eight bytes.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.codec import pack, unpack
from llmspell.storage.columns import Column, Numbers, Strings
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import sync_directory

__all__ = [
    "Entry",
    "PayloadFile",
    "Written",
    "encode_block",
    "payload_sequence",
    "write_payload",
]

MAGIC: Final = b"LSPELLPI"
VERSION: Final = 1

# Magic, version, checksum of the rest, sequence number, sizes of directory and file, checksum of
# the directory, nothing.
_HEADER: Final = struct.Struct("<8sIIQQQII")
_CHECKED_FROM: Final = 16
_TABLE: Final = struct.Struct("<Q")
_KINDS: Final = frozenset("sifbt0")

_BYTES: Final = ("|u1",)
_WHOLE: Final = ("<u4", "<u8")
_DTYPES: Final = (*_BYTES, *_WHOLE, "<i8", "<f8")

Buffer: TypeAlias = bytes | memoryview


class Entry(NamedTuple):
    """A field in the directory.

    Args:
        path: dotted.
        rows: how many have it.
        has_several: whether a row may have several values.
        size, checksum: of its block.
    """

    path: str
    rows: int
    has_several: bool
    size: int
    checksum: int


class Written(NamedTuple):
    """A field to write: as :class:`Entry`, and what gives its block."""

    path: str
    rows: int
    has_several: bool
    block: Callable[[], list[Buffer]]


def write_payload(
    path: Path,
    sequence: int,
    about: Mapping[str, Any],
    rows: BitMap64,
    fields: Iterable[Written],
) -> None:
    """Replace the file, durably.

    Args:
        sequence: of the log entry that the index has reached.
        about: what the index was made with.
        rows: all of the index.
        fields: in the order of the file.

    Raises:
        StorageError: the old one stands.
    """
    everything = _padded([rows.serialize()])
    blocks = [everything]
    entries = []
    for one in fields:
        block = one.block()
        blocks.append(block)
        entries.append([one.path, one.rows, one.has_several, *_measure(block)])
    directory = pack({"about": dict(about), "rows": _measure(everything), "fields": entries})
    padding = bytes(-len(directory) % 8)
    size = _HEADER.size + len(directory) + len(padding)
    size += sum(len(part) for block in blocks for part in block)
    checked = _HEADER.pack(
        MAGIC, VERSION, 0, sequence, len(directory), size, zlib.crc32(directory), 0
    )[_CHECKED_FROM:]
    head = struct.pack("<8sII", MAGIC, VERSION, zlib.crc32(checked))
    unfinished = path.with_name(path.name + ".tmp")
    with storage_errors(path, "writing"):
        with unfinished.open("wb") as file:
            file.write(head + checked + directory + padding)
            for block in blocks:
                file.writelines(block)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)


def payload_sequence(file: BinaryIO) -> int | None:
    """The log entry that a snapshot has reached, by its header; None where that doesn't hold."""
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, version, checksum, sequence, *_ = _HEADER.unpack(head)
    is_sound = (magic, version, checksum) == (MAGIC, VERSION, zlib.crc32(head[_CHECKED_FROM:]))
    return sequence if is_sound else None


class PayloadFile:
    """A snapshot that is open for reading, mapped. Thread-safe."""

    __slots__ = ("_map", "_places", "about", "entries", "path", "rows", "sequence")

    def __init__(self, path: Path) -> None:
        """Read the header, the directory and the rows.

        Raises:
            CorruptFile: one of them is damaged, or the file has another size than it says.
            UnsupportedFormat: no payload index, or one of another version.
            StorageError: it can't be read.
        """
        self.path = path
        with storage_errors(path, "reading"), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEADER.size:
                raise CorruptFile(f"{path}: {size} bytes, a header has {_HEADER.size}")
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        self._map = memoryview(mapped)
        magic, version, checksum, sequence, directory, claimed, of_directory, _ = (
            _HEADER.unpack_from(self._map)
        )
        if magic != MAGIC or version != VERSION:
            raise UnsupportedFormat(f"{path}: no payload index of version {VERSION}")
        if zlib.crc32(self._map[_CHECKED_FROM : _HEADER.size]) != checksum:
            raise CorruptFile(f"{path}: the checksum of its header does not match")
        if claimed != size or directory > size - _HEADER.size:
            raise CorruptFile(f"{path}: {size} bytes, its header says {claimed}")
        raw = self._map[_HEADER.size : _HEADER.size + directory]
        if zlib.crc32(raw) != of_directory:
            raise CorruptFile(f"{path}: the checksum of its directory does not match")
        self.sequence: int = sequence
        self.entries: dict[str, Entry] = {}
        self._places: dict[str, int] = {}
        with _damage(path, "directory"):
            found = unpack(raw)
            self.about: dict[str, Any] = found["about"]
            at = _HEADER.size + directory + -directory % 8
            rows, rows_checksum = found["rows"]
            rows_at, at = at, at + rows
            for entry in map(Entry._make, found["fields"]):
                self.entries[entry.path] = entry
                self._places[entry.path] = at
                at += entry.size
            if at != size:
                raise CorruptFile(f"{path}: its blocks do not add up to its {size} bytes")
            self.rows = BitMap64.deserialize(
                bytes(self._read("rows", rows_at, rows, rows_checksum))
            )

    def raw(self, field: str) -> memoryview:
        """The block of a field, checked; raises CorruptFile."""
        entry = self.entries[field]
        return self._read(f"field {field!r}", self._places[field], entry.size, entry.checksum)

    def block(self, field: str) -> tuple[BitMap64, dict[str, Column]]:
        """Rows that have the field, and its columns, in the mapped file; raises CorruptFile."""
        raw = self.raw(field)
        with _damage(self.path, f"field {field!r}"):
            present, columns = _decode_block(raw)
            if len(present) != self.entries[field].rows:
                raise ValueError(f"{len(present)} rows, {self.entries[field].rows} expected")
            return present, columns

    def _read(self, what: str, at: int, size: int, checksum: int) -> memoryview:
        raw = self._map[at : at + size]
        if len(raw) != size or zlib.crc32(raw) != checksum:
            raise CorruptFile(f"{self.path}: the checksum of {what} does not match")
        return raw


@contextmanager
def _damage(path: Path, what: str) -> Iterator[None]:
    """Raise CorruptFile for what decoding makes of bytes that no release wrote."""
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
        raise CorruptFile(f"{path}: {what} can't be decoded: {error!r}") from error


def encode_block(present: BitMap64, columns: Mapping[str, Column]) -> list[Buffer]:
    """The block of a field: a table of its arrays, and these."""
    arrays: list[NDArray[Any]] = [np.frombuffer(present.serialize(), np.uint8)]
    for _, column in sorted(columns.items()):
        values = column.values
        if isinstance(values, Strings):
            arrays += [values.blob, values.offsets]
        else:
            arrays.append(values.values)
        held = [bitmap.serialize() for bitmap in column.bitmaps]
        sizes = np.fromiter(map(len, held), "<u8", len(held))
        blob = np.frombuffer(b"".join(held), np.uint8)
        arrays += [column.starts, column.rows, column.heavy, sizes, blob]
    table = pack(
        {"kinds": "".join(sorted(columns)), "arrays": [(a.dtype.str, len(a)) for a in arrays]}
    )
    head = _padded([_TABLE.pack(len(table)) + table])
    return [*head, *(part for a in arrays for part in _padded([a.view(np.uint8).data]))]


def _decode_block(raw: memoryview) -> tuple[BitMap64, dict[str, Column]]:
    (length,) = _TABLE.unpack_from(raw)
    table = unpack(raw[_TABLE.size : _TABLE.size + length])
    arrays = _arrays(raw, _TABLE.size + length, table["arrays"])
    present = BitMap64.deserialize(_next(arrays, _BYTES).tobytes())
    columns: dict[str, Column] = {}
    for kind in table["kinds"]:
        columns[kind] = _column(kind, arrays)
    if not _KINDS.issuperset(columns) or next(arrays, None) is not None:
        raise ValueError("unknown kinds, or arrays of none")
    return present, columns


def _arrays(raw: memoryview, at: int, table: list[tuple[str, int]]) -> Iterator[NDArray[Any]]:
    for dtype, count in table:
        at += -at % 8
        end = at + np.dtype(dtype).itemsize * count
        if dtype not in _DTYPES or count < 0 or end > len(raw):
            raise ValueError(f"an array of {count} {dtype} from byte {at} of {len(raw)}")
        yield np.frombuffer(raw[at:end], dtype)
        at = end


def _column(kind: str, arrays: Iterator[NDArray[Any]]) -> Column:
    values: Numbers | Strings
    if kind == "s":
        values = Strings(_next(arrays, _BYTES), _next(arrays, _WHOLE))
        _check_offsets(values.offsets, len(values.blob))
    else:
        values = Numbers(_next(arrays, ("<f8",) if kind == "f" else ("<i8",)))
    starts, rows, heavy = (_next(arrays, _WHOLE) for _ in range(3))
    sizes, blob = _next(arrays, _WHOLE), _next(arrays, _BYTES)
    _check_offsets(starts, len(rows))
    if len(starts) != len(values) + 1 or len(heavy) != len(sizes):
        raise ValueError(f"{len(values)} values, {len(starts)} starts")
    if len(heavy) and (int(heavy[-1]) >= len(values) or (heavy[1:] <= heavy[:-1]).any()):
        raise ValueError("bitmaps of values that aren't there")
    ends = [0, *np.cumsum(sizes).tolist()]
    if ends[-1] != len(blob):
        raise ValueError(f"bitmaps of {ends[-1]} bytes in {len(blob)}")
    held = blob.tobytes()
    bitmaps = [BitMap64.deserialize(held[a:b]) for a, b in pairwise(ends)]
    return Column(values, starts, rows, heavy, bitmaps)


def _next(arrays: Iterator[NDArray[Any]], expected: tuple[str, ...]) -> NDArray[Any]:
    array = next(arrays, None)
    if array is None or array.dtype.str not in expected:
        raise ValueError(f"an array of {expected} is missing")
    return array


def _check_offsets(offsets: NDArray[Any], end: int) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end:
        raise ValueError(f"offsets do not end at {end}")
    if (offsets[1:] < offsets[:-1]).any():
        raise ValueError("offsets do not ascend")


def _measure(block: list[Buffer]) -> tuple[int, int]:
    checksum = size = 0
    for part in block:
        checksum = zlib.crc32(part, checksum)
        size += len(part)
    return size, checksum


def _padded(parts: list[Buffer]) -> list[Buffer]:
    padding = -sum(map(len, parts)) % 8
    return [*parts, bytes(padding)] if padding else parts
