"""What lies on disk: the catalog of tenants, and each tenant's room."""

from llmspell._hot import Uses
from llmspell.storage.catalog import Catalog
from llmspell.storage.catalog_entry import CatalogEntry
from llmspell.storage.codec import pack, unpack
from llmspell.storage.cursors import decode_cursor, encode_cursor
from llmspell.storage.environment import DEFAULT_MAP_SIZE
from llmspell.storage.export_ends import export_source, export_target
from llmspell.storage.export_file import ExportReader, ExportWriter
from llmspell.storage.export_items import (
    ExportedDocument,
    ExportedRecord,
    decode_items,
    encode_document,
    encode_record,
)
from llmspell.storage.files import FileLock, disk_bytes, erase_directory
from llmspell.storage.filters import parse as parse_filter
from llmspell.storage.finder import Found
from llmspell.storage.flusher import Flusher
from llmspell.storage.ids import check_document_id, decode_id, encode_id
from llmspell.storage.kinds import as_utc
from llmspell.storage.moment import Moment
from llmspell.storage.policy import Durability, WritePolicy
from llmspell.storage.record import NEVER, StoredRecord
from llmspell.storage.room import ROOM_DESCRIPTORS, Room
from llmspell.storage.schema import NO_SCHEMA, conform
from llmspell.storage.staging import StagedKeys, is_any_abandoned
from llmspell.storage.store import TenantStore
from llmspell.storage.stored_document import OF_A_CHUNK, StoredDocument
from llmspell.storage.write import MetadataUpdate, Put, Write

__all__ = [
    "DEFAULT_MAP_SIZE",
    "NEVER",
    "NO_SCHEMA",
    "OF_A_CHUNK",
    "ROOM_DESCRIPTORS",
    "Catalog",
    "CatalogEntry",
    "Durability",
    "ExportReader",
    "ExportWriter",
    "ExportedDocument",
    "ExportedRecord",
    "FileLock",
    "Flusher",
    "Found",
    "MetadataUpdate",
    "Moment",
    "Put",
    "Room",
    "StagedKeys",
    "StoredDocument",
    "StoredRecord",
    "Uses",
    "TenantStore",
    "Write",
    "WritePolicy",
    "as_utc",
    "check_document_id",
    "conform",
    "decode_cursor",
    "decode_id",
    "disk_bytes",
    "decode_items",
    "encode_cursor",
    "encode_document",
    "encode_id",
    "encode_record",
    "erase_directory",
    "export_source",
    "export_target",
    "is_any_abandoned",
    "pack",
    "parse_filter",
    "unpack",
]
