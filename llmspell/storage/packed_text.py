"""Texts of chunks, compressed by zstd where that makes them smaller."""

from __future__ import annotations

import importlib
import struct
import threading
from functools import cache
from typing import Any, Final

from llmspell.errors import CorruptFile

__all__ = ["LEAST_BYTES", "decompress", "packed"]

#: Shorter texts gain little, and each costs about 10 µs when it is looked at. Half of the chunks of
#: 512 tokens that sources give have less than 800 bytes; with dictionaries of a tenant's own, a
#: fifth of what is left would go, which is a few per cent of what a chunk takes with its vector:
#: ``python -m benchmarks dictionaries``.
LEAST_BYTES: Final = 256
#: The default of zstd itself.
_LEVEL: Final = 3

_LENGTH: Final = struct.Struct("<I")


def packed(text: bytes) -> bytes | None:
    """Length and frame of a text of :data:`LEAST_BYTES` or more; None where it is no shorter."""
    if len(text) < LEAST_BYTES:
        return None
    compressor = _COMPRESSORS.of_thread()
    frame: bytes = compressor.compress(text, compressor.FLUSH_FRAME)
    return _LENGTH.pack(len(text)) + frame if _LENGTH.size + len(frame) < len(text) else None


def decompress(frame: bytes, size: int) -> bytes:
    """The text of a frame; raises CorruptFile where it is none, or not of ``size`` bytes."""
    zstd = _zstd()
    try:
        # No more than that is made, whatever the frame says.
        unpacker = zstd.ZstdDecompressor()
        text: bytes = unpacker.decompress(frame, size + 1)
    except zstd.ZstdError as error:
        raise CorruptFile(f"a packed text can't be unpacked: {error}") from error
    if len(text) != size or not unpacker.eof:
        raise CorruptFile(f"a packed text doesn't have {size} bytes")
    return text


class _Compressors(threading.local):
    """One of each thread that packs: a new one for each text would take half as long again."""

    _kept: Any = None

    def of_thread(self) -> Any:
        if self._kept is None:
            self._kept = _zstd().ZstdCompressor(level=_LEVEL)
        return self._kept


_COMPRESSORS: Final = _Compressors()


@cache  # a module that isn't there is looked for anew at each import, which takes 40 µs
def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")  # from Python 3.14 on
    except ImportError:
        return importlib.import_module("backports.zstd")
