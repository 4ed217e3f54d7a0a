"""A tenant as the catalog has it, and how it lies there."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from llmspell.config import IndexParams, IsolationLevel, QuotaLimits, Schema, TenantConfig
from llmspell.errors import CorruptFile, TenantNotFound, UnsupportedFormat
from llmspell.storage.codec import FORMAT, UNDECODABLE, pack_checked, unpack_checked

__all__ = [
    "CatalogEntry",
    "config_fields",
    "config_of",
    "decode_entry",
    "directory_of",
    "encode_entry",
    "is_number",
    "list_key",
    "new_key",
]

KEY_BYTES: Final = 16
#: The last second that a datetime can say.
MAX_TIME_US: Final = 253_402_300_799 * 10**6
MAX_KEY_BYTES: Final = 500
PREFIX_BYTES: Final = 480

Suspension: TypeAlias = Literal["none", "writes", "all"]
# One object for each, whatever a file's decoder makes.
_SUSPENSIONS: Final[dict[str, Suspension]] = {name: name for name in get_args(Suspension)}

_S = TypeVar("_S", QuotaLimits, IndexParams, Schema)


class CatalogEntry(NamedTuple):
    """A tenant in the catalog.

    Args:
        config: what it was created with.
        generation: never used twice in a data directory.
        key: 16 bytes that name its directory and its ledger slot.
        created_us: microseconds since 1970, UTC.
        suspension: "none", "writes" or "all".
        has_room: whether its directory was made, so that it must be there; its first use does.
    """

    config: TenantConfig
    generation: int
    key: bytes
    created_us: int
    suspension: Suspension = "none"
    has_room: bool = True

    @property
    def directory(self) -> Path:
        """Where its data lies, relative to the data directory."""
        return directory_of(self.key)


def directory_of(key: bytes) -> Path:
    """Where the data of a tenant of this key lies, relative to the data directory."""
    digest = key.hex()
    return Path("tenants", digest[:2], digest)


def list_key(tenant_id: str) -> bytes:
    """What a tenant is listed under; raises TenantNotFound where none can be of that id."""
    if not isinstance(tenant_id, str):
        raise TenantNotFound(f"a tenant's id is a str, got {type(tenant_id).__name__}")
    key = tenant_id.encode("utf-8", "surrogatepass")
    if not key or b"\0" in key:
        raise TenantNotFound(f"no tenant {tenant_id!r}; there can't be one of that id")
    # 128 characters can have more bytes than a key of LMDB.
    if len(key) > MAX_KEY_BYTES:
        return key[:PREFIX_BYTES] + hashlib.blake2b(key, digest_size=16).digest()
    return key


def new_key(tenant_id: str, generation: int) -> bytes:
    """The key of a tenant that is made."""
    return hashlib.blake2b(
        tenant_id.encode(), digest_size=KEY_BYTES, salt=generation.to_bytes(16, "little")
    ).digest()


def config_fields(config: TenantConfig) -> dict[str, Any]:
    """A config as values that msgpack and JSON know."""
    fields = asdict(config)
    fields["quotas"]["soft"] = sorted(config.quotas.soft)
    fields["isolation_level"] = config.isolation_level.value
    return fields


def config_of(fields: Mapping[str, Any]) -> TenantConfig:
    """The config that :func:`config_fields` was given."""
    given = dict(fields)
    given["quotas"] = _shared(QuotaLimits(**given["quotas"]))
    given["index"] = _shared(IndexParams(**given["index"]))
    given["isolation_level"] = IsolationLevel(given["isolation_level"])
    given["metric"] = sys.intern(given["metric"])
    given["schema"] = _shared(Schema(given["schema"]))
    return TenantConfig(**given)


@functools.lru_cache(maxsize=1_024)
def _shared(settings: _S) -> _S:
    """The same object for equal settings: most tenants have those of others."""
    return settings


def encode_entry(entry: CatalogEntry) -> bytes:
    """Bytes of the catalog."""
    return pack_checked(
        {
            "format": FORMAT,
            "config": config_fields(entry.config),
            "generation": entry.generation,
            "key": entry.key,
            "created_us": entry.created_us,
            "suspension": entry.suspension,
            "has_room": entry.has_room,
        }
    )


def decode_entry(raw: bytes) -> CatalogEntry:
    """What :func:`encode_entry` was given; raises CorruptFile and UnsupportedFormat."""
    try:
        fields = unpack_checked("catalog entry", raw)
        if fields["format"] != FORMAT:
            raise UnsupportedFormat(f"catalog entry: version {fields['format']}, expected {FORMAT}")
        entry = CatalogEntry(
            config_of(fields["config"]),
            fields["generation"],
            fields["key"],
            fields["created_us"],
            _SUSPENSIONS[fields["suspension"]],
            # Earlier releases made it with the tenant.
            fields.get("has_room", True),
        )
    except UNDECODABLE as error:
        raise CorruptFile(f"catalog entry: it can't be understood: {error!r}") from error
    if not (
        is_number(entry.generation)
        and is_number(entry.created_us)
        and entry.created_us <= MAX_TIME_US
        and type(entry.key) is bytes
        and len(entry.key) == KEY_BYTES
        and type(entry.has_room) is bool
    ):
        raise CorruptFile("catalog entry: it can't be understood: a value can't be what it is for")
    return entry


def is_number(value: object) -> bool:
    """Whether something decoded can be a count, a generation or a time, as they are stored."""
    return type(value) is int and 0 <= value < 1 << 63
