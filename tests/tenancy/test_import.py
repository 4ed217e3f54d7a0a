"""An import writes what fits, and says what doesn't before anything is written."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from llmspell import Database, QuotaLimits, errors
from llmspell.storage import ExportWriter
from llmspell.storage.codec import pack
from tests.tenancy.transfers import (
    Makes,
    Stream,
    content,
    exported,
    items,
    lines,
    plain,
    vectors,
)


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


def test_a_document_without_chunks_left_is_none(make: Makes) -> None:
    source = make()
    source.ingest([lines("a", 2), lines("b", 3)])
    raw = exported(source)
    source.delete(filter={"of": "a"})
    report = source.import_from(io.BytesIO(raw), on_conflict="skip")
    assert (report.records, report.documents, report.skipped) == (2, 1, 3)
    source.delete(["b#0", "b#1", "b#2"])
    target = make()
    report = target.import_from(io.BytesIO(exported(source)))
    assert (report.documents, target.usage().documents.used) == (1, 1)


def test_an_export_may_name_a_document_that_had_lost_all_of_its_chunks(make: Makes) -> None:
    file = io.BytesIO()
    writer = ExportWriter(file.write, {"metric": "cosine", "dim": 0})
    writer.add(pack([1, "empty", b"hash", {}, 0, 1, "empty", "", 1, 1]))
    writer.add(pack([1, "gone", b"", {}, 0, 1, "gone", "", 1, 1]))
    writer.finish({"records": 0, "documents": 2})
    file.seek(0)
    target = make(quotas=QuotaLimits(max_documents=1))
    assert target.import_from(file).documents == 1
    assert target._enter().store.document("gone") is None
    assert target._enter().store.document("empty") is not None


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
    db: Database, make: Makes, limit: str, value: int
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
    assert f'llmspell_quota_refusals_total{{quota="{limit}"}} 1.0' in db.metrics()
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
