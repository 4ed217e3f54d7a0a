"""The walk over a store finds what doesn't fit together, though every checksum holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Document, QuotaLimits, TenantConfig, errors
from llmspell.storage.chain import Chain
from llmspell.storage.codec import pack
from llmspell.storage.ids import encode_id, pack_expiry, pack_rowid
from llmspell.storage.log import Change, Counters
from llmspell.storage.record import NEVER, StoredRecord, encode_vector
from llmspell.storage.store import TenantStore
from llmspell.storage.verify import verify
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import vectors

DIM = 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TenantStore]:
    with llmspell.open(tmp_path / "data", texts=Lines()) as db:
        yield filled(db)


def filled(db: Database) -> TenantStore:
    acme = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    acme.upsert(range(20), vectors(20, DIM), [{"n": i} for i in range(20)], ttl=1_000)
    acme.upsert(["a"], vectors(1, DIM), texts="a text")
    acme.ingest(Document("d", "one\ntwo\nthree"))
    acme.delete([3, "d#1"])
    acme.update_metadata(4, {"n": 40})
    return acme._enter().store


def walk(store: TenantStore) -> Counters:
    with store.moment() as moment:
        return verify(moment, "cosine")


def test_a_sound_store_is_walked_to_its_end(store: TenantStore) -> None:
    counters = walk(store)
    assert counters == store.counters()
    assert (counters.vectors, counters.documents, counters.dim) == (22, 1, DIM)
    store.trim(3)
    assert walk(store) == counters
    store.trim(counters.sequence)
    assert walk(store) == counters


def record(rowid: int, **changed: Any) -> bytes:
    """A record that may say anything, with a checksum that holds."""
    given = {
        "key": encode_id(rowid - 1),
        "metadata": pack({"n": rowid - 1}),
        "text": None,
        "vector_bytes": 4 * DIM,
        "created_us": 1,
        "updated_us": 1,
        "expires_us": NEVER,
        "is_chunk": False,
    }
    return StoredRecord.encode(rowid, **{**given, **changed})


ZERO = np.zeros(DIM, "<f4").tobytes()
NAN = np.full(DIM, np.nan, "<f4").tobytes()
ONES = np.ones(DIM, "<f4").tobytes()

FAULTS: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "a record without an id": (
        lambda put, _: put(b"records", pack_rowid(23), record(23)),
        "its id doesn't lead to it",
    ),
    "a vector without an id": (
        lambda put, _: put(b"vectors", pack_rowid(23), encode_vector(23, ONES)),
        "no record of its row",
    ),
    "an id without a record": (
        lambda _, chain: chain(b"ids").put(encode_id("b"), pack_rowid(23)),
        "its id is there, but it is not",
    ),
    "two ids of one record": (
        lambda _, chain: chain(b"ids").put(encode_id("b"), pack_rowid(1)),
        "another id",
    ),
    "a row that never was": (
        lambda put, chain: (
            put(b"records", pack_rowid(99), record(99, key=encode_id("b"))),
            put(b"vectors", pack_rowid(99), encode_vector(99, ONES)),
            chain(b"ids").put(encode_id("b"), pack_rowid(99)),
        ),
        "rows end before",
    ),
    "metadata that is no mapping": (
        lambda put, _: put(b"records", pack_rowid(1), record(1, metadata=pack([1]))),
        "metadata can't be",
    ),
    "metadata that is cut short": (
        lambda put, _: put(b"records", pack_rowid(1), record(1, metadata=b"\xc4")),
        "can't be decoded",
    ),
    "text that is no UTF-8": (
        lambda put, _: put(b"records", pack_rowid(1), record(1, text=b"\xff")),
        "can't be decoded",
    ),
    "a record that doesn't expire any more": (
        lambda put, _: put(b"records", pack_rowid(1), record(1)),
        "expiries",
    ),
    "an expiry of nothing": (
        lambda _, chain: chain(b"expiry").put(pack_expiry(7, 1), b""),
        "expiries",
    ),
    "an expiry that is missing": (
        lambda _, chain: chain(b"expiry").pop(next(iter(chain(b"expiry").items()))[0]),
        "expiries",
    ),
    "a vector of another dimension": (
        lambda put, _: put(b"vectors", pack_rowid(1), encode_vector(1, ONES[:-4])),
        "dimension 15, expected 16",
    ),
    "a vector without a direction": (
        lambda put, _: put(b"vectors", pack_rowid(1), encode_vector(1, ZERO)),
        r"vector 1 \(id 0\)",
    ),
    "a vector that isn't finite": (
        lambda put, _: put(b"vectors", pack_rowid(1), encode_vector(1, NAN)),
        r"vector 1 \(id 0\)",
    ),
    "a document that is no document": (
        lambda _, chain: chain(b"documents").put(b"e", pack({"rows": [1]})),
        "can't be decoded",
    ),
    "a document of rows that never were": (
        lambda _, chain: chain(b"documents").put(
            b"d", pack({"content_hash": b"", "metadata": {}, "rows": [20, 119]})
        ),
        "its chunk of row 119 isn't there",
    ),
    "a document too many": (
        lambda _, chain: chain(b"documents").put(
            b"e", pack({"content_hash": b"", "metadata": {}, "rows": []})
        ),
        "the counters say",
    ),
    "a log entry that is missing": (
        lambda put, _: put(b"log", pack_rowid(3), None),
        "log entry 3: missing",
    ),
    "a last log entry that is missing": (
        lambda put, _: put(b"log", pack_rowid(5), None),
        "log entry 5: missing",
    ),
    "a log entry of rows that never were": (
        lambda put, _: put(b"log", pack_rowid(2), Change(90, 5, np.empty(0, np.uint64)).encode()),
        "log entry 2: it adds rows",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_found(store: TenantStore, fault: str) -> None:
    change, match = FAULTS[fault]
    databases = store._env.databases

    def write(txn: Any) -> None:
        def put(database: bytes, key: bytes, value: bytes | None) -> None:
            if value is None:
                assert txn.delete(key, db=databases[database])
            else:
                txn.put(key, value, db=databases[database])

        change(put, lambda name: Chain(txn, databases[name], name.decode()))

    store._env.write(write)
    with pytest.raises(errors.CorruptFile, match=match):
        walk(store)


@pytest.mark.parametrize(
    "name", ["documents", "vectors", "storage", "dim", "next_rowid", "sequence"]
)
def test_a_counter_that_is_wrong_is_found(store: TenantStore, name: str) -> None:
    counters = store.counters()
    for delta in (-1, 1):
        if (name, delta) == ("next_rowid", 1):
            continue  # rows that were left out
        wrong = counters._replace(**{name: getattr(counters, name) + delta})
        store._env.write(
            lambda txn, wrong=wrong: txn.put(  # type: ignore[misc]
                b"counters", wrong.encode(), db=store._env.databases[b"meta"]
            )
        )
        with pytest.raises(errors.CorruptFile):
            walk(store)
