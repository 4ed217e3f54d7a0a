"""From what callers pass to what is stored, with named errors for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.config import FieldType, Metric
from llmspell.errors import (
    DimensionMismatch,
    DtypeError,
    InputError,
    MetadataError,
    ShapeError,
)
from llmspell.index import check_rows
from llmspell.storage import NEVER, NO_SCHEMA, MetadataUpdate, Put, as_utc, conform, encode_id, pack

__all__ = [
    "as_expiry",
    "as_flag",
    "as_keys",
    "as_puts",
    "as_updates",
    "as_vectors",
    "check_vectors",
    "pack_metadata",
    "pack_text",
    "plain_metadata",
]

MAX_DEPTH: Final = 32
MAX_TTL_SECONDS: Final = 100 * 366 * 86_400

_FLOAT32: Final = np.dtype(np.float32)
_STORED: Final = np.dtype("<f4")

#: A part of metadata: what it lies in, and its key or number there; None is all of it.
_Part: TypeAlias = "tuple[_Part, str | int] | None"


def as_keys(ids: object, *, in_order: bool = True) -> list[bytes]:
    """Keys of one id or of several.

    Args:
        ids: of the caller.
        in_order: whether something else belongs to each of them, so that a set won't do.

    Raises:
        InvalidId: one of them is neither str nor int, or too large.
        InputError: ``ids`` is neither an id nor an iterable of ids, or has no order.
    """
    if isinstance(ids, (str, int, np.integer)):
        return [encode_id(ids)]
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    if isinstance(ids, (bytes, Mapping)) or not isinstance(ids, Iterable):
        raise InputError(f"ids must be a str, an int or a sequence of them, got {_kind(ids)}")
    if in_order and isinstance(ids, (set, frozenset)):
        raise InputError(f"ids must have an order, got {_kind(ids)}; give a list")
    return [encode_id(identity) for identity in ids]


def as_vectors(vectors: ArrayLike) -> NDArray[np.float32]:
    """Contiguous float32 of the same shape; no copy where it is that already.

    Raises:
        DtypeError: not floats; whole numbers are taken from lists only.
        ShapeError: rows of unequal length.
    """
    try:
        array = np.asarray(vectors)
    except ValueError as error:
        raise ShapeError(f"vectors must have rows of equal length: {error}") from None
    kinds = "f" if isinstance(vectors, np.ndarray) else "fiu"
    if array.dtype.kind not in kinds:
        way = "; ingest embeds texts" if array.dtype.kind == "U" else ""
        raise DtypeError(f"vectors must be floats, got {_kind(vectors)} of {array.dtype}{way}")
    if array.dtype is _FLOAT32 and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")


def check_vectors(vectors: NDArray[np.float32], metric: Metric, dim: int | None) -> None:
    """Refuse what the index would refuse, before anything is written.

    Args:
        vectors: (n, dim).
        dim: expected; None takes any.

    Raises:
        DimensionMismatch, NonFiniteVector, ShapeError, ZeroVector: the message names the row.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise ShapeError(f"vectors must have shape (n, dim), got {vectors.shape}")
    if dim is not None and vectors.shape[1] != dim:
        raise DimensionMismatch(
            f"vectors of dimension {dim} expected, got {vectors.shape[1]}",
            expected=dim,
            actual=vectors.shape[1],
        )
    check_rows(vectors, metric)


def as_puts(
    keys: Sequence[bytes],
    vectors: NDArray[np.float32],
    metadata: object,
    texts: object,
    schema: Mapping[str, FieldType] = NO_SCHEMA,
    expires_us: int = NEVER,
) -> tuple[list[Put], NDArray[np.float32]]:
    """Records to write; of several with one id the last counts.

    Args:
        keys: n keys.
        vectors: (n, dim).
        metadata: None, or n mappings or Nones; a single mapping where n is 1.
        texts: None, or n strings or Nones; a single string where n is 1.
        schema: declared types of metadata fields.
        expires_us: microseconds since 1970.

    Returns:
        The records, and their vectors (len(records), dim).
    """
    count = len(keys)
    if len(vectors) != count:
        raise ShapeError(f"{count} ids, but {len(vectors)} vectors")
    packed = [pack_metadata(one, schema) for one in _column("metadata", metadata, count, Mapping)]
    encoded = [pack_text(one) for one in _column("texts", texts, count, str)]
    if count == 1:
        # The commonest write, for which the rest would cost more than it does.
        raw = vectors.astype(_STORED, copy=False).tobytes()
        return [Put(keys[0], packed[0], encoded[0], raw, expires_us=expires_us)], vectors
    last = {key: i for i, key in enumerate(keys)}
    if len(last) < count:
        chosen = sorted(last.values())
        vectors = vectors[chosen]
    else:
        chosen = list(range(count))
    rows = vectors.astype(_STORED, copy=False)
    puts = [
        Put(keys[i], packed[i], encoded[i], rows[row].tobytes(), expires_us=expires_us)
        for row, i in enumerate(chosen)
    ]
    return puts, vectors


