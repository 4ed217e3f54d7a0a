"""A vector as the disk has it: checked by its checksum, in half precision or compressed if asked.

Layout, little-endian: CRC-32 of the key and all else, magic ``LSE1``, flags (1: float16, 2: zstd),
dimension, microseconds since 1970 when it was made, then the numbers.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.rag.cache.packages import required
from llmspell.rag.cache.settings import EmbeddingCacheSettings

__all__ = ["Made", "decode", "encode", "is_rounded", "longest"]

_MAGIC: Final = b"LSE1"
_FLOAT16: Final = 1
_ZSTD: Final = 2
_CHECK: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct("<4x4sB3xIQ")
_SINGLE: Final = np.dtype("<f4")
_HALF: Final = np.dtype("<f2")
_LARGEST_HALF: Final = 65_504.0


class Made(NamedTuple):
    """A vector (dim,) float32, read-only, and when it was made, in microseconds since 1970."""

    vector: NDArray[np.float32]
    at_us: int


def encode(key: bytes, made: Made, settings: EmbeddingCacheSettings) -> bytes:
    """The bytes of an entry."""
    flags, rows = 0, made.vector.astype("<f4", copy=False)
    # Unit vectors fit; one that doesn't stays as it is.
    if settings.disk_dtype == "float16" and np.abs(rows).max(initial=0.0) <= _LARGEST_HALF:
        flags, body = _FLOAT16, rows.astype("<f2").tobytes()
    else:
        body = rows.tobytes()
    if len(body) > settings.compress_over:
        packed = required("zstandard").ZstdCompressor(level=1).compress(body)
        if len(packed) < len(body):
            flags, body = flags | _ZSTD, packed
    checked = _HEAD.pack(_MAGIC, flags, rows.size, made.at_us)[_CHECK.size :] + body
    return _CHECK.pack(zlib.crc32(checked, zlib.crc32(key))) + checked


def longest(dim: int) -> int:
    """Bytes that no entry of a dimension is longer than."""
    return _HEAD.size + _SINGLE.itemsize * dim


def decode(key: bytes, raw: bytes | memoryview, dim: int) -> Made | None:
    """The vector of an entry; None where it is damaged, or of another key or dimension."""
    if not _HEAD.size <= len(raw) <= longest(dim):
        return None
    raw = memoryview(raw)
    (checksum,) = _CHECK.unpack_from(raw)
    magic, flags, size, at_us = _HEAD.unpack_from(raw)
    if magic != _MAGIC or size != dim or flags > 3:
        return None
    if checksum != zlib.crc32(raw[_CHECK.size :], zlib.crc32(key)):
        return None
    body = raw[_HEAD.size :]
    width = 2 if flags & _FLOAT16 else 4
    if flags & _ZSTD:
        zstandard = required("zstandard")
        try:
            # What a frame says is allocated, whatever else is said.
            if zstandard.frame_content_size(body) != width * dim:
                return None
            body = memoryview(
                zstandard.ZstdDecompressor().decompress(body, max_output_size=width * dim)
            )
        except zstandard.ZstdError:
            return None
    if len(body) != width * dim:
        return None
    # A copy, for the bytes belong to a transaction that ends; of bytes, an array is read-only.
    if width == 4:
        return Made(np.frombuffer(bytes(body), _SINGLE).astype(np.float32, copy=False), at_us)
    vector = np.frombuffer(body, _HALF).astype(np.float32)
    vector.flags.writeable = False
    return Made(vector, at_us)


def is_rounded(raw: bytes) -> bool:
    """Whether an entry that is sound is in half precision."""
    return bool(_HEAD.unpack_from(raw)[1] & _FLOAT16)
