"""The tar files of snapshots: plain files one after the other, and nothing else that tar knows.

What reads them takes no link, device, directory, extension header or compression: such a member is
refused by its header, before anything is made of it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from llmspell.errors import CorruptFile
from llmspell.storage.export_file import BinaryReader

__all__ = ["CHUNK", "Member", "TarWriter", "read_exactly", "tar_members"]

BLOCK: Final = 512
#: Bytes that are held of a file at one time.
CHUNK: Final = 1 << 20

_END: Final = bytes(2 * BLOCK)


class Member(NamedTuple):
    """A file of a snapshot.

    Args:
        chunks: its content; take all of them before the next member.
    """

    name: str
    size: int
    chunks: Iterator[bytes]


class TarWriter:
    """Writes a tar file as a stream. For one thread."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """Begin a file; ``write`` takes all bytes that it is given, or raises."""
        self._write = write

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Write a file, of which ``chunks`` gives ``size`` bytes."""
        header = tarfile.TarInfo(name)
        header.size = size
        header.mode = 0o600
        # Of GNU's format, for sizes beyond 8 GiB without another header.
        self._write(header.tobuf(tarfile.GNU_FORMAT))
        for chunk in chunks:
            self._write(chunk)
        self._write(bytes(-size % BLOCK))

    def finish(self) -> None:
        """Write the end."""
        self._write(_END)


def tar_members(file: BinaryReader, name: str) -> Iterator[Member]:
    """The files of a tar file, up to its end; what lies behind it isn't read.

    Args:
        name: of the tar file, for errors.

    Raises:
        CorruptFile: it is cut off or damaged, or has a member that isn't a plain file.
    """
    while True:
        head = read_exactly(file, BLOCK, name)
        if head == bytes(BLOCK):
            if read_exactly(file, BLOCK, name) != bytes(BLOCK):
                raise CorruptFile(f"{name}: its end is damaged")
            return
        try:
            header = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise CorruptFile(
                f"{name}: no header of a tar file where one was expected ({error}); give it as it "
                "was written, not compressed"
            ) from error
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
            raise CorruptFile(
                f"{name}: member {header.name!r} is a link, a device, a directory or an extension "
                "of tar; a snapshot has plain files alone"
            )
        yield Member(header.name, header.size, _chunks(file, header.size, name))
        read_exactly(file, -header.size % BLOCK, name)


def read_exactly(file: BinaryReader, size: int, name: str) -> bytes:
    """Read so many bytes; raises CorruptFile where the file ends before."""
    return b"".join(_chunks(file, size, name))


def _chunks(file: BinaryReader, size: int, name: str) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, CHUNK))
        if not chunk:
            raise CorruptFile(f"{name}: it is cut off, {size} bytes before the end of a member")
        size -= len(chunk)
        yield chunk
