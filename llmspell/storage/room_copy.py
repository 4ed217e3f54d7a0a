"""The files of a room as one moment shows them, copied while writes go on."""

from __future__ import annotations

import errno
import io
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

from llmspell.errors import CorruptFile, LlmspellError
from llmspell.storage.curves import decode_curves
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import sync_directory, write_all
from llmspell.storage.manifest import ENVIRONMENT
from llmspell.storage.moment import Moment
from llmspell.storage.snapshots import LEXICAL, PAYLOAD, Snapshots, reached
from llmspell.storage.store import TenantStore
from llmspell.storage.tar import CHUNK
from llmspell.storage.view import CURVES

__all__ = ["RoomCopy", "RoomFile", "copied_room", "write_room"]

# Of LMDB's file: the size of a page, and in the second page the number of the last one.
_PAGE_SIZE: Final = struct.Struct("<40xI")
_LAST_PAGE: Final = struct.Struct("<136xQ")

#: A thread that was started runs by then.
START_SECONDS: Final = 5.0

#: What a file system says that can't copy between two files by itself.
_CANT_COPY: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

Content: TypeAlias = tuple[int, Iterator[bytes]]
"""Size in bytes, and all of them."""


class EnvironmentFile:
    """The LMDB environment of a moment, without its free pages; lasts as long as the moment."""

    name: Final = ENVIRONMENT

    def __init__(self, copy_to: Callable[[int], None]) -> None:
        #: Writes it to a descriptor.
        self.copy_to = copy_to

    @contextmanager
    def read(self) -> Iterator[Content]:
        """Give its content, which is never held as a whole, neither in memory nor on disk."""
        copier = _Copier(self.copy_to)
        try:
            copier.start()
            yield copier.content()
        finally:
            # Whatever comes between: it must end before the transaction that it reads by.
            copier.end()


class ViewFile:
    """A snapshot of a view, or what belongs to one; it stays readable when it is replaced."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file

    @contextmanager
    def read(self) -> Iterator[Content]:
        """Give its content."""
        self._file.seek(0)
        size = os.fstat(self._file.fileno()).st_size
        yield size, iter(lambda: self._file.read(CHUNK), b"")

    def copy_to(self, descriptor: int) -> None:
        """Write it to a descriptor; where the file system can, both share what they hold."""
        self._file.seek(0)
        source = self._file.fileno()
        try:
            while os.copy_file_range(source, descriptor, 1 << 30):
                pass
        except OSError as error:
            if error.errno not in _CANT_COPY:
                raise
            while chunk := self._file.read(CHUNK):
                write_all(descriptor, chunk)


RoomFile: TypeAlias = EnvironmentFile | ViewFile


class RoomCopy(NamedTuple):
    """A room at one moment.

    Args:
        moment: what its store holds.
        files: to be copied while the moment lasts: the environment, and those snapshots of views
            that it can be opened by.
    """

    moment: Moment
    files: list[RoomFile]


@contextmanager
def copied_room(directory: Path, store: TenantStore) -> Iterator[RoomCopy]:
    """Give what to copy of a room, as one moment shows it."""
    with ExitStack() as opened:
        # Before the moment: none of them is ahead of it then, and what is replaced stays open.
        indexes = []
        for sequence in Snapshots(directory).sequences():
            file = _open(opened, Snapshots(directory).path(sequence))
            if file is not None:
                indexes.append((sequence, file))
        curves = _open(opened, directory / CURVES)
        others = [(name, _open(opened, directory / name)) for name in (PAYLOAD, LEXICAL)]
        with store.copying() as (moment, copy_to):
            files: list[RoomFile] = [EnvironmentFile(copy_to)]
            for sequence, file in indexes:
                if moment.reaches_back_to(sequence):
                    files.append(ViewFile(Snapshots(directory).path(sequence).name, file))
                    if curves is not None and _are_of(curves, sequence):
                        files.append(ViewFile(CURVES, curves))
                    break
            for name, other in others:
                at = None if other is None else reached(name, other)
                if other is not None and at is not None and moment.reaches_back_to(at):
                    files.append(ViewFile(name, other))
            yield RoomCopy(moment, files)


def write_room(copy: RoomCopy, into: Path) -> None:
    """Write the files of a copy into a directory that is there and empty, durably."""
    for file in copy.files:
        with storage_errors(into, "cloning"), (into / file.name).open("xb", buffering=0) as target:
            file.copy_to(target.fileno())
            os.fsync(target.fileno())
    with storage_errors(into, "cloning"):
        sync_directory(into)


def _open(opened: ExitStack, path: Path) -> BinaryIO | None:
    with storage_errors(path, "reading"), suppress(FileNotFoundError):
        return opened.enter_context(path.open("rb", buffering=0))
    return None


def _are_of(curves: BinaryIO, sequence: int) -> bool:
    try:
        return bool(decode_curves(Path(CURVES), curves.read(), sequence))
    except LlmspellError:
        return False  # opening measures them anew


class _Copier:
    """A thread that writes an environment into a pipe, and the end of the pipe to read from."""

    def __init__(self, copy_to: Callable[[int], None]) -> None:
        self._copy_to = copy_to
        # The ends become files before any bytecode runs: an exception from elsewhere that came
        # behind a call of os.pipe() would leave two numbers that nobody closes.
        ends = islice(chain.from_iterable(iter(os.pipe, None)), 2)
        self._pipe, self._out = map(io.FileIO, ends, ("rb", "wb"))
        self._begun, self._ended = threading.Event(), threading.Event()
        self._failure: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="llmspell-copy").start()

    def content(self) -> Content:
        """Raises what the copy failed by."""
        head = self._head()
        page_size: int = _PAGE_SIZE.unpack_from(head)[0]
        last_page: int = _LAST_PAGE.unpack_from(head, page_size)[0]
        return page_size * (last_page + 1), self._through(head)

    def end(self) -> None:
        self._pipe.close()
        # An exception from elsewhere may come while the thread starts.
        if not self._begun.wait(START_SECONDS):
            self._out.close()
            return
        interrupt: BaseException | None = None
        while not self._ended.is_set():
            try:
                self._ended.wait()
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _run(self) -> None:
        self._begun.set()
        try:
            self._copy_to(self._out.fileno())
        except BaseException as error:
            self._failure = error
        finally:
            self._out.close()
            self._ended.set()

    def _head(self) -> bytes:
        """The first two pages."""
        head = b""
        wanted = _PAGE_SIZE.size
        while len(head) < wanted:
            part = self._pipe.read(wanted - len(head))
            if not part:
                raise self._failure or CorruptFile(f"{ENVIRONMENT}: it has no two pages")
            head += part
            if len(head) >= _PAGE_SIZE.size:
                wanted = max(2 * _PAGE_SIZE.unpack_from(head)[0], _LAST_PAGE.size)
        return head

    def _through(self, head: bytes) -> Iterator[bytes]:
        yield head
        while chunk := self._pipe.read(CHUNK):
            yield chunk
        if self._failure is not None:
            raise self._failure
