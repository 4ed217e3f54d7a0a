"""An export holds all of a tenant, and an import gives all of it back or says why not."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell import Database, Document, QuotaLimits, Record, Tenant, TenantConfig, errors
from llmspell.storage import ExportReader, ExportWriter, StoredRecord, pack
from llmspell.storage.export_file import FRAME_BYTES

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


def vectors(count: int, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)


def lines(name: str, count: int) -> Document:
    return Document(name, "\n".join(f"{name} line {i}" for i in range(count)), {"of": name})


class Makes:
    """Makes tenants of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._count = 0

    def __call__(self, **settings: Any) -> Tenant:
        self._count += 1
        given = {"quotas": QuotaLimits.unlimited(), **settings}
        return self._db.create_tenant(TenantConfig(id=f"made-{self._count}", **given))


@pytest.fixture
def make(db: Database) -> Makes:
    return Makes(db)


def exported(tenant: Tenant) -> bytes:
    file = io.BytesIO()
    report = tenant.export(file)
    assert report.bytes == len(file.getvalue())
    return file.getvalue()


def plain(record: Record) -> tuple[object, ...]:
    times = record.created_at, record.updated_at, record.expires_at
    return record.id, record.vector.tobytes(), record.text, record.metadata, times


def content(tenant: Tenant) -> list[tuple[object, ...]]:
    return [plain(record) for record in tenant.scan(limit=100_000).records]


def items(raw: bytes) -> list[Any]:
    return list(ExportReader(io.BytesIO(raw), "export").items())


def frame_edges(raw: bytes) -> list[int]:
    edges = [8]
    while edges[-1] < len(raw):
        edges.append(
            edges[-1] + 16 + int.from_bytes(raw[edges[-1] + 12 : edges[-1] + 16], "little")
        )
    assert edges[-1] == len(raw)
    return edges


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
    assert (report.records, report.documents) == (10, 4)
    target.import_from(io.BytesIO(exported(source)))
    assert content(target) == content(source)
    for name in ("documents", "vectors", "storage"):
        assert getattr(target.usage(), name).used == getattr(source.usage(), name).used
    again = target.ingest([lines("a", 2), lines("b", 3), lines("c", 4), lines("d", 1)])
    assert (again.unchanged, again.replaced) == (2, 2)
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


def test_what_expired_since_the_export_is_not_imported(make: Makes) -> None:
    source, target = make(), make()
    source.upsert([1], vectors(1), ttl=0.05)
    source.upsert([2], vectors(1))
    raw = exported(source)
    held = source.scan().records
    assert [r.id for r in held] in ([1, 2], [2])
    while source.count() > 1:
        pass
    report = target.import_from(io.BytesIO(raw))
    assert report.records + report.expired == len(items(raw))
    assert [r.id for r in target.scan().records] == [2]


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


def test_conflicts_are_refused_replaced_or_skipped(make: Makes) -> None:
    source, target = make(), make()
    source.upsert([1, 2, "a"], vectors(3), [{"from": "source"}] * 3)
    target.upsert([2, 3], vectors(2) * 2, [{"from": "target"}] * 2)
    raw, before = exported(source), content(target)
    with pytest.raises(errors.DuplicateId, match=r"^2 there already.*on_conflict"):
        target.import_from(io.BytesIO(raw))
    assert content(target) == before
    report = target.import_from(io.BytesIO(raw), on_conflict="skip")
    assert (report.records, report.skipped) == (2, 1)
    assert [r.metadata["from"] for r in target.scan().records] == [
        *("source", "target", "target", "source"),
    ]
    report = target.import_from(io.BytesIO(raw), on_conflict="replace")
    assert (report.records, report.skipped) == (3, 0)
    assert plain(target.get(2)) == plain(source.get(2))
    assert target.count() == target.usage().vectors.used == 4
    with pytest.raises(errors.InputError, match="on_conflict"):
        target.import_from(io.BytesIO(raw), on_conflict="merge")  # type: ignore[arg-type]


@pytest.mark.parametrize("on_conflict", ["skip", "replace"])
def test_a_document_that_is_there_is_taken_as_a_whole(make: Makes, on_conflict: Any) -> None:
    source, target = make(), make()
    source.ingest([lines("a", 2), lines("b", 3)])
    target.ingest([lines("a", 5)])
    target.upsert(["b#1"], vectors(1, 16))
    raw, before = exported(source), content(target)
    with pytest.raises(errors.DuplicateId, match="'a', 'b' there already"):
        target.import_from(io.BytesIO(raw))
    report = target.import_from(io.BytesIO(raw), on_conflict=on_conflict)
    if on_conflict == "skip":
        assert (report.records, report.documents, report.skipped) == (0, 0, 5)
        assert content(target) == before
    else:
        assert (report.records, report.documents) == (5, 2)
        assert content(target) == content(source)
        assert target.usage().documents.used == 2
    assert target.usage().vectors.used == target.count()


