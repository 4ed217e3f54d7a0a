"""Snapshots outside of a data directory: a directory of files, or the same files in a tar stream.

docs/reference/archive.md gives the format. Reading trusts nothing: names are those of a fixed list,
and no file counts before the manifest, the last of them, tells its length and checksum.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from llmspell.errors import CorruptFile, InputError, StorageFull
from llmspell.storage.errors import storage_errors
from llmspell.storage.export_ends import as_path, export_source, export_target
from llmspell.storage.files import sync_directory, write_all
from llmspell.storage.manifest import (
    ENVIRONMENT,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ArchivedFile,
    Manifest,
)
from llmspell.storage.tar import CHUNK, Member, TarWriter, tar_members

__all__ = ["Archive", "ArchiveWriter", "archive_members", "archive_target", "unpack_archive"]

_NAMES: Final = re.compile(
    r"data\.mdb|index-[0-9a-f]{16}\.snap|recall\.json|payload\.snap|lexical\.snap"
)
_TAKING: Final = "taking a snapshot"
_RESTORING: Final = "restoring"


class Archive(Protocol):
    """Where a snapshot is written to."""

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Write a file, of which ``chunks`` gives ``size`` bytes."""

    def finish(self) -> None:
        """Nothing comes behind what was added."""


class ArchiveWriter:
    """Writes files into an archive and notes their checksums. For one thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.files: list[ArchivedFile] = []
        self.bytes = 0

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Write a file; raises CorruptFile where ``chunks`` doesn't give ``size`` bytes."""
        digest = hashlib.sha256()
        left = size

        def watched() -> Iterator[bytes]:
            nonlocal left
            for chunk in chunks:
                digest.update(chunk)
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
            if left:
                raise CorruptFile(f"{name}: it hasn't the {size} bytes that it should have")

        self._archive.add(name, size, watched())
        self.files.append(ArchivedFile(name, size, digest.hexdigest()))
        self.bytes += size

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, and the end."""
        raw = manifest.encode()
        self._archive.add(MANIFEST, len(raw), [raw])
        self._archive.finish()
        self.bytes += len(raw)


class _Directory:
    """Files in a directory, each flushed."""

    def __init__(self, path: Path, doing: str) -> None:
        self._path = path
        self._doing = doing

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        path = self._path / name
        with storage_errors(path, self._doing), path.open("xb", buffering=0) as file:
            for chunk in chunks:
                write_all(file.fileno(), chunk)
            os.fsync(file.fileno())

    def finish(self) -> None:
        with storage_errors(self._path, self._doing):
            sync_directory(self._path)


@contextmanager
def archive_target(target: str | os.PathLike[str] | BinaryIO) -> Iterator[Archive]:
    """Give where to write a snapshot to; a path has all of it, durably, or is as it was.

    Args:
        target: a path that ends in ``.tar`` or an open binary file, for a tar file; another path
            for a directory, which must not be there.

    Raises:
        InputError: neither a path nor a binary file, or a directory that is there.
        StorageError: it can't be written.
    """
    if not isinstance(target, (str, os.PathLike)) or as_path(target).suffix == ".tar":
        with export_target(target, _TAKING) as write:
            yield TarWriter(write)
        return
    path = as_path(target)
    if os.path.lexists(path):
        raise InputError(
            f"{path} is there already; give the name of a directory to be, of a file that ends in "
            ".tar, or an open binary file"
        )
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with storage_errors(path, _TAKING):
        unfinished.mkdir()
    try:
        yield _Directory(unfinished, _TAKING)
        with storage_errors(path, _TAKING):
            unfinished.rename(path)
            sync_directory(path.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def archive_members(
    source: str | os.PathLike[str] | BinaryIO,
) -> Iterator[tuple[str, Iterator[Member]]]:
    """Give the name of a snapshot, for errors, and its files.

    Raises:
        CorruptFile: while they are read: cut off, damaged, or not a plain file.
        InputError: neither a path nor a binary file.
        StorageError: it can't be read.
    """
    if isinstance(source, (str, os.PathLike)) and (path := as_path(source)).is_dir():
        yield str(source), _directory_members(path)
        return
    with export_source(source, _RESTORING) as opened:
        yield opened.name, tar_members(opened.file, opened.name)


def unpack_archive(name: str, members: Iterator[Member], into: Path, *, map_size: int) -> Manifest:
    """Write the files of a snapshot into a directory that is there and empty, durably.

    Args:
        name: of the snapshot, for errors.
        members: as :func:`archive_members` gives them.
        map_size: bytes that the environment may have; looked at before any of it is written.

    Returns:
        The manifest, which every file was checked against.

    Raises:
        CorruptFile: a file is damaged, missing, there twice or none of a snapshot, or the manifest
            is missing, as in one that was cut short.
        StorageFull: the environment is larger than the map.
        UnsupportedFormat: a later release took it.
    """
    writer = ArchiveWriter(_Directory(into, _RESTORING))
    manifest: Manifest | None = None
    for member in members:
        if manifest is not None:
            raise CorruptFile(f"{name}: {member.name!r} comes behind {MANIFEST}")
        if member.name == MANIFEST:
            if member.size > MAX_MANIFEST_BYTES:
                raise CorruptFile(f"{name}: {MANIFEST} has {member.size} bytes")
            manifest = Manifest.decode(b"".join(member.chunks), name)
            continue
        if not _NAMES.fullmatch(member.name):
            raise CorruptFile(f"{name}: {member.name!r} is no file of a snapshot")
        if any(file.name == member.name for file in writer.files):
            raise CorruptFile(f"{name}: {member.name} is there twice")
        if member.name == ENVIRONMENT and member.size > map_size:
            raise StorageFull(
                f"{name}: {member.size} bytes, more than the map of {map_size} has; open the "
                "database with a larger map_size"
            )
        writer.add(*member)
    if manifest is None:
        raise CorruptFile(f"{name}: {MANIFEST} is missing; it was cut short, or is no snapshot")
    _compare(name, manifest.files, writer.files)
    with storage_errors(into, _RESTORING):
        sync_directory(into)
    return manifest


def _compare(name: str, said: Iterable[ArchivedFile], found: Iterable[ArchivedFile]) -> None:
    by_name = {file.name: file for file in found}
    is_whole = ENVIRONMENT in by_name
    for file in said:
        if by_name.pop(str(file.name), None) != file:
            raise CorruptFile(f"{name}: {file.name} is missing, or its checksum does not match")
    if by_name or not is_whole:
        raise CorruptFile(f"{name}: {MANIFEST} doesn't name the files that are there")


def _directory_members(path: Path) -> Iterator[Member]:
    with storage_errors(path, _RESTORING):
        names = sorted(os.listdir(path), key=lambda name: (name == MANIFEST, name))
        for name in names:
            # A pipe would wait for its writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path / name, flags)
            try:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    raise CorruptFile(f"{path}: {name!r} is not a plain file")
                yield Member(name, about.st_size, iter(partial(os.read, descriptor, CHUNK), b""))
            finally:
                os.close(descriptor)
