"""What an ingest holds in memory has a bound, and sources are read no faster than they go on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.rag.chunking import Chunking
from llmspell.rag.embedding import CallableEmbedder, Task
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.memory import MemoryGuard
from llmspell.rag.pipeline import Pipeline
from llmspell.rag.seen import Seen
from llmspell.rag.sources import find
from llmspell.rag.weighing import bytes_to_read, bytes_to_split
from llmspell.tenancy.documents import Blob, Document, SplitDocument, WebPage
from llmspell.tenancy.ports import Embed
from tests.rag.test_pipeline import Room

TEXT = "The espresso machine is cleaned on Fridays. " * 20


def many(count: int) -> Iterator[Document]:
    for n in range(count):
        yield Document(f"doc-{n}", f"{n} {TEXT}")


def test_holds_are_counted_and_given_back() -> None:
    guard = MemoryGuard(100)
    with guard.take(60) as first:
        assert guard.try_take(41) is None
        first.shrink(10)
        first.shrink(50)
        with guard.take(90):
            assert (guard.tracker.held, guard.tracker.holds, guard.tracker.peak) == (100, 2, 100)
        first.release()
        assert guard.tracker.held == 0
    assert (guard.tracker.held, guard.tracker.holds, guard.tracker.peak) == (0, 0, 100)


def test_ingests_may_hold_500_mb_unless_told_otherwise() -> None:
    assert MemoryGuard().max_bytes == 500_000_000
    assert Pipeline()._memory.max_bytes == 500_000_000


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None])
def test_bound_that_is_none_is_refused(bad: object) -> None:
    with pytest.raises(errors.ConfigError):
        MemoryGuard(bad)  # type: ignore[arg-type]


def test_more_than_there_is_at_all_is_refused() -> None:
    guard = MemoryGuard(100)
    for take in (guard.take, guard.try_take):
        with pytest.raises(errors.IngestError, match="101 bytes"):
            take(101)
        with pytest.raises(errors.InputError):
            take(-1)


def test_who_waits_goes_on_when_there_is_room_and_nobody_passes() -> None:
    guard = MemoryGuard(100)
    first = guard.take(60)
    taken = threading.Event()

    def wait() -> None:
        with guard.take(80):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not guard._turn.locked():
        pass
    assert guard.try_take(10) is None
    assert not taken.is_set()
    first.release()
    thread.join()
    assert taken.is_set()
    guard.take(100).release()


def test_bound_sets_the_size_of_batches(embedder: LocalEmbedder) -> None:
    most = 3 * bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20)
    guard = MemoryGuard(most)
    room = Room()
    report = Pipeline(embedder, memory=guard).ingest(room, many(12))
    assert report.added == 12
    assert max(len(batch) for batch in room.batches) < 8
    assert (guard.tracker.held, guard.tracker.holds) == (0, 0)
    assert guard.tracker.peak <= most


def test_source_is_read_no_faster_than_its_documents_are_written(embedder: LocalEmbedder) -> None:
    asked = 0
    room = Room()
    ahead: list[int] = []

    def source() -> Iterator[Document]:
        nonlocal asked
        for document in many(10):
            asked += 1
            ahead.append(asked - len(room.documents))
            yield document

    most = 2 * bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20)
    Pipeline(embedder, memory=MemoryGuard(most)).ingest(room, source())
    assert len(room.documents) == 10
    assert max(ahead) <= 5


def test_ingests_that_share_a_guard_all_go_on(embedder: LocalEmbedder) -> None:
    guard = MemoryGuard(2 * bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20))
    rooms = [Room() for _ in range(4)]
    pipelines = [Pipeline(embedder, memory=guard) for _ in rooms]
    threads = [
        threading.Thread(target=pipeline.ingest, args=(room, many(6)))
        for pipeline, room in zip(pipelines, rooms, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(room.documents) for room in rooms] == [6] * 4
    assert guard.tracker.peak <= guard.max_bytes
    assert guard.tracker.held == 0


def test_document_beyond_the_bound_is_told_and_the_rest_goes_on(embedder: LocalEmbedder) -> None:
    room = Room()
    documents = [Document("huge", "word " * 40_000), Document("small", "A few words.")]
    report = Pipeline(embedder, memory=MemoryGuard(1_000_000)).ingest(room, documents)
    assert report.added == 1
    assert report.skipped == (
        "huge: takes up to 2,800,000 bytes of memory, and ingests may hold 1,000,000",
    )


def test_document_of_many_small_chunks_is_weighed_by_them(embedder: LocalEmbedder) -> None:
    texts = Pipeline(embedder, chunking=Chunking(size=32, overlap=0), memory=MemoryGuard(100_000))
    report = texts.ingest(Room(), Document("doc", "A sentence of some words is here.\n\n" * 200))
    assert report.skipped[0].startswith("doc: takes up to ")
    assert texts._memory.tracker.held == 0


def test_text_that_is_longer_than_its_file_is_weighed_again(embedder: LocalEmbedder) -> None:
    names = ",".join(f"{'a name that is said again ' * 20}{n}" for n in range(10))
    table = Blob("table.csv", f"{names}\n{'1,' * 10}\n".encode() + b"1,2,3\n" * 200)
    assert bytes_to_read(table, 1 << 20) < 200_000
    read = Pipeline(embedder).read(table)
    assert len(read.text) > 30 * len(table.data)
    guard = MemoryGuard(1_000_000)
    report = Pipeline(embedder, memory=guard).ingest(Room(), [table, *many(1)])
    assert report.added == 1
    assert report.skipped == (
        f"table.csv: takes up to {bytes_to_split(read.text):,} bytes of memory, and ingests may "
        "hold 1,000,000",
    )
    guard = MemoryGuard()
    Pipeline(embedder, memory=guard).ingest(Room(), table)
    assert guard.tracker.held == 0
    assert guard.tracker.peak >= bytes_to_split(read.text)


def test_file_that_grew_behind_its_listing_is_weighed_again(embedder: LocalEmbedder) -> None:
    # A file of the system says 0 bytes, and is made as it is read.
    path = Path("/proc/cpuinfo")
    (item,) = find(path)
    assert bytes_to_read(item, 1 << 20) == 0
    size = len(path.read_bytes())
    guard = MemoryGuard()
    Pipeline(embedder, memory=guard).ingest(Room(), path)
    assert guard.tracker.peak > 20 * size
    report = Pipeline(embedder, memory=MemoryGuard(20 * size)).ingest(Room(), path)
    assert report.skipped[0].startswith("/proc/cpuinfo: takes up to ")


def test_html_weighs_more_than_text_and_what_is_not_known_most(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"x" * 100)
    (tmp_path / "b.txt").write_bytes(b"x" * 100)
    (tmp_path / "c").write_bytes(b"x" * 100)
    (tmp_path / "d.csv").write_bytes(b"x" * 100)
    page, text, unknown, table = (bytes_to_read(item, 1_000) for item in find(tmp_path))
    assert text < page < unknown == table == 2 * text
    assert bytes_to_read(Blob("a.txt", b"x" * 100), 50) == text // 2
    assert bytes_to_read(Document("a", "x" * 100, media_type="text/html"), 1) == page
    assert bytes_to_read(WebPage("https://a.test/"), 50) == unknown // 2
    (gone,) = find(tmp_path / "b.txt")
    (tmp_path / "b.txt").unlink()
    assert bytes_to_read(gone, 1_000) == 0


def test_failure_gives_back_all_that_was_held(embedder: LocalEmbedder) -> None:
    guard = MemoryGuard()
    texts = Pipeline(embedder, memory=guard)
    with pytest.raises(errors.QuotaExceeded):
        texts.ingest(Room(limit=3), many(8))

    def broken() -> Iterator[Document]:
        yield from many(2)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        texts.ingest(Room(), broken())

    class Failing(Room):
        def put_documents(self, batch: Sequence[SplitDocument], embed: Embed) -> int:
            raise errors.StorageFull("full")

    with pytest.raises(errors.StorageFull):
        texts.ingest(Failing(), many(2))
    assert (guard.tracker.held, guard.tracker.holds) == (0, 0)
    assert guard.tracker.peak > 0


def test_folder_is_looked_through_as_it_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    found = find(tmp_path)
    assert found.count() == 2
    items = iter(found)
    next(items)
    (tmp_path / "c").write_text("c")
    assert len([*items]) == 1
    assert found.count() == len(list(found)) == 3
    assert find(iter([tmp_path])).count() is None


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.text(max_size=3), max_size=60))
def test_seen_ids_are_a_set(names: list[str]) -> None:
    seen, model = Seen(), set()
    for name in names:
        assert seen.add(name) == (name not in model)
        model.add(name)


def test_many_seen_ids_are_kept_apart_and_found_again() -> None:
    seen = Seen()
    assert all(seen.add(str(n)) for n in range(40_000))
    assert not any(seen.add(str(n)) for n in range(0, 40_000, 7))
    assert seen.add("\ud800")
    assert not seen.add("\ud800")


def test_who_holds_does_not_wait_for_itself() -> None:
    guard = MemoryGuard(100)
    with guard.take(60) as mine, guard.take(40):
        with pytest.raises(errors.IngestError, match=r"1 bytes .* 100 that this thread holds"):
            guard.take(1)
        mine.shrink(50)
        guard.take(10).release()
    assert (guard.tracker.held, guard.tracker.holds) == (0, 0)


def test_who_holds_does_not_stand_in_line_behind_one_that_waits_for_it() -> None:
    guard = MemoryGuard(100)
    with guard.take(60):
        waiting = threading.Thread(target=lambda: guard.take(80).release())
        waiting.start()
        while not guard._turn.locked():
            pass
        guard.take(40).release()
    waiting.join()


def test_ingest_within_the_source_of_another_goes_on(embedder: LocalEmbedder) -> None:
    guard = MemoryGuard(2 * bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20))
    texts = Pipeline(embedder, memory=guard)
    outer, inner = Room(), Room()

    def source() -> Iterator[Document]:
        for document in many(4):
            Pipeline(embedder, memory=guard).ingest(inner, many(2))
            yield document

    texts.ingest(outer, source())
    assert (len(outer.documents), len(inner.documents)) == (4, 2)
    assert guard.tracker.held == 0 < guard.tracker.peak <= guard.max_bytes


def test_ingests_within_each_other_of_two_guards_all_go_on(embedder: LocalEmbedder) -> None:
    one = bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20)
    texts = [Pipeline(embedder, memory=MemoryGuard(one)) for _ in range(2)]
    rooms = [Room() for _ in range(4)]
    both_hold = threading.Barrier(2, timeout=60)

    def source(other: int) -> Iterator[Document]:
        yield from many(1)
        both_hold.wait()
        texts[other].ingest(rooms[2 + other], many(1))

    threads = [
        threading.Thread(target=texts[n].ingest, args=(rooms[n], source(1 - n)), daemon=True)
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [len(room.documents) for room in rooms] == [1] * 4


def test_failure_of_an_ingest_that_is_written_for_one_within_it_is_told(
    embedder: LocalEmbedder,
) -> None:
    guard = MemoryGuard(bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20))
    texts = Pipeline(embedder, memory=guard)
    inner = Room()

    def source(rest: int) -> Iterator[Document]:
        yield from many(1)
        with contextlib.suppress(errors.QuotaExceeded):
            texts.ingest(inner, many(1))
        yield from many(rest)

    for rest in (0, 2):
        with pytest.raises(errors.QuotaExceeded):
            texts.ingest(Room(limit=0), source(rest))
    assert guard.tracker.held == 0


def test_ingest_within_the_progress_of_another_goes_on(embedder: LocalEmbedder) -> None:
    guard = MemoryGuard(bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20))
    texts = Pipeline(embedder, memory=guard)
    outer, inner = Room(), Room()
    texts.ingest(outer, many(1))
    documents = [Document("blank", " "), *many(3)]
    texts.ingest(outer, documents, progress=lambda state: texts.ingest(inner, many(2)))
    assert (len(outer.documents), len(inner.documents)) == (3, 2)
    assert guard.tracker.held == 0


def test_ingest_within_the_model_of_another_is_refused_where_it_would_wait(
    embedder: LocalEmbedder,
) -> None:
    guard = MemoryGuard(bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20))
    inner = Pipeline(embedder, memory=guard)

    def asks(texts: Sequence[str], task: Task) -> list[list[float]]:
        inner.ingest(Room(), many(2))
        return [[1.0]] * len(texts)

    model = CallableEmbedder(asks, model_id="m", dim=1, tokenizer=embedder.tokenizer)
    with pytest.raises(errors.IngestError, match="that this thread holds"):
        Pipeline(model, memory=guard).ingest(Room(), many(2))
    assert guard.tracker.held == 0


def test_slow_model_holds_back_the_source_and_the_bound_stays(embedder: LocalEmbedder) -> None:
    asked = 0
    seen: list[tuple[int, int]] = []
    room = Room()
    most = 3 * bytes_to_read(Document("doc-0", f"0 {TEXT}"), 1 << 20)
    guard = MemoryGuard(most)

    def slow(texts: Sequence[str], task: Task) -> list[list[float]]:
        before = asked
        time.sleep(0.005 * len(texts))
        seen.append((asked - before, guard.tracker.held))
        return [[1.0]] * len(texts)

    def source() -> Iterator[Document]:
        nonlocal asked
        for document in many(30):
            asked += 1
            assert asked - len(room.documents) <= 12
            yield document

    model = CallableEmbedder(slow, model_id="slow", dim=1, tokenizer=embedder.tokenizer)
    Pipeline(model, memory=guard).ingest(room, source())
    assert len(room.documents) == 30
    assert len(seen) > 2
    assert all(read == 0 and 0 < held <= most for read, held in seen)
