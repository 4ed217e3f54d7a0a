"""What lies on disk: the catalog of tenants, and each tenant's room."""

from llmspell.storage.batch import Put, StoredDocument
from llmspell.storage.catalog import Catalog, CatalogEntry
from llmspell.storage.codec import (
    MAX_ID_BYTES,
    StoredRecord,
    decode_id,
    encode_id,
    pack,
    unpack,
)
from llmspell.storage.environment import DEFAULT_MAP_SIZE
from llmspell.storage.files import FileLock
from llmspell.storage.filters import parse as parse_filter
from llmspell.storage.kinds import as_utc
from llmspell.storage.room import Room
from llmspell.storage.schema import NO_SCHEMA, conform

__all__ = [
    "DEFAULT_MAP_SIZE",
    "MAX_ID_BYTES",
    "NO_SCHEMA",
    "Catalog",
    "CatalogEntry",
    "FileLock",
    "Put",
    "Room",
    "StoredDocument",
    "StoredRecord",
    "as_utc",
    "conform",
    "decode_id",
    "encode_id",
    "pack",
    "parse_filter",
    "unpack",
]
