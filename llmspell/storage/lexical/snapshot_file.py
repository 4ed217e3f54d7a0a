"""The snapshot of a lexical index: the engine's files in one, checked before any of it is used.

After the header lies the directory, msgpack: what wrote the files, and of each its name, size and
checksum. Then come the files. Checksums are CRC-32; all integers are little-endian.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from llmspell.errors import CorruptFile, StorageError, UnsupportedFormat
from llmspell.storage.codec import UNDECODABLE, pack, unpack
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import sync_directory
from llmspell.storage.lexical.text_index import ENGINE_FILE

__all__ = ["check_lexical", "lexical_sequence", "read_lexical", "write_lexical"]

MAGIC: Final = b"LSPELLLX"
VERSION: Final = 1

# Magic, version, checksum of the rest, sequence number, sizes of directory and file, checksum of
# the directory, nothing.
_HEADER: Final = struct.Struct("<8sIIQQQII")
_CHECKED_FROM: Final = 16

CHUNK: Final = 1 << 20
MAX_DIRECTORY_BYTES: Final = 1 << 20


class _Head(NamedTuple):
    sequence: int
    about: dict[str, Any]
    files: list[tuple[str, int, int]]


def write_lexical(
    path: Path, sequence: int, about: Mapping[str, Any], files: Sequence[Path]
) -> None:
    """Replace the snapshot, durably.

    Args:
        sequence: of the log entry that the index has reached.
        about: what made the files; others don't read them.
        files: all of the index, which nobody changes meanwhile.

    Raises:
        StorageError: the old one stands.
    """
    unfinished = path.with_name(path.name + ".tmp")
    with storage_errors(path, "writing"):
        entries = [(file.name, *_measure(file)) for file in files]
        directory = pack({"about": dict(about), "files": entries})
        size = _HEADER.size + len(directory) + sum(entry[1] for entry in entries)
        checked = _HEADER.pack(
            MAGIC, VERSION, 0, sequence, len(directory), size, zlib.crc32(directory), 0
        )[_CHECKED_FROM:]
        head = struct.pack("<8sII", MAGIC, VERSION, zlib.crc32(checked))
        with unfinished.open("wb") as target:
            target.write(head + checked + directory)
            for file in files:
                with file.open("rb") as source:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)


def lexical_sequence(file: BinaryIO) -> int | None:
    """The log entry that a snapshot has reached, by its header; None where that doesn't hold."""
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, version, checksum, sequence, *_ = _HEADER.unpack(head)
    is_sound = (magic, version, checksum) == (MAGIC, VERSION, zlib.crc32(head[_CHECKED_FROM:]))
    return sequence if is_sound else None


def read_lexical(path: Path, about: Mapping[str, Any], into: Path) -> int:
    """Lay the files of a snapshot into a directory, checked; returns the entry it has reached.

    Raises:
        CorruptFile: it is damaged; what lies in the directory is of no use.
        StorageError: what wrote it isn't ``about``, or a file can't be read or written.
        UnsupportedFormat: a later release wrote it.
    """
    with storage_errors(path, "reading"), path.open("rb", buffering=0) as file:
        head = _read_head(path, file)
        if head.about != about:
            raise StorageError(f"{path}: {head.about} wrote it, and {dict(about)} is to read it")
        for name, size, checksum in head.files:
            with (into / name).open("xb") as target:
                _pass_on(path, name, file, size, checksum, target.write)
        return head.sequence


def check_lexical(path: Path) -> None:
    """Check all of a snapshot; raises as :func:`read_lexical`."""
    with storage_errors(path, "reading"), path.open("rb", buffering=0) as file:
        for name, size, checksum in _read_head(path, file).files:
            _pass_on(path, name, file, size, checksum, len)


def _read_head(path: Path, file: BinaryIO) -> _Head:
    raw = file.read(_HEADER.size)
    if len(raw) < _HEADER.size:
        raise CorruptFile(f"{path}: snapshot of {len(raw)} bytes, the header alone has more")
    magic, version, checksum, sequence, directory_size, size, directory_checksum, _ = (
        _HEADER.unpack(raw)
    )
    if magic != MAGIC or zlib.crc32(raw[_CHECKED_FROM:]) != checksum:
        raise CorruptFile(f"{path}: snapshot whose header doesn't hold")
    if version != VERSION:
        raise UnsupportedFormat(f"{path}: version {version}, expected {VERSION}")
    if size != os.fstat(file.fileno()).st_size or directory_size > MAX_DIRECTORY_BYTES:
        raise CorruptFile(f"{path}: snapshot whose size doesn't hold")
    directory = file.read(directory_size)
    if len(directory) != directory_size or zlib.crc32(directory) != directory_checksum:
        raise CorruptFile(f"{path}: snapshot whose directory doesn't hold")
    try:
        fields = unpack(directory)
        files = [(str(name), int(length), int(crc)) for name, length, crc in fields["files"]]
        about = dict(fields["about"])
    except UNDECODABLE as error:
        raise CorruptFile(f"{path}: snapshot whose directory can't be read: {error}") from None
    names = {name for name, _, _ in files}
    is_whole = all(length >= 0 for _, length, _ in files) and len(names) == len(files)
    # A name is where a file is written to.
    is_whole = is_whole and all(map(ENGINE_FILE.fullmatch, names))
    held = _HEADER.size + directory_size + sum(length for _, length, _ in files)
    if not is_whole or held != size:
        raise CorruptFile(f"{path}: snapshot whose directory isn't one")
    return _Head(sequence, about, files)


def _pass_on(
    path: Path,
    name: str,
    file: BinaryIO,
    size: int,
    checksum: int,
    take: Callable[[bytes], object],
) -> None:
    found, left = 0, size
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise CorruptFile(f"{path}: snapshot that ends within {name}")
        found = zlib.crc32(chunk, found)
        left -= len(chunk)
        take(chunk)
    if found != checksum:
        raise CorruptFile(f"{path}: snapshot whose {name} doesn't hold")


def _measure(file: Path) -> tuple[int, int]:
    size = checksum = 0
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return size, checksum
