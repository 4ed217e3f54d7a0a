"""Texts of chunks are shorter on disk, and the same everywhere else."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import Document, TenantConfig
from llmspell.errors import CorruptFile
from llmspell.storage.packed_text import LEAST_BYTES, decompress, packed
from llmspell.storage.record import StoredRecord
from tests.tenancy.texts import DIM, Lines, embed

LONG = "Tickets are booked in second class. " * 60


def record(text: bytes | None, *, is_chunk: bool = True, row: int = 7) -> StoredRecord:
    times = {"created_us": 1, "updated_us": 2, "expires_us": 3}
    raw = StoredRecord.encode(
        row, key=b"sa", metadata=b"\x80", text=text, vector_bytes=8, is_chunk=is_chunk, **times
    )
    return StoredRecord(row, raw)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40), times=st.integers(1, 200), is_chunk=st.booleans())
def test_text_comes_back_as_it_was(text: str, times: int, is_chunk: bool) -> None:
    raw = (text * times).encode()
    stored = record(raw, is_chunk=is_chunk)
    assert (stored.text, stored.raw_text) == (text * times, raw)
    assert stored.storage == 2 + 1 + len(raw) + 8
    assert stored.is_packed == (is_chunk and packed(raw) is not None)
    again = StoredRecord(7, stored.with_metadata(b"\x81\xa1a\x01", 5))
    assert (again.text, again.metadata, again.is_packed) == (
        stored.text,
        {"a": 1},
        stored.is_packed,
    )


def test_what_does_not_get_shorter_is_left_as_it_is() -> None:
    noise = random.Random(0).randbytes(4_096).hex().encode()[:LEAST_BYTES]
    assert packed(random.Random(0).randbytes(LEAST_BYTES)) is None
    assert packed(LONG.encode()[: LEAST_BYTES - 1]) is None
    assert LEAST_BYTES == 256, "as the reference says"
    assert packed(noise) is not None
    assert not record(None).is_packed


@pytest.mark.parametrize("size", [0, 1, len(LONG) - 1, len(LONG) + 1, 1 << 31])
def test_frame_of_another_length_is_refused(size: int) -> None:
    frame = (packed(LONG.encode()) or b"")[4:]
    assert decompress(frame, len(LONG)) == LONG.encode()
    with pytest.raises(CorruptFile, match=f"doesn't have {size} bytes"):
        decompress(frame, size)
    with pytest.raises(CorruptFile, match=r"packed text (can't be|doesn't have)"):
        decompress(frame[:-3] + b"abc", len(LONG))


def test_chunks_are_packed_and_records_of_users_are_not(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", texts=Lines()) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.ingest(Document("doc", LONG))
        acme.upsert("own", embed([LONG]), texts=LONG)
        with acme._enter().store.moment() as moment:
            is_packed = {one.id: one.is_packed for one, _ in moment.records(vectors=False)}
        assert is_packed == {"doc#0": True, "own": False}
        assert acme.get("doc#0").text == acme.get("own").text == LONG.rstrip("\n")
        assert {hit.text for hit in acme.search(embed([LONG])[0], k=2)} == {LONG}
        quota = acme.usage().storage.used
        acme.delete("own")
        assert acme.usage().storage.used > len(LONG) + 4 * DIM
        assert quota > 2 * len(LONG)
        assert acme.scrub().is_sound
        file = io.BytesIO()
        acme.export(file)
        assert LONG.encode() in file.getvalue()
        file.seek(0)
        copy = db.create_tenant(TenantConfig(id="copy"))
        copy.import_from(file)
        assert copy.get("doc#0").text == LONG
        assert copy.usage().storage.used == acme.usage().storage.used
