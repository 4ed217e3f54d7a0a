"""A damaged export is refused, naming the frame, and so is one that was never written so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmspell import errors
from llmspell._hot import crc32c
from llmspell.storage import ExportWriter, StoredRecord, pack
from llmspell.storage.export_file import FRAME_BYTES
from tests.tenancy.transfers import (
    Makes,
    exported,
    frame_edges,
    items,
    vectors,
)


@pytest.fixture
def sample(make: Makes) -> bytes:
    source = make(name="Acme", schema={"n": "int"})
    source.upsert(
        [*range(30), "a"], vectors(31), [{"n": i, "at": datetime.now(UTC)} for i in range(31)]
    )
    source.upsert(["long"], vectors(1), texts="x" * (2 * FRAME_BYTES + 10))
    source.upsert(["tail"], vectors(1), texts="y" * FRAME_BYTES)
    return exported(source)


def test_a_checksum_is_that_of_all_frames_up_to_it_as_documented(sample: bytes) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # of CRC-32C's definition
    edges = frame_edges(sample)
    seen = sample[:8]
    for start, end in pairwise(edges):
        seen += sample[start + 4 : end]
        assert crc32c(seen) == int.from_bytes(sample[start : start + 4], "little")


def test_every_flipped_bit_is_seen(make: Makes, sample: bytes) -> None:
    edges = frame_edges(sample)
    heads = [at + i for at in [0, *edges[:-1]] for i in range(24)]
    ends = [at - i for at in edges[1:] for i in range(1, 80)]
    random = np.random.default_rng(4).integers(0, len(sample), 500).tolist()
    target = make(schema={"n": "int"})
    for turn, at in enumerate([*heads, *ends, *random]):
        raw = bytearray(sample)
        raw[at] ^= 1 << turn % 8
        with pytest.raises(errors.CorruptFile, match=r"frame \d"):
            items(bytes(raw))
        if turn % 100 == 0:
            with pytest.raises(errors.CorruptFile, match=r"frame \d"):
                target.import_from(io.BytesIO(raw))
    assert target.count() == 0


def test_a_file_cut_off_anywhere_is_refused(make: Makes, sample: bytes) -> None:
    edges = frame_edges(sample)
    for at in {max(at + near, 0) for at in [0, *edges[:-1]] for near in range(-2, 18)}:
        with pytest.raises(errors.CorruptFile, match=r"frame \d"):
            items(sample[:at])
    with pytest.raises(errors.CorruptFile, match=r"frame \d"):
        items(sample[:-1])


def test_frames_out_of_place_are_refused(sample: bytes) -> None:
    edges = [0, *frame_edges(sample)]
    frames = [sample[a:b] for a, b in pairwise(edges)]
    for i in range(1, len(frames)):
        for changed in (
            [*frames[:i], *frames[i + 1 :]],
            [*frames[: i + 1], *frames[i:]],
            [*frames[: i - 1], frames[i], frames[i - 1], *frames[i + 1 :]],
        ):
            raw = b"".join(changed)
            if raw.startswith(sample):
                continue  # the end twice: the first one ends the file
            with pytest.raises(errors.CorruptFile, match=r"frame \d"):
                items(raw)


def record_item(identity: object = 1, kind: int = 0, **changed: Any) -> list[Any]:
    parts = {"created": 1, "updated": 1, "expires": None, "metadata": {}, "text": None}
    return [kind, identity, *{**parts, **changed}.values(), np.ones(4, "<f4").tobytes()]


def document_item(
    identity: str = "d", content: object = b"", chunks: int = 0, **changed: Any
) -> list[Any]:
    parts = {"version": 1, "source": "d", "embedder": "", "created": 1, "updated": 1}
    return [1, identity, content, {}, chunks, *{**parts, **changed}.values()]


DOCUMENT = document_item(content=b"hash", chunks=1)
OF_D = {"document": "d", "source": "d", "version": 1, "start": 0, "end": 1}


@pytest.mark.parametrize(
    "forged",
    [
        [record_item(2), record_item(1)],
        [record_item(1), record_item(1)],
        [record_item(1.5)],
        [record_item("x" * 511)],
        [record_item(created=-1)],
        [record_item(expires=1 << 62)],
        [record_item(created=None)],
        [record_item(metadata=[])],
        [record_item(text=b"raw")],
        [[*record_item(1)[:-1], b"123"]],
        [record_item(1)[:-1]],
        [record_item("d#0", kind=2)],
        [DOCUMENT],
        [DOCUMENT, record_item(1)],
        [DOCUMENT, record_item("e#0", kind=2)],
        [DOCUMENT, record_item("d#00", kind=2)],
        [DOCUMENT, record_item("d#0", kind=2)],
        [DOCUMENT, record_item("d#0", kind=2, metadata={"document": "d", "start": 0})],
        [DOCUMENT, record_item("d#0", kind=2, metadata=OF_D, expires=1 << 50)],
        [DOCUMENT, record_item("d#0", kind=2, metadata={**OF_D, "document": "e"})],
        [DOCUMENT, record_item("d#0", kind=2, metadata={**OF_D, "document": ["d"]})],
        [document_item("")],
        [document_item("\0")],
        [document_item("x" * 501)],
        [
            document_item(chunks=2),
            record_item("d#1", kind=2, metadata=OF_D),
            record_item("d#1", kind=2, metadata=OF_D),
        ],
        [document_item(), record_item(1)],
        [document_item(), document_item()],
        [document_item(content="")],
        [document_item(chunks=-1)],
        [document_item(version=0)],
        [document_item(source=None)],
        [document_item(updated=1 << 62)],
        [document_item()[:-1]],
        [[3]],
        [[]],
        [7],
    ],
)
def test_items_that_no_export_has_are_refused(make: Makes, forged: list[Any]) -> None:
    file = io.BytesIO()
    writer = ExportWriter(file.write, {"metric": "cosine", "dim": 4})
    for item in forged:
        writer.add(pack(item))
    count = sum(isinstance(i, list) and len(i) > 0 and i[0] in (0, 2) for i in forged)
    writer.finish({"records": count, "documents": len(forged) - count})
    file.seek(0)
    tenant = make()
    with pytest.raises(errors.CorruptFile, match="frame"):
        tenant.import_from(file)
    assert tenant.count() == 0


def test_a_later_version_is_refused_by_name(make: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell.storage.export_file.EXPORT_FORMAT", 3)
    raw = exported(make())
    monkeypatch.undo()
    with pytest.raises(errors.UnsupportedFormat, match="version 3"):
        make().import_from(io.BytesIO(raw))


def test_a_damaged_record_is_not_exported(
    make: Makes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make()
    source.upsert(range(3), vectors(3))

    def refuse(self: StoredRecord, rowid: int, raw: bytes) -> Iterator[None]:
        raise errors.CorruptFile(f"record {rowid}: its checksum does not match")

    monkeypatch.setattr(StoredRecord, "__init__", refuse)
    with pytest.raises(errors.CorruptFile, match="checksum"):
        source.export(tmp_path / "file")
    assert not (tmp_path / "file").exists()
