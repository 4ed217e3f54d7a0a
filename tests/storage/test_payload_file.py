"""The payload index's snapshot: what it gives back, and what damage to it does."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyroaring import BitMap64

from llmspell.errors import CorruptFile, StorageError, StorageFull, UnsupportedFormat
from llmspell.storage.codec import pack
from llmspell.storage.filters import parse
from llmspell.storage.payload import FieldSummary, PayloadIndex
from llmspell.storage.payload_file import PayloadFile, Written, write_payload

ROWS: list[dict[str, Any]] = [
    {
        "lang": "en" if row % 3 else "de",
        "n": row,
        "x": row / 4,
        "at": datetime(2024, 1, 1, 0, 0, row % 60, tzinfo=UTC),
        "ok": row % 2 == 0,
        "author": {"name": f"author {row % 7}"},
        "tags": [f"t{row % 5}", "all"],
        "nothing": None,
    }
    for row in range(150)
]
FILTERS = [
    parse(source)
    for source in (
        {"lang": "de"},
        {"n": {"$gte": 17, "$lt": 40}},
        {"x": {"$in": [1, 2.25]}},
        {"at": {"$gt": datetime(2024, 1, 1, 0, 0, 50, tzinfo=UTC)}},
        {"ok": True},
        {"author.name": {"$prefix": "author 3"}},
        {"tags": {"$ne": "t1"}},
        {"nothing": None},
    )
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("payload") / "payload.snap"
    filled().save(path, 7)
    return path


def filled() -> PayloadIndex:
    index = PayloadIndex()
    index.add_many(range(len(ROWS)), ROWS)
    return index


def answers(index: PayloadIndex) -> list[list[int]]:
    return [index.matching(condition).tolist() for condition in FILTERS]


EXPECTED = answers(filled())


def test_snapshot_gives_back_what_was_saved(whole: Path) -> None:
    index = PayloadIndex.load(whole)
    assert (index.sequence, len(index)) == (7, 150)
    assert answers(index) == EXPECTED
    assert index.schema() == filled().schema()
    assert index.schema()["author.name"] == FieldSummary(("string",), 150)
    index.verify()


def test_first_filter_reads_its_field_alone(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    block = PayloadFile.block
    monkeypatch.setattr(
        PayloadFile, "block", lambda self, field: read.append(field) or block(self, field)
    )
    index = PayloadIndex.load(whole)
    index.add(150, {"lang": "fr"})
    index.remove(3, ROWS[3])
    assert read == []
    assert index.matching(parse({"lang": "fr"})).tolist() == [150]
    assert 3 not in index.matching(parse({"lang": "de"}))
    assert read == ["lang"]


def test_changes_after_loading_are_in_the_next_snapshot(whole: Path, tmp_path: Path) -> None:
    index = PayloadIndex.load(whole)
    index.add(150, {"lang": "de", "new": [1, 2]})
    index.remove(0, ROWS[0])
    path = tmp_path / "payload.snap"
    index.save(path, 8)
    again = PayloadIndex.load(path)
    assert again.matching(parse({"lang": "de"})).tolist() == [*EXPECTED[0][1:], 150]
    assert again.matching(parse({"new": 2})).tolist() == [150]
    assert again.matching(parse({"new": {"$gt": 1, "$lt": 2}})).tolist() == [150]
    assert len(again) == 150


def test_snapshot_takes_memory_only_for_the_fields_that_were_read(whole: Path) -> None:
    index = PayloadIndex.load(whole)
    unread = index.memory
    index.matching(parse({"tags": "all"}))
    assert unread < index.memory < filled().memory


def test_field_that_nobody_has_any_more_is_not_saved(tmp_path: Path) -> None:
    index = PayloadIndex()
    index.add(1, {"a": 1})
    index.add(2, {"b": 1})
    index.remove(1, {"a": 1})
    index.save(tmp_path / "payload.snap", 1)
    assert list(PayloadFile(tmp_path / "payload.snap").entries) == ["b"]


def test_snapshot_may_be_replaced_while_an_index_reads_it(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "payload.snap"
    path.write_bytes(whole.read_bytes())
    index = PayloadIndex.load(path)
    PayloadIndex().save(path, 8)
    assert answers(index) == EXPECTED
    index.save(path, 9)
    assert answers(PayloadIndex.load(path)) == EXPECTED


def test_snapshot_that_finds_no_room_leaves_the_old_one(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "payload.snap"
    path.write_bytes(whole.read_bytes())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="disk is full"):
        PayloadIndex().save(path, 8)
    assert path.read_bytes() == whole.read_bytes()


def test_every_flipped_bit_is_detected_or_harmless(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    path = tmp_path / "damaged.snap"
    # Every byte of header and directory; of the blocks, which are checked alike, every fifth.
    flipped = [*range(1_000), *range(1_000, len(content), 5)]
    refused = 0
    for at in flipped:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        refused += is_refused(path, bytes(damaged))
    # Up to seven bytes fill the directory up; nothing reads them.
    assert refused >= len(flipped) - 7


def test_every_truncation_is_detected(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    path = tmp_path / "damaged.snap"
    for size in [*range(1_000), *range(1_000, len(content), 5)]:
        assert is_refused(path, content[:size])
    assert is_refused(path, content + bytes(8))


def is_refused(path: Path, content: bytes) -> bool:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        index = PayloadIndex.load(path)
        index.verify()
    except (CorruptFile, UnsupportedFormat):
        refused = True
    else:
        refused = False
    try:
        index = PayloadIndex.load(path)
    except (CorruptFile, UnsupportedFormat):
        return True
    for condition, expected in zip(FILTERS, EXPECTED, strict=True):
        try:
            assert index.matching(condition).tolist() == expected
        except CorruptFile:
            assert refused
    return refused


def test_damaged_field_leaves_the_others_usable(whole: Path, tmp_path: Path) -> None:
    content = bytearray(whole.read_bytes())
    at = content.index(b"author 3")
    content[at] ^= 1
    path = tmp_path / "damaged.snap"
    path.write_bytes(content)
    index = PayloadIndex.load(path)
    assert index.matching(FILTERS[0]).tolist() == EXPECTED[0]
    for _ in range(2):
        with pytest.raises(CorruptFile, match=r"checksum of field 'author\.name'"):
            index.matching(FILTERS[5])
    with pytest.raises(CorruptFile):
        index.save(tmp_path / "next.snap", 8)
    assert not (tmp_path / "next.snap").exists()


def test_other_files_and_versions_are_refused(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.snap"
    path.write_bytes(b"something else" * 10)
    with pytest.raises(UnsupportedFormat, match="no payload index of version 1"):
        PayloadIndex.load(path)
    content = bytearray(whole.read_bytes())
    content[8] = 0
    path.write_bytes(content)
    with pytest.raises(UnsupportedFormat):
        PayloadIndex.load(path)
    with pytest.raises(StorageError):
        PayloadIndex.load(tmp_path / "missing.snap")


def table(kinds: str, arrays: list[tuple[str, int]]) -> bytes:
    packed = pack({"kinds": kinds, "arrays": arrays})
    head = len(packed).to_bytes(8, "little") + packed
    return head + bytes(-len(head) % 8)


ONE = BitMap64([1]).serialize()
PRESENT = ONE + bytes(-len(ONE) % 8)


def u4(*values: int) -> bytes:
    raw = np.array(values, "<u4").tobytes()
    return raw + bytes(-len(raw) % 8)


COLUMN = [("|u1", len(ONE)), ("<i8", 1), ("<u4", 2), ("<u4", 1), ("<u4", 0), ("<u8", 0), ("|u1", 0)]
VALUE = (5).to_bytes(8, "little")


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xff" * 8,
        table("i", [("|u1", 1 << 60)]),
        table("i", [("|u1", -1)]),
        table("i", [("|O8", 1)]) + PRESENT,
        table("i", [("|u1", len(ONE))]) + PRESENT,
        table("q", COLUMN) + PRESENT + VALUE + u4(0, 1) + u4(1),
        table("", COLUMN) + PRESENT + VALUE + u4(0, 1) + u4(1),
        table("f", COLUMN) + PRESENT + VALUE + u4(0, 1) + u4(1),
        table("i", COLUMN) + PRESENT + VALUE + u4(0, 9) + u4(1),
        table("i", COLUMN) + PRESENT + VALUE + u4(1, 1) + u4(1),
        table("i", [*COLUMN[:4], ("<u4", 1), ("<u8", 1), ("|u1", 0)])
        + (PRESENT + VALUE + u4(0, 1) + u4(1) + u4(3) + bytes(8)),
        table("i", [*COLUMN[:4], ("<u4", 1), ("<u8", 1), ("|u1", 0)])
        + (PRESENT + VALUE + u4(0, 1) + u4(1) + u4(0) + VALUE),
        table("i", [("|u1", 8), *COLUMN[1:]]) + b"\xff" * 8 + VALUE + u4(0, 1) + u4(1),
    ],
)
def test_block_that_lies_under_a_right_checksum_is_refused(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "payload.snap"
    write_payload(
        path, 1, {"unindexed": []}, BitMap64([1]), [Written("a", 1, False, lambda: [block])]
    )
    with pytest.raises(CorruptFile, match=r"field 'a' can't be decoded"):
        PayloadIndex.load(path).matching(parse({"a": 5}))


def test_block_that_is_as_it_should_be_is_read(tmp_path: Path) -> None:
    block = table("i", COLUMN) + PRESENT + VALUE + u4(0, 1) + u4(1)
    path = tmp_path / "payload.snap"
    about = {"unindexed": list[str]()}
    write_payload(path, 1, about, BitMap64([1]), [Written("a", 1, False, lambda: [block])])
    assert PayloadIndex.load(path).matching(parse({"a": 5})).tolist() == [1]
    write_payload(path, 1, about, BitMap64([1]), [Written("a", 2, False, lambda: [block])])
    with pytest.raises(CorruptFile, match="1 rows, 2 expected"):
        PayloadIndex.load(path).matching(parse({"a": 5}))
