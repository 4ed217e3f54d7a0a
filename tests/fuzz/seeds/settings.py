"""Settings as programs give them, and values as the store keeps them, without checksums."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgpack
import numpy as np

from llmspell.config import IndexParams, QuotaLimits, TenantConfig
from llmspell.index import RecallCurve, RecallPoint
from llmspell.security import SecurityRequirements
from llmspell.storage.catalog_entry import CatalogEntry, config_fields, encode_entry
from llmspell.storage.codec import pack
from llmspell.storage.cursors import encode_cursor
from llmspell.storage.ids import encode_id
from llmspell.storage.log import NO_ROWS, Change, Counters, Update
from llmspell.storage.manifest import ArchivedFile, Manifest
from llmspell.storage.record import NEVER, StoredRecord
from tests.fuzz.targets.settings import READERS, ROW

CONFIG = TenantConfig(
    id="acme",
    quotas=QuotaLimits(soft=frozenset({"max_documents"})),
    dim=3,
    index=IndexParams(max_neighbors=20, quantization="sq4"),
    schema={"a.b": "time"},
)


def _to(reader: str, raw: bytes) -> bytes:
    return bytes([[one.__name__ for one in READERS].index(f"_{reader}")]) + raw


def _packed(reader: str, value: Any) -> bytes:
    return _to(reader, msgpack.packb(value, datetime=True))


def _record(**other: Any) -> bytes:
    times = {"created_us": 1, "updated_us": 2, "expires_us": NEVER}
    given = {
        **{"key": encode_id("a"), "metadata": pack({"t": datetime(2024, 5, 1, tzinfo=UTC)})},
        **{"text": b"text", "vector_bytes": 12, "is_chunk": False, **times},
    }
    return _to("record", StoredRecord.encode(ROW, **{**given, **other})[4:])


def _manifest(**other: Any) -> bytes:
    made = Manifest(
        llmspell="0.1.0",
        taken_us=1,
        config=CONFIG,
        generation=1,
        counters=Counters(),
        files=(ArchivedFile("data.mdb", 1, "0" * 64),),
    )
    fields = json.loads(made.encode().partition(b"\n")[2])
    return _to("manifest", json.dumps({**fields, **other}).encode())


def _entry(**other: Any) -> bytes:
    entry = encode_entry(CatalogEntry(CONFIG, 1, b"k" * 16, 1))[4:]
    return _packed("entry", {**msgpack.unpackb(entry), **other})


def _requirements(**other: Any) -> bytes:
    made = SecurityRequirements.restricted().with_file_access("/srv/x").with_read_only("/srv/y")
    made = made.with_network_access(".example.org").with_environment("HOME").with_processes(1)
    return _packed("requirements", {**made.to_fields(), **other})


def inputs() -> dict[str, bytes]:
    """Inputs by name."""
    curve = asdict(RecallCurve(10, False, 100, 0.0, 10, 0, (RecallPoint(10, 0.9, 0.01),)))
    update = Update(1, pack({}), pack({"a": 1}))
    removed = np.array([3, 4], dtype=np.uint64)
    config = config_fields(CONFIG)
    return {
        "quotas": _packed("quotas", {**asdict(QuotaLimits()), "soft": ["max_documents"]}),
        "quotas-soft-of-lists": _packed("quotas", {"soft": [[1]]}),
        "quotas-soft-unlimited": _packed("quotas", {"soft": ["max_dimensions"]}),
        "quotas-out-of-range": _packed("quotas", {"max_documents": -1, "max_cost_per_month": 1e9}),
        "quotas-not-a-number": _packed("quotas", {"max_cost_per_month": float("nan")}),
        "index": _packed("index", asdict(IndexParams.performance())),
        "index-odd": _packed("index", {"m": True, "quantization": ["pq"], "seed": 1 << 63}),
        "tenant": _packed("tenant", {**config, "isolation_level": "strict"}),
        "tenant-id-odd": _packed("tenant", {"id": "a\0b"}),
        "tenant-metric-is-a-list": _packed("tenant", {"metric": []}),
        "tenant-schema-is-a-list": _packed("tenant", {"schema": [["a", "int"]]}),
        "tenant-dim": _packed("tenant", {"dim": 1 << 20}),
        "schema": _packed("schema", {"a.b": "string", "c": "unindexed"}),
        "schema-odd": _packed("schema", {"a..b": "string", "$c": [], "": 1}),
        "schema-of-pairs": _packed("schema", [["a", "int"], ["b", ["c"]]]),
        "requirements": _requirements(),
        "requirements-level": _requirements(level=["safe"]),
        "requirements-of-safe": _requirements(level="safe"),
        "requirements-not-normal": _requirements(writable=["/srv//x"]),
        "requirements-of-lists": _requirements(domains=[["a"]]),
        "requirements-not-a-number": _requirements(timeout_seconds=float("nan")),
        "requirements-missing": _packed("requirements", {"level": "safe"}),
        "entry": _entry(),
        "entry-later": _entry(format=99),
        "entry-suspension": _entry(suspension=["all"]),
        "entry-config": _entry(config={**config, "id": ""}),
        "manifest": _manifest(),
        "manifest-later": _manifest(format=2),
        "manifest-counters": _manifest(counters={"next_rowid": "x"}),
        "manifest-files": _manifest(files=[{"name": None}]),
        "manifest-nested": _to("manifest", b"[" * 3_000),
        "curves": _to("curves", json.dumps({"sequence": 1, "curves": [curve]}).encode()),
        "curves-odd": _to("curves", b'{"sequence": 1, "curves": [{"points": 1}]}'),
        "cursor": _to("cursor", encode_cursor("t", 1, encode_id("a")).encode()),
        "cursor-of-int": _to("cursor", encode_cursor("t", 0, encode_id(-5)).encode()),
        "cursor-of-nothing": _to("cursor", encode_cursor("t", 1, b"s").encode()),
        "log": _to("log", Change(1, 2, removed).encode()[4:]),
        "log-updates": _to("log", Change(1, 0, NO_ROWS, (update,)).encode()[4:]),
        "counters": _to("log", Counters(dim=3).encode()[4:]),
        "record": _record(),
        "record-without-text": _record(text=None, is_chunk=True),
        "record-of-int": _record(key=encode_id(7), expires_us=5),
        "record-text-no-unicode": _record(text=b"\xff"),
        "record-metadata-none": _record(metadata=b"\xc1"),
        "vector": _to("vector", np.ones(3, np.float32).tobytes()),
        "metadata": _packed("metadata", {"t": datetime(2024, 5, 1, tzinfo=UTC), "l": [1, None]}),
        "metadata-time-out-of-range": _to("metadata", b"\xc7\x0c\xff" + b"\0" * 4 + b"\x7f" * 8),
    }
