"""An export holds all of a tenant at one moment, and an import gives all of it back."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell import Database, Tenant, errors
from llmspell.storage.export_file import FRAME_BYTES
from tests.tenancy.transfers import (
    Makes,
    Stream,
    content,
    exported,
    frame_edges,
    items,
    lines,
    vectors,
)

IDS = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(min_size=1, max_size=20)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.datetimes(timezones=st.just(UTC))
)


KEYS = st.text(min_size=1, max_size=5).filter(lambda key: not key.startswith("$"))


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


METADATA = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    given_records=st.dictionaries(
        IDS, st.tuples(METADATA, st.none() | st.text(max_size=20)), max_size=12
    )
)
def test_everything_of_a_record_comes_back(
    make: Makes, given_records: dict[int | str, tuple[dict[str, Any], str | None]]
) -> None:
    source, target = make(), make()
    for i, (identity, (metadata, text)) in enumerate(given_records.items()):
        ttl = 1_000 if i % 3 == 0 else None
        source.upsert([identity], vectors(1) + i, [metadata], [text], ttl=ttl)
    raw = exported(source)
    report = target.import_from(io.BytesIO(raw))
    assert (report.records, report.bytes) == (len(given_records), len(raw))
    assert content(target) == content(source)
    assert items(exported(target)) == items(raw)


def test_documents_stay_documents(make: Makes) -> None:
    source, target = make(), make()
    source.ingest([lines("b", 3), lines("a", 2), lines("c", 4), lines("d", 1)])
    source.upsert(["b#note", 7], vectors(2, 16))
    source.delete(["c#1"])
    source.delete(["d#0"])
    source.update_metadata("a#1", {"more": True})
    report = source.export(io.BytesIO())
    assert (report.records, report.documents) == (10, 3)
    target.import_from(io.BytesIO(exported(source)))
    assert content(target) == content(source)
    for name in ("documents", "vectors", "storage"):
        assert getattr(target.usage(), name).used == getattr(source.usage(), name).used
    again = target.ingest([lines("a", 2), lines("b", 3), lines("c", 4), lines("d", 1)])
    assert (again.unchanged, again.replaced, again.added) == (2, 1, 1)
    assert target.delete(["b"]) == 3
    assert target.get("b#note").id == "b#note"


def test_an_item_longer_than_a_frame_and_many_frames_come_back(make: Makes) -> None:
    source, target = make(), make()
    text = "päge" * (FRAME_BYTES // 2)
    source.upsert(["long", "next"], vectors(2), texts=[text, "short"])
    source.upsert(range(3_000), vectors(3_000, 4), texts=["x" * 1_000] * 3_000)
    raw = exported(source)
    assert len(frame_edges(raw)) > 6
    target.import_from(io.BytesIO(raw))
    assert content(target) == content(source)


def test_expired_records_are_left_out_and_their_time_is_kept(make: Makes, db: Database) -> None:
    source, target = make(), make()
    source.upsert([1, 2], vectors(2), ttl=timedelta(days=1))
    source.upsert([3], vectors(1), ttl=1e-6)
    report = source.export(io.BytesIO())
    assert report.records == 2
    target.import_from(io.BytesIO(exported(source)))
    assert target.get(1).expires_at == source.get(1).expires_at


def test_an_export_shows_one_moment(make: Makes) -> None:
    source, target = make(), make()
    source.upsert(range(2_000), vectors(2_000), [{"turn": 0}] * 2_000)
    before = content(source)

    class Meddling(io.BytesIO):
        """Each write of the export lets the whole tenant change."""

        turn = 0

        def write(self, raw: Any) -> int:
            self.turn += 1
            source.upsert(range(2_000), -vectors(2_000), [{"turn": self.turn}] * 2_000)
            source.delete([self.turn])
            return super().write(raw)

    file = Meddling()
    source.export(file)
    assert file.turn >= 3
    target.import_from(io.BytesIO(file.getvalue()))
    assert content(target) == before


def test_a_stream_is_written_and_read(make: Makes) -> None:
    source, target = make(), make()
    source.upsert(range(500), vectors(500))
    stream = Stream()
    source.export(stream)  # type: ignore[arg-type]
    target.import_from(Stream(stream.raw.getvalue()))  # type: ignore[arg-type]
    assert content(target) == content(source)


def test_a_path_has_the_whole_export_or_is_as_it_was(
    make: Makes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make(), make()
    source.upsert(range(10), vectors(10))
    path = tmp_path / "acme.llmspell"
    report = source.export(path)
    assert path.stat().st_size == report.bytes
    assert target.import_from(str(path)).records == 10
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("no")

    with monkeypatch.context() as patched:
        patched.setattr("llmspell.storage.export_ends.os.fsync", fail)
        with pytest.raises(errors.StorageError, match="exporting"):
            source.export(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if "llmspell" in one.name] == [path.name]
    with pytest.raises(errors.StorageError):
        source.export(tmp_path / "missing" / "file")
    with pytest.raises(errors.StorageError, match="importing"):
        target.import_from(tmp_path / "missing")
    for wrong in (7, None, io.StringIO("text")):
        with pytest.raises((errors.InputError, TypeError)):
            target.import_from(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [Tenant.export, Tenant.snapshot])
def test_neither_a_link_nor_a_device_gives_way_to_the_file(
    make: Makes, tmp_path: Path, write: Callable[[Tenant, Path], object]
) -> None:
    os.mkfifo(tmp_path / "fifo.tar")
    with pytest.raises(errors.InputError, match=r"fifo\.tar is not a plain file"):
        write(make(), tmp_path / "fifo.tar")
    assert (tmp_path / "fifo.tar").is_fifo()
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link.tar").symlink_to("target")
    write(make(), tmp_path / "link.tar")
    assert (tmp_path / "link.tar").is_symlink()
    assert (tmp_path / "target").read_bytes() != b"old"
    assert sorted(path.name for path in tmp_path.glob("*.t*")) == ["fifo.tar", "link.tar"]


def test_a_file_that_cannot_be_written_leaves_the_tenant_in_use(make: Makes) -> None:
    source = make()
    source.upsert(range(10), vectors(10))

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(errors.StorageFull, match="exporting"):
        source.export(Full())
    source.upsert([11], vectors(1))
    assert source.count() == 11


MEMORY = """
import sys, tracemalloc
import numpy as np
import llmspell
from llmspell import QuotaLimits, TenantConfig
with llmspell.open(sys.argv[1]) as db:
    a, b = (db.create_tenant(TenantConfig(id=i, quotas=QuotaLimits.unlimited())) for i in "ab")
    for first in range(0, 4_000, 500):
        a.upsert(range(first, first + 500), np.ones((500, 4)), texts=["x" * 20_000] * 500)
    tracemalloc.start()
    size = a.export(sys.argv[2]).bytes
    exporting = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    b.import_from(sys.argv[2])
    print(size, exporting, tracemalloc.get_traced_memory()[1], b.count())
"""


def test_memory_is_bounded_by_a_batch_and_not_by_the_file(tmp_path: Path) -> None:
    program = [sys.executable, "-c", MEMORY, str(tmp_path / "data"), str(tmp_path / "file")]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    size, exporting, importing, count = map(int, result.stdout.split())
    assert (count, size > 80_000_000) == (4_000, True)
    assert exporting < 8 * FRAME_BYTES
    assert importing < 64 << 20
