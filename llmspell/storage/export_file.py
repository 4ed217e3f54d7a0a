"""The file of an export: frames that are checked one by one and as a whole.

docs/reference/export.md gives the format, byte by byte. A frame's checksum is seeded with that of
the frame before it, so that one that is missing or out of place is seen like a flipped bit.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, Protocol

from llmspell._hot import crc32c
from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.codec import pack, unpack

__all__ = ["EXPORT_FORMAT", "FRAME_BYTES", "BinaryReader", "ExportReader", "ExportWriter"]

MAGIC: Final = b"LLSPEXP\n"
EXPORT_FORMAT: Final = 2
#: The longest body of a frame; an item that is longer takes several frames.
FRAME_BYTES: Final = 1 << 20

HEADER: Final = 1
ITEMS: Final = 2
END: Final = 3
#: Flag of a frame whose body goes on in the next.
MORE: Final = 1

_FRAME: Final = struct.Struct("<IIBBHI")  # checksum, number, kind, flags, 0, length of the body
_ARRAY: Final = struct.Struct(">BI")
_ARRAY_32: Final = 0xDD  # msgpack's head of an array with a length of 32 bits


class BinaryReader(Protocol):
    """What an export is read from; fewer bytes than asked for may come back before the end."""

    def read(self, size: int, /) -> bytes: ...


class ExportWriter:
    """Writes an export; it holds at most one frame's items. For one thread."""

    def __init__(self, write: Callable[[bytes], object], header: Mapping[str, Any]) -> None:
        """Begin the file.

        Args:
            write: takes all bytes that it is given, or raises.
            header: what the file is about.
        """
        self._write = write
        self._digest = hashlib.sha256()
        self._checksum = crc32c(MAGIC)
        self._number = 0
        self._items: list[bytes] = []
        self._held = 0
        self._count = 0
        self.bytes = 0
        self._emit(MAGIC)
        self._frames(HEADER, pack({"format": EXPORT_FORMAT, **header}))

    def add(self, item: bytes) -> None:
        """Add an item, a value in msgpack."""
        if self._held + len(item) + _ARRAY.size > FRAME_BYTES:
            self._flush()
        self._items.append(item)
        self._held += len(item)
        self._count += 1

    def finish(self, totals: Mapping[str, int]) -> None:
        """Write the end, with totals that a reader is to find again."""
        self._flush()
        end = {"items": self._count, "bytes": self.bytes, **totals}
        self._frames(END, pack({**end, "sha256": self._digest.digest()}))

    def _flush(self) -> None:
        if self._items:
            head = _ARRAY.pack(_ARRAY_32, len(self._items))
            self._frames(ITEMS, b"".join((head, *self._items)))
            self._items.clear()
            self._held = 0

    def _frames(self, kind: int, body: bytes) -> None:
        for start in range(0, len(body), FRAME_BYTES):
            part = body[start : start + FRAME_BYTES]
            flags = MORE if start + FRAME_BYTES < len(body) else 0
            head = _FRAME.pack(0, self._number, kind, flags, 0, len(part))[4:]
            self._checksum = crc32c(part, crc32c(head, self._checksum))
            self._emit(struct.pack("<I", self._checksum) + head + part)
            self._number += 1

    def _emit(self, raw: bytes) -> None:
        self._write(raw)
        self._digest.update(raw)
        self.bytes += len(raw)


class ExportReader:
    """Reads an export, frame by frame; no more is held than one item, or one frame's. One thread.

    All methods raise CorruptFile, naming the frame, where something doesn't hold.
    """

    def __init__(self, file: BinaryReader, name: str) -> None:
        """Read what the file is about.

        Args:
            file: at the export's first byte; it is left behind the last one.
            name: of the file, for errors.

        Raises:
            UnsupportedFormat: a later release wrote it.
        """
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()
        self._checksum = crc32c(MAGIC)
        #: Of the frame that was read last.
        self.frame = 0
        self._next = 0
        self.bytes = 0
        if self._read(len(MAGIC)) != MAGIC:
            self.refuse("it doesn't begin as an export of llmspell does")
        self._digest.update(MAGIC)
        kind, header, _ = self._value()
        if kind != HEADER or not isinstance(header, dict):
            self.refuse("a header was expected")
        if header.get("format") != EXPORT_FORMAT:
            raise UnsupportedFormat(
                f"{name}: an export of version {header.get('format')}, expected {EXPORT_FORMAT}"
            )
        self.header: dict[str, Any] = header
        #: What the end says; empty until it was read.
        self.totals: dict[str, Any] = {}

    def items(self) -> Iterator[Any]:
        """All items, decoded; behind the last of them the file is known to be whole."""
        count = 0
        while True:
            kind, value, before = self._value()
            if kind == END:
                break
            if kind != ITEMS or not isinstance(value, list):
                self.refuse("items or the end were expected")
            count += len(value)
            yield from value
        digest, size = before
        if not isinstance(value, dict) or value.get("sha256") != digest:
            self.refuse("the checksum of the whole file does not match")
        if (value.get("items"), value.get("bytes")) != (count, size):
            self.refuse(f"{count} items in {size} bytes came before the end, which counts others")
        self.totals = value

    def refuse(self, why: str) -> NoReturn:
        """Raise CorruptFile for the frame that was read last."""
        raise CorruptFile(f"{self._name}: frame {self.frame}: {why}")

    def _value(self) -> tuple[int, Any, tuple[bytes, int]]:
        """Kind and value of the next frames, with digest and length of all that stands before."""
        before = self._digest.digest(), self.bytes
        kind, flags, body = self._frame()
        parts = [body]
        while flags & MORE:
            following, flags, body = self._frame()
            if following != kind:
                self.refuse("it doesn't go on where the one before breaks off")
            parts.append(body)
        try:
            return kind, unpack(b"".join(parts)), before
        except (ValueError, TypeError, OverflowError) as error:
            self.refuse(f"its content can't be decoded: {error}")

    def _frame(self) -> tuple[int, int, bytes]:
        self.frame = self._next
        raw = self._read(_FRAME.size)
        checksum, number, kind, flags, _, length = _FRAME.unpack(raw)
        if number != self.frame or not 0 < length <= FRAME_BYTES:
            self.refuse(f"its head is damaged: number {number}, length {length}")
        body = self._read(length)
        self._checksum = crc32c(body, crc32c(raw[4:], self._checksum))
        if self._checksum != checksum:
            self.refuse("its checksum does not match, or a frame before it is missing")
        self._digest.update(raw)
        self._digest.update(body)
        self._next += 1
        return kind, flags, body

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing:
            part = self._file.read(missing)
            if not part:
                self.refuse(f"the file ends {missing} bytes before the end of it")
            parts.append(part)
            missing -= len(part)
        self.bytes += size
        return b"".join(parts)
