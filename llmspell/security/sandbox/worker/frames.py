"""Messages between a worker and its parent: a kind, a length, and msgpack of so many bytes."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

__all__ = [
    "ANSWER",
    "ASK",
    "CALL",
    "ERROR",
    "HEADER",
    "MAX_CONTAINERS",
    "MAX_OTHER_KEYS",
    "MESSAGE_CHARS",
    "READY",
    "RESULT",
    "TRACE_CHARS",
    "FrameError",
    "pack_frame",
    "read_frame",
    "shown",
    "take_frame",
    "write_all",
]

HEADER: Final = struct.Struct("<BI")

CALL: Final = 1
RESULT: Final = 2
ERROR: Final = 3
READY: Final = 4
ASK: Final = 5  # of the broker, amid a call
ANSWER: Final = 6

#: Of an error: its message and its traceback.
MESSAGE_CHARS: Final = 2_000
TRACE_CHARS: Final = 8_000


#: Of one mapping. Hashes of numbers and times are known to whoever chooses them, and keys that
#: collide take quadratic time.
MAX_OTHER_KEYS: Final = 4_096
#: Of one message, lists and mappings: each takes a byte or more there, and up to 240 of memory.
MAX_CONTAINERS: Final = 1 << 18

# What lists and mappings begin with; other values have such bytes in them too.
_CONTAINERS: Final = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])


class FrameError(Exception):
    """What was read is no message, or a longer one than is taken."""


def pack_frame(kind: int, value: Any, limit: int) -> bytes:
    """Bytes of a message; raises FrameError where it is longer than ``limit`` or no data."""
    try:
        payload: bytes = msgpack.packb(value, datetime=True)
    except Exception as error:
        raise FrameError(f"it is no data: {error}") from None
    if len(payload) > limit:
        raise FrameError(f"{len(payload):,} bytes, more than {limit:,}")
    return HEADER.pack(kind, len(payload)) + payload


def take_frame(
    raw: bytes | bytearray,
    limits: Mapping[int, int],
    most_other_keys: int = MAX_OTHER_KEYS,
    most_containers: int = MAX_CONTAINERS,
) -> tuple[int, Any, int] | None:
    """Kind, value and length of the message that ``raw`` begins with; None where more is to come.

    Args:
        raw: what was read.
        limits: bytes of a message, by its kind; others aren't taken.
        most_other_keys: that a mapping may have besides str and bytes.
        most_containers: lists and mappings that a message may have.

    Raises:
        FrameError: it is none of these, longer than its limit, or no msgpack.
    """
    if len(raw) < HEADER.size:
        return None
    kind = raw[0]
    if kind not in limits:
        raise FrameError(f"a message of kind {kind} isn't taken here")
    _, length = _head(bytes(raw[: HEADER.size]), limits[kind])
    end = HEADER.size + length
    if len(raw) < end:
        return None
    return kind, _unpack(bytes(raw[HEADER.size : end]), most_other_keys, most_containers), end


def read_frame(
    descriptor: int, limit: int, most_containers: int | None = None
) -> tuple[int, Any] | None:
    """The next message, waited for; None at the end. Raises FrameError."""
    head = _read_exactly(descriptor, HEADER.size)
    if head is None:
        return None
    kind, length = _head(head, limit)
    payload = _read_exactly(descriptor, length)
    if payload is None:
        return None
    return kind, _unpack(payload, length, length if most_containers is None else most_containers)


def write_all(descriptor: int, raw: bytes) -> None:
    """Write all of some bytes to a descriptor that blocks."""
    rest = memoryview(raw)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def shown(value: Any, limit: int) -> str:
    """Text from within the sandbox, without what terminals and logs would obey."""
    text = value[:limit] if isinstance(value, str) else repr(type(value))
    return "".join(
        one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text
    )


def _head(raw: bytes, limit: int) -> tuple[int, int]:
    kind, length = HEADER.unpack(raw)
    if length > limit:
        raise FrameError(f"{length:,} bytes are announced, more than {limit:,}")
    return kind, length


def _unpack(payload: bytes, most_other_keys: int, most_containers: int) -> Any:
    if len(payload) <= most_containers or (
        len(payload) - len(payload.translate(None, _CONTAINERS)) <= most_containers
    ):
        # Most have str and bytes for keys alone, and need no look at them; what is wrong with
        # others is told below.
        with contextlib.suppress(Exception):
            return msgpack.unpackb(payload, timestamp=3)
    bounds = _Bounds(most_other_keys, most_containers)
    try:
        return msgpack.unpackb(
            payload,
            timestamp=3,
            strict_map_key=False,
            list_hook=bounds.listed,
            object_pairs_hook=bounds.mapped,
        )
    except FrameError:
        raise
    except Exception as error:
        raise FrameError(f"it isn't msgpack: {error}") from None


class _Bounds:
    """Looks at the lists and mappings of one message as each is made."""

    def __init__(self, most_other_keys: int, most_containers: int) -> None:
        self._most_other_keys = most_other_keys
        self._most = most_containers
        self._count = 0

    def listed(self, items: list[Any]) -> list[Any]:
        self._count += 1
        if self._count > self._most:
            raise FrameError(
                f"more than {self._most:,} lists and mappings; return fewer that are larger, or "
                "bytes"
            )
        return items

    def mapped(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        self.listed(pairs)
        others = sum(type(key) not in (str, bytes) for key, _ in pairs)
        if others > self._most_other_keys:
            raise FrameError(
                f"a mapping has {others:,} keys that are neither str nor bytes, more than "
                f"{self._most_other_keys:,}; return a list of pairs"
            )
        return dict(pairs)


def _read_exactly(descriptor: int, count: int) -> bytes | None:
    found = bytearray()
    while len(found) < count:
        part = os.read(descriptor, min(count - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)
