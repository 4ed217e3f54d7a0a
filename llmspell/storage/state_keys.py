"""Keys of a tenant's state: paths of parts, in bytes that sort as the parts do.

Each part has a sign of its kind and an end, so that the bytes of a path begin those of the paths
below it and of no other: ``("acme",)`` is no prefix of ``("acme-corp",)``.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from llmspell.errors import CorruptFile, InvalidStateKey

__all__ = [
    "ITEM",
    "ITEM_BYTES",
    "MAX_KEY_BYTES",
    "MAX_KEY_PARTS",
    "StateKey",
    "pack_state_key",
    "unpack_state_key",
]

StateKey: TypeAlias = str | tuple[str | int, ...]
"""A path: parts that are texts or 64-bit integers. A str is the path of that one part."""

#: LMDB takes keys of up to 511 bytes; those of a list's items are :data:`ITEM_BYTES` longer.
MAX_KEY_BYTES: Final = 480
MAX_KEY_PARTS: Final = 16

#: Behind the key of a list, before the number of an item. Below the signs of parts, so that the
#: items of a list lie before the keys below it; above :data:`llmspell.storage.chain.FIRST`.
ITEM: Final = b"\x01"
ITEM_BYTES: Final = 9
_TEXT: Final = b"\x02"
_TEXT_END: Final = b"\x00"
_INT: Final = b"\x03"
_INT_BYTES: Final = 8
_OFFSET: Final = 1 << 63


def pack_state_key(key: StateKey, *, is_prefix: bool = False) -> bytes:
    """Bytes of a path; raises InvalidStateKey.

    Args:
        is_prefix: the path may be empty, which is a prefix of all.
    """
    parts = (key,) if isinstance(key, str) else key
    if not isinstance(parts, tuple):
        raise InvalidStateKey(
            f"a key is a str or a tuple of str and int, got {type(key).__name__}: {key!r:.80}"
        )
    if not (is_prefix or parts) or len(parts) > MAX_KEY_PARTS:
        raise InvalidStateKey(f"a key has 1 to {MAX_KEY_PARTS} parts, got {len(parts)}")
    packed = b"".join(map(_pack_part, parts))
    if len(packed) > MAX_KEY_BYTES:
        raise InvalidStateKey(
            f"a key takes {MAX_KEY_BYTES} bytes at most, with 2 for each text and 9 for each "
            f"integer; {key!r:.80} takes {len(packed)}"
        )
    return packed


def unpack_state_key(packed: bytes) -> tuple[tuple[str | int, ...], int | None]:
    """The path of some bytes, and the number of the list's item that it is of, or None.

    Raises CorruptFile.
    """
    parts: list[str | int] = []
    place, end = 0, len(packed)
    try:
        while place < end:
            kind = packed[place : place + 1]
            place += 1
            if kind == _TEXT:
                stop = packed.index(_TEXT_END, place)
                parts.append(packed[place:stop].decode())
                place = stop + 1
            elif kind == _INT and end - place >= _INT_BYTES:
                parts.append(int.from_bytes(packed[place : place + _INT_BYTES]) - _OFFSET)
                place += _INT_BYTES
            elif kind == ITEM and parts and end - place == _INT_BYTES:
                return tuple(parts), int.from_bytes(packed[place:])
            else:
                raise CorruptFile(f"state: {packed!r} is no key")
    except ValueError:
        raise CorruptFile(f"state: {packed!r} is no key") from None
    return tuple(parts), None


def _pack_part(part: object) -> bytes:
    if isinstance(part, str):
        try:
            encoded = part.encode()
        except UnicodeEncodeError:
            encoded = b""
        if not encoded or _TEXT_END in encoded:
            raise InvalidStateKey(
                "a text in a key has one character or more, no NUL and no unpaired surrogates, "
                f"got {part!r:.80}"
            )
        return _TEXT + encoded + _TEXT_END
    if isinstance(part, int) and not isinstance(part, bool) and -_OFFSET <= part < _OFFSET:
        return _INT + (part + _OFFSET).to_bytes(_INT_BYTES)
    raise InvalidStateKey(
        f"a part of a key is a str or an int of 64 bits, got {type(part).__name__}: {part!r:.80}"
    )
