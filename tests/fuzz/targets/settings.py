"""Settings that a program passes on, and what is read from stored bytes.

The first byte says what reads the rest. Checksums are made to hold, for they tell damage alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from llmspell._hot import checked_bytes
from llmspell.config import IndexParams, QuotaLimits, Schema, TenantConfig
from llmspell.errors import ConfigError, CorruptFile, InvalidCursor, SecurityError, StorageError
from llmspell.security import SecurityRequirements
from llmspell.storage.catalog_entry import config_fields, config_of, decode_entry, encode_entry
from llmspell.storage.codec import UNDECODABLE, unpack, with_checksum
from llmspell.storage.cursors import decode_cursor, encode_cursor
from llmspell.storage.curves import decode_curves
from llmspell.storage.log import Change, Counters
from llmspell.storage.manifest import Manifest
from llmspell.storage.record import StoredRecord, decode_vector

ROW = 7


def run(data: bytes) -> None:
    """Read as what the first byte names."""
    if data:
        READERS[data[0] % len(READERS)](data[1:])


def _value(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, timestamp=3, strict_map_key=False)
    except (ValueError, TypeError, OverflowError):
        return None


def _keywords(kind: type, data: bytes) -> dict[str, Any]:
    given = _value(data)
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {k: v for k, v in given.items() if k in names} if isinstance(given, dict) else {}


def _quotas(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        made = QuotaLimits(**_keywords(QuotaLimits, data))
        assert hash(made) == hash(QuotaLimits(**{n: getattr(made, n) for n in made.__slots__}))


def _index(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        hash(IndexParams(**_keywords(IndexParams, data)))


def _tenant(data: bytes) -> None:
    given = {"id": "x", **_keywords(TenantConfig, data)}
    for name, kind in (("quotas", QuotaLimits), ("index", IndexParams)):
        if isinstance(given.get(name), dict):
            with contextlib.suppress(ConfigError):
                known = kind.__dataclass_fields__
                given[name] = kind(**{k: v for k, v in given[name].items() if k in known})
    with contextlib.suppress(ConfigError):
        made = TenantConfig(**given)
        assert config_of(config_fields(made)) == made and hash(made) is not None


def _schema(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        hash(Schema(_value(data)))


def _requirements(data: bytes) -> None:
    try:
        made = SecurityRequirements.from_fields(_value(data))
    except (ConfigError, SecurityError):
        return
    fields = made.to_fields()
    assert SecurityRequirements.from_fields(fields) == made
    assert msgpack.unpackb(msgpack.packb(fields)) == fields
    assert eval(repr(made), {"SecurityRequirements": SecurityRequirements}) == made


def _entry(data: bytes) -> None:
    try:
        entry = decode_entry(with_checksum(data))
    except StorageError:
        return
    with contextlib.suppress(*UNDECODABLE):  # of numbers that are none
        assert decode_entry(encode_entry(entry)).config == entry.config


def _manifest(data: bytes) -> None:
    body = hashlib.sha256(data).hexdigest().encode() + b"\n" + data + b"\n"
    with contextlib.suppress(StorageError):
        Manifest.decode(body, "a snapshot")


def _curves(data: bytes) -> None:
    with contextlib.suppress(CorruptFile):
        decode_curves(Path("recall.json"), b"%08x\n" % zlib.crc32(data) + data, 1)


def _cursor(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for generation in (0, 1):
        with contextlib.suppress(InvalidCursor):
            key = decode_cursor("t", generation, text)
            assert encode_cursor("t", generation, key) == text


def _log(data: bytes) -> None:
    with contextlib.suppress(StorageError, *UNDECODABLE):
        change = Change.decode(1, with_checksum(data))
        assert Change.decode(1, change.encode()).updates == change.updates
    with contextlib.suppress(StorageError, *UNDECODABLE):
        counters = Counters.decode(with_checksum(data))
        assert Counters.decode(counters.encode()) == counters


def _record(data: bytes) -> None:
    try:
        record = StoredRecord(ROW, checked_bytes(data, ROW))
    except StorageError:
        return
    for name in ("key", "raw_metadata", "raw_text", "created_us", "updated_us", "expires_us"):
        getattr(record, name)
    assert record.storage >= 0 and record.vector_bytes >= 0 and record.is_chunk in (False, True)
    for name in ("id", "metadata", "text"):
        with contextlib.suppress(StorageError, *UNDECODABLE):
            getattr(record, name)


def _vector(data: bytes) -> None:
    with contextlib.suppress(CorruptFile):
        assert decode_vector(ROW, checked_bytes(data, ROW)).nbytes == len(data)
    with contextlib.suppress(CorruptFile):
        decode_vector(ROW, data or None)


def _metadata(data: bytes) -> None:
    with contextlib.suppress(*UNDECODABLE):
        unpack(data)


READERS: tuple[Callable[[bytes], None], ...] = (
    *(_quotas, _index, _tenant, _schema, _requirements, _entry, _manifest, _curves),
    *(_cursor, _log, _record, _vector, _metadata),
)