def as_updates(
    keys: Sequence[bytes],
    metadata: object,
    schema: Mapping[str, FieldType],
    *,
    replace: bool,
) -> list[MetadataUpdate]:
    """Changes of metadata; several of one id follow each other.

    Args:
        keys: n keys.
        metadata: n mappings; a single one where n is 1.
    """
    updates = []
    for key, one in zip(keys, _column("metadata", metadata, len(keys), Mapping), strict=True):
        if not isinstance(one, Mapping):
            raise MetadataError(f"metadata: expected a mapping, got {_kind(one)}")
        updates.append(MetadataUpdate(key, plain_metadata(one, schema), replace))
    return updates


def pack_metadata(metadata: object, schema: Mapping[str, FieldType] = NO_SCHEMA) -> bytes:
    """Metadata as msgpack, times in UTC.

    Raises:
        MetadataError: not a mapping of JSON-like values and times, or a value of another type
            than its field is declared to have; the message names the part.
    """
    if metadata is None:
        return _NO_METADATA
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        raise MetadataError(f"metadata: expected a mapping, got {_kind(metadata)}")
    return pack(plain_metadata(metadata, schema))


def plain_metadata(
    metadata: Mapping[Any, Any], schema: Mapping[str, FieldType] = NO_SCHEMA
) -> dict[str, Any]:
    """Metadata as a read would give it; raises as :func:`pack_metadata`."""
    plain: dict[str, Any] = conform(_plain(metadata, None, 0), schema)
    return plain


def as_expiry(ttl: object, now_us: int) -> int:
    """When a record expires, in microseconds since 1970.

    Args:
        ttl: seconds, a timedelta, or None for never.

    Raises:
        InputError: not above 0, or longer than a hundred years.
    """
    if ttl is None:
        return NEVER
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InputError(f"ttl must be seconds or a timedelta, got {_kind(ttl)}")
    if not 0 < seconds <= MAX_TTL_SECONDS:
        raise InputError(f"ttl must be above 0 and at most {MAX_TTL_SECONDS} seconds, got {ttl!r}")
    return now_us + math.ceil(seconds * 1e6)


def as_flag(name: str, value: object) -> bool:
    """True or False; raises InputError for what only counts as one of them."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be True or False, got {_kind(value)}")
    return bool(value)


def pack_text(text: object) -> bytes | None:
    """Text in UTF-8; raises InputError for anything but a valid str or None."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise InputError(f"a text must be a str or None, got {_kind(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a text must be valid Unicode: {error}") from None


_NO_METADATA: Final = pack({})


def _plain(value: object, part: _Part, depth: int) -> Any:
    # Each kind of value is asked for once, the commonest first; an abstract one costs the most.
    if isinstance(value, str):
        return value if type(value) is str and value.isascii() else _plain_text(value, part)
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, (int, np.integer)):
        if not -(1 << 63) <= value < 1 << 63:
            raise MetadataError(f"{_where(part)}: {value} does not fit 64 bits with a sign")
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            raise MetadataError(f"{_where(part)}: {value} is no JSON number")
        return float(value)
    if isinstance(value, datetime):
        try:
            return as_utc(value)
        except ValueError as error:
            raise MetadataError(f"{_where(part)}: got {value!r}: {error}") from None
    if depth > MAX_DEPTH:
        raise MetadataError(f"{_where(part)}: nested more than {MAX_DEPTH} deep")
    if type(value) is dict or isinstance(value, Mapping):
        plain = {}
        for key, inner in value.items():
            if not isinstance(key, str) or not key:
                raise MetadataError(
                    f"{_where(part)}: a key must be a str that isn't empty, got {key!r}"
                )
            if type(key) is not str or not key.isascii():
                key = _plain_text(key, part)
            plain[key] = _plain(inner, (part, key), depth + 1)
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(inner, (part, i), depth + 1) for i, inner in enumerate(value)]
    raise MetadataError(
        f"{_where(part)}: expected str, int, float, bool, datetime, None, a list or a mapping, "
        f"got {_kind(value)}"
    )


def _plain_text(text: str, part: _Part) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MetadataError(f"{_where(part)}: invalid Unicode: {error}") from None
    return str(text)


def _where(part: _Part) -> str:
    """How an error names a part of metadata."""
    keys = []
    while part is not None:
        part, key = part
        keys.append(f"[{key!r}]")
    return "metadata" + "".join(reversed(keys))


def _column(name: str, values: object, count: int, one: type) -> Sequence[object]:
    if values is None:
        return [None] * count
    if isinstance(values, one):
        column = [values]
    elif isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{name}: expected a sequence with one for each id, got {_kind(values)}")
    else:
        column = list(values)
    if len(column) != count:
        raise ShapeError(f"{count} ids, but {len(column)} {name}")
    return column


def _kind(value: object) -> str:
    return type(value).__name__