def test_another_metric_dimension_or_schema_is_refused_by_name(make: Makes) -> None:
    source = make()
    source.upsert([1], vectors(1), [{"n": "text"}])
    raw = exported(source)
    other = make(metric="l2")
    with pytest.raises(errors.MetricMismatch, match=r"'cosine'.*'l2'") as metric:
        other.import_from(io.BytesIO(raw))
    assert (metric.value.expected, metric.value.actual) == ("l2", "cosine")
    wide = make()
    wide.upsert([5], vectors(1, 8))
    for tenant in (wide, make(dim=8)):
        with pytest.raises(errors.DimensionMismatch) as dimension:
            tenant.import_from(io.BytesIO(raw))
        assert (dimension.value.expected, dimension.value.actual) == (8, 4)
    typed = make(schema={"n": "int"})
    with pytest.raises(errors.MetadataError, match="n"):
        typed.import_from(io.BytesIO(raw))
    assert [t.count() for t in (other, wide, typed)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("max_vectors", 5_999),
        ("max_documents", 1),
        ("max_storage_mb", 1),
        ("max_dimensions", 15),
    ],
)
def test_what_quotas_have_no_room_for_is_refused_before_anything_is_written(
    make: Makes, limit: str, value: int
) -> None:
    source = make()
    source.upsert(range(6_000), vectors(6_000, 16), texts=["x" * 150] * 6_000)
    source.ingest([lines("a", 1), lines("b", 1)])
    raw = exported(source)
    unlimited = dict.fromkeys(("max_documents", "max_vectors", "max_storage_mb"))
    quotas = QuotaLimits(**{**unlimited, limit: value})
    target = make(quotas=quotas)
    with pytest.raises(errors.QuotaExceeded) as caught:
        target.import_from(io.BytesIO(raw))
    assert caught.value.quota == limit
    usage = target.usage()
    assert target.count() == usage.vectors.used == usage.documents.used == usage.storage.used == 0


def test_replacing_what_is_there_needs_no_more_room(make: Makes) -> None:
    source, target = make(), make(quotas=QuotaLimits(max_vectors=7, max_documents=1))
    source.upsert(range(4), vectors(4, 16))
    source.ingest(lines("a", 3))
    raw = exported(source)
    target.import_from(io.BytesIO(raw))
    target.import_from(io.BytesIO(raw), on_conflict="replace")
    assert content(target) == content(source)


@pytest.fixture
def sample(make: Makes) -> bytes:
    source = make(name="Acme", schema={"n": "int"})
    source.upsert(
        [*range(30), "a"], vectors(31), [{"n": i, "at": datetime.now(UTC)} for i in range(31)]
    )
    source.upsert(["long"], vectors(1), texts="x" * (2 * FRAME_BYTES + 10))
    source.upsert(["tail"], vectors(1), texts="y" * FRAME_BYTES)
    return exported(source)


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


DOCUMENT = [1, "d", b"hash", {}, 1]


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
        [[1, "d", b"", {}, 2], record_item("d#1", kind=2), record_item("d#1", kind=2)],
        [[1, "d", b"", {}, 0], record_item(1)],
        [[1, "d", b"", {}, 0], [1, "d", b"", {}, 0]],
        [[1, "d", "", {}, 0]],
        [[1, "d", b"", {}, -1]],
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
    monkeypatch.setattr("llmspell.storage.export_file.EXPORT_FORMAT", 2)
    raw = exported(make())
    monkeypatch.undo()
    with pytest.raises(errors.UnsupportedFormat, match="version 2"):
        make().import_from(io.BytesIO(raw))


class Stream(io.RawIOBase):
    """What can't seek, and gives and takes few bytes at a time."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = io.BytesIO(raw)

    def read(self, size: int = -1) -> bytes:
        return self.raw.read(min(size, 1_000))

    def write(self, data: Any) -> int:
        return self.raw.write(bytes(data[:1_000]))

    def seekable(self) -> bool:
        return False


def test_a_stream_is_written_and_read(make: Makes) -> None:
    source, target = make(), make()
    source.upsert(range(500), vectors(500))
    stream = Stream()
    source.export(stream)  # type: ignore[arg-type]
    target.import_from(Stream(stream.raw.getvalue()))  # type: ignore[arg-type]
    assert content(target) == content(source)


def test_an_import_that_stops_in_the_middle_says_how_far_it_came_and_goes_on(make: Makes) -> None:
    source, target = make(), make()
    source.upsert(range(9_000), vectors(9_000), texts=["x" * 300] * 9_000)
    raw = exported(source)
    with pytest.raises(errors.CorruptFile) as caught:
        target.import_from(Stream(raw[:-100]))  # type: ignore[arg-type]
    written = target.count()
    assert 0 < written < 9_000
    assert f"{written} records" in caught.value.__notes__[0]
    report = target.import_from(io.BytesIO(raw), on_conflict="skip")
    assert (report.records, report.skipped) == (9_000 - written, written)
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


def test_writers_beside_an_import_lose_nothing(make: Makes) -> None:
    source, target = make(), make()
    source.upsert(range(9_000), vectors(9_000))
    raw = exported(source)
    is_done = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not is_done.is_set():
            target.upsert([f"beside {len(written)}"], vectors(1))
            written.append(f"beside {len(written)}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        target.import_from(io.BytesIO(raw))
    finally:
        is_done.set()
        writer.join()
    assert target.count() == target.usage().vectors.used == 9_000 + len(written)


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
