"""Bytes on disk: what was written comes back, and what was damaged is refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell._hot import FoundRecord, checked_bytes, crc32c
from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.codec import pack_checked, unpack_checked
from llmspell.storage.ids import decode_id, encode_id
from llmspell.storage.log import Change, Counters
from llmspell.storage.record import StoredRecord, decode_vector, encode_vector

IDS = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=127
)


def record(rowid: int = 7, identity: str | int = "ada") -> bytes:
    return StoredRecord.encode(
        rowid,
        key=encode_id(identity),
        metadata=b"\x81\xa1a\x01",
        text=b"Lovelace",
        vector_bytes=32,
        created_us=-5,
        updated_us=9,
        expires_us=77,
        is_chunk=True,
    )


@given(st.binary(max_size=40), st.integers(0, 2**32 - 1))
def test_bytes_have_their_seeded_checksum_before_them(body: bytes, seed: int) -> None:
    raw = checked_bytes(body, seed)
    assert raw == crc32c(body, seed).to_bytes(4, "little") + body
    assert checked_bytes(memoryview(body), seed) == raw


@given(IDS)
def test_ids_survive_their_keys(identity: str | int) -> None:
    assert decode_id(encode_id(identity)) == identity


@given(IDS, IDS)
def test_unequal_ids_never_share_a_key(one: str | int, other: str | int) -> None:
    assert (encode_id(one) == encode_id(other)) == (one == other)


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_int_keys_sort_as_the_ints_do(ids: list[int]) -> None:
    assert [decode_id(key) for key in sorted(map(encode_id, ids))] == sorted(ids)


def test_record_comes_back_from_its_bytes() -> None:
    stored = StoredRecord(7, record())
    assert (stored.key, stored.text, stored.metadata) == (b"sada", "Lovelace", {"a": 1})
    assert (stored.created_us, stored.updated_us, stored.is_chunk) == (-5, 9, True)
    assert stored.storage == len(b"sada") + 4 + len("Lovelace") + 32


@given(IDS)
def test_record_gives_its_id_as_it_was(identity: str | int) -> None:
    found = FoundRecord(7, record(identity=identity), 0.5)
    assert (found.id, type(found.id)) == (identity, type(identity))


LOOKS = (
    *("key", "id", "raw_metadata", "raw_text", "text", "created_us", "updated_us", "expires_us"),
    *("is_chunk", "vector_bytes", "storage"),
)


@pytest.mark.parametrize("look", LOOKS)
def test_found_record_is_checked_at_its_first_look(look: str) -> None:
    raw = record()
    damaged = raw[:50] + bytes([raw[50] ^ 1]) + raw[51:]
    found = FoundRecord(7, damaged, 0.5)
    assert (found.rowid, found.score) == (7, 0.5)
    for _ in range(2):
        with pytest.raises(CorruptFile, match="record 7"):
            getattr(found, look)
    with pytest.raises(TypeError):
        FoundRecord(7, bytearray(raw), 0.5)  # type: ignore[arg-type]


def test_every_flipped_bit_of_a_record_is_refused() -> None:
    raw = record()
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            StoredRecord(7, bytes(damaged))


def test_every_truncation_of_a_record_is_refused() -> None:
    raw = record()
    for size in range(len(raw)):
        with pytest.raises(CorruptFile):
            StoredRecord(7, raw[:size])


def test_record_and_vector_of_another_row_are_refused() -> None:
    with pytest.raises(CorruptFile, match="record 8"):
        StoredRecord(8, record(7))
    with pytest.raises(CorruptFile, match="vector 8"):
        decode_vector(8, encode_vector(7, bytes(8)))


def test_every_flipped_bit_of_a_vector_is_refused() -> None:
    vector = np.arange(3, dtype="<f4")
    raw = encode_vector(7, vector.tobytes())
    assert np.array_equal(decode_vector(7, raw), vector)
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            decode_vector(7, bytes(damaged))


@pytest.mark.parametrize("raw", [None, b"", b"\0\0\0\0", encode_vector(7, b"abc")])
def test_missing_or_ragged_vector_is_refused(raw: bytes | None) -> None:
    with pytest.raises(CorruptFile, match="vector 7"):
        decode_vector(7, raw)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 20), st.lists(st.integers(0, 1 << 63)))
def test_log_entry_comes_back_from_its_bytes(first: int, added: int, removed: list[int]) -> None:
    change = Change(first, added, np.array(removed, dtype=np.uint64))
    again = Change.decode(1, change.encode())
    assert (again.first, again.added, again.removed.tolist()) == (first, added, removed)


def test_every_flipped_bit_of_a_log_entry_is_refused() -> None:
    raw = Change(1, 2, np.array([3], dtype=np.uint64)).encode()
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile, match="log entry 5"):
            Change.decode(5, bytes(damaged))


def test_later_version_is_named_and_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("llmspell.storage.log.FORMAT", 4)
        entry = Change(1, 2, np.empty(0, np.uint64)).encode()
    raw = checked_bytes(b"\x04" + record()[5:], 7)
    with pytest.raises(UnsupportedFormat, match="version 4, expected 3"):
        StoredRecord(7, raw)
    with pytest.raises(UnsupportedFormat, match="version 4, expected 3"):
        Change.decode(1, entry)


def test_counters_and_mappings_are_checked() -> None:
    counters = Counters(next_rowid=9, sequence=8, documents=1, vectors=7, storage=6, dim=5)
    assert Counters.decode(counters.encode()) == counters
    assert unpack_checked("x", pack_checked({"a": [1, b"b", None]})) == {"a": [1, b"b", None]}
    for raw in (None, b"", b"123", counters.encode()[:-1]):
        with pytest.raises(CorruptFile):
            Counters.decode(raw)
    with pytest.raises(CorruptFile, match="x: the checksum"):
        unpack_checked("x", pack_checked({"a": 1})[:-1] + b"\2")


def test_what_version_1_wrote_is_named_as_such() -> None:
    body = pack_checked({"a": 1})[4:]
    old = zlib.crc32(body).to_bytes(4, "little") + body
    with pytest.raises(UnsupportedFormat, match="catalog: version 1, expected 3"):
        unpack_checked("catalog", old)
