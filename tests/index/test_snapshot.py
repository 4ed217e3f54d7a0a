from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric, Quantization
from tests.index.vectors import ALL_METRICS, TYPES, clustered

SECTIONS = (
    "labels",
    "states",
    "table",
    "levels",
    "counts",
    "parents",
    "upper",
    "coding",
    "checksums",
    "rows",
    "bottom",
    "codes",
    "factors",
    "biases",
    "refined",
)
HEADER = 88 + 24 * len(SECTIONS)
VERSION_AT = 8


def _index(n: int = 300, threshold: int = 0, quantization: Quantization = "none") -> Index:
    params = IndexParams(
        m=5, ef_construction=40, graph_threshold=threshold, seed=3, quantization=quantization
    )
    index = Index(dim=12, metric="ip", params=params)
    if n:
        index.add(np.arange(n), clustered(n, 12, 1), threads=1)
    return index


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
def test_file_is_as_the_reference_describes_it(tmp_path: Path, quantization: Quantization) -> None:
    """docs/reference/snapshot.md, read by what it says."""
    index = _index(100, quantization=quantization)
    index.delete([4, 5])
    index.save(tmp_path / "index", tag=99)
    content = (tmp_path / "index").read_bytes()
    fields = struct.unpack_from("<8sIIIBBBB4IQQQQIiII", content)
    assert fields[0] == b"LLSPIDX\n"
    assert fields[1] == 5
    number = ("none", "pq", "sq4").index(quantization)
    assert fields[3:16] == (12, 0, 0, 1, number, 5, 10, 40, 100, 0, 3, 99, 100)
    entry, top, first_free, has_codes = fields[16:]
    parts, row_bytes, at = {}, {}, 4096
    for i, name in enumerate(SECTIONS):
        offset, length, row, _ = struct.unpack_from("<QQII", content, 88 + 24 * i)
        assert offset == at
        at = -(-(offset + length) // 4096) * 4096
        assert not any(content[offset + length : at])
        parts[name], row_bytes[name] = content[offset : offset + length], row
    assert at == len(content)
    blocks = [
        -(-100 // 2 ** int(np.log2(max(4_096 // row_bytes[name], 1))))
        for name in SECTIONS[9:]
        if parts[name]
    ]
    assert len(parts["checksums"]) == 4 * sum(blocks)
    states = np.frombuffer(parts["states"], np.uint8)
    levels = np.frombuffer(parts["levels"], np.int8)
    labels = np.frombuffer(parts["labels"], "<u8")
    assert np.flatnonzero(states == 0).tolist() == np.flatnonzero(levels == -1).tolist() == [4, 5]
    assert {first_free, int(labels[first_free])} == {4, 5}
    assert labels[labels[first_free]] == 2**32 - 1
    assert levels[entry] == top == levels.max()
    live = np.flatnonzero(states == 1)
    assert labels[live].tolist() == live.tolist()
    table = np.frombuffer(parts["table"], "<u4")
    assert sorted(table[table != 2**32 - 1].tolist()) == live.tolist()
    vectors = np.frombuffer(parts["rows"], "<f4").reshape(100, 12)
    np.testing.assert_array_equal(vectors[live], index.get(live))
    assert not vectors[[4, 5]].any()
    counts = np.frombuffer(parts["counts"], "<u2")
    parents = np.frombuffer(parts["parents"], "<u4")
    bottom = np.frombuffer(parts["bottom"], "<u4").reshape(100, row_bytes["bottom"] // 4)
    assert parents[entry] == entry
    for slot in live:
        places = bottom[slot, :10][bottom[slot, :10] != 2**32 - 1].tolist()
        assert counts[slot] <= len(places) <= 10
        assert quantization == "pq" or counts[slot] == len(places)
        assert len({*places, slot}) == len(places) + 1
        assert (levels[places] >= 0).all()
        assert slot == entry or slot in bottom[parents[slot], : counts[parents[slot]]]
    upper = np.frombuffer(parts["upper"], "<u4").reshape(-1, 6)
    owners = [(slot, level) for slot in live for level in range(1, levels[slot] + 1)]
    assert len(upper) == len(owners)
    for row, (slot, level) in zip(upper, owners, strict=True):
        linked = row[1 : 1 + row[0]].tolist()
        assert len({*linked, slot}) == len(linked) + 1
        assert (levels[linked] >= level).all()
    assert bool(parts["coding"]) == (quantization != "none")
    assert bool(has_codes) == (bool(parts["codes"]) or bool(parts["refined"]))
    assert bool(parts["codes"]) == bool(parts["factors"]) == (quantization == "pq")
    assert quantization != "sq4" or parts["refined"]
    assert not parts["biases"]


@pytest.mark.parametrize("threshold", [0, 10_000], ids=["graph", "flat"])
def test_deleted_vectors_leave_no_trace(tmp_path: Path, threshold: int) -> None:
    index = _index(300, threshold)
    kept, gone = index.get([7, 8])
    index.delete([8])
    index.save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    assert kept.tobytes() in content
    assert gone.tobytes() not in content


@pytest.mark.parametrize("threshold", [0, 10_000], ids=["graph", "flat"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", ALL_METRICS)
def test_loaded_index_answers_as_the_saved_one(
    tmp_path: Path, metric: Metric, dtype: ElementType, threshold: int
) -> None:
    params = IndexParams(m=5, ef_construction=40, ef_search=30, graph_threshold=threshold)
    index = Index(dim=12, metric=metric, dtype=dtype, params=params)
    index.add(np.arange(0, 900, 3), clustered(300, 12, 1))
    index.delete(np.arange(0, 900, 9))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert (loaded.dim, loaded.metric, loaded.dtype) == (12, metric, dtype)
    assert loaded.params == index.params
    assert len(loaded) == len(index) == 200
    assert loaded.stats().graph_nodes == index.stats().graph_nodes
    queries = clustered(20, 12, 2)
    before, after = index.search(queries, 10), loaded.search(queries, 10)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.scores, before.scores)
    kept = np.setdiff1d(np.arange(0, 900, 3), np.arange(0, 900, 9))
    np.testing.assert_array_equal(loaded.get(kept), index.get(kept))


def test_loaded_index_can_be_changed(tmp_path: Path) -> None:
    _index().save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    loaded.delete(np.arange(0, 300, 2))
    loaded.upsert(np.arange(1_000, 1_200), clustered(200, 12, 5))
    assert loaded.search(clustered(200, 12, 5), 1).ids[:, 0].tolist() == list(range(1_000, 1_200))
    loaded.save(tmp_path / "index")
    assert len(Index.load(tmp_path / "index")) == 350


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_tiny_indexes_are_saved(tmp_path: Path, n: int) -> None:
    index = _index(n)
    index.save(tmp_path / "index")
    assert len(Index.load(tmp_path / "index")) == n


def test_index_emptied_by_deletes_is_saved(tmp_path: Path) -> None:
    index = _index(20)
    index.delete(np.arange(20))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    loaded.add([1], clustered(1, 12))
    assert loaded.search(clustered(1, 12)[0]).ids.tolist() == [1]


def test_tag_comes_back(tmp_path: Path) -> None:
    index = _index(5)
    index.save(tmp_path / "index", tag=2**64 - 1)
    assert Index.load(tmp_path / "index").tag == 2**64 - 1
    assert index.tag == 0
    index.save(tmp_path / "index")
    assert Index.load(tmp_path / "index").tag == 0
    for tag in (-1, 2**64, 1.5, "x"):
        with pytest.raises(errors.InputError, match="tag must be"):
            index.save(tmp_path / "index", tag=tag)


def test_same_index_gives_the_same_file(tmp_path: Path) -> None:
    index = _index()
    index.save(tmp_path / "a")
    index.save(tmp_path / "b")
    Index.load(tmp_path / "a").save(tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_any_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("plain", "ünï çødé", os.fsdecode(b"not-utf8-\xff")):
        _index(5).save(path)
        assert len(Index.load(path)) == 5
    with pytest.raises(errors.StorageError, match="NUL"):
        _index(5).save("a\0b")
    with pytest.raises(errors.StorageError, match="NUL"):
        Index.load("plain\0b")


def test_failed_save_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "index"
    _index(5).save(target)
    old = target.read_bytes()
    larger = _index(50)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(errors.StorageError, match="can't"):
            larger.save(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == old
    (tmp_path / "taken").mkdir()
    with pytest.raises(errors.StorageError, match="can't rename"):
        _index(50).save(tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "taken"]


def test_missing_file_and_folder_are_storage_errors(tmp_path: Path) -> None:
    with pytest.raises(errors.StorageError, match="can't open"):
        Index.load(tmp_path / "none")
    with pytest.raises(errors.StorageError, match="can't"):
        Index.load(tmp_path)
    with pytest.raises(errors.StorageError, match="can't create"):
        _index(5).save(tmp_path / "none" / "index")


@pytest.mark.parametrize(
    "content", [b"", b"x", b"LLSPIDX\n", b"\0" * HEADER, b"not an index, but a long text\n" * 20]
)
def test_file_of_another_kind_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(errors.CorruptFile, match="index"):
        Index.load(tmp_path / "index")


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 6, 2**32 - 1])
def test_other_versions_are_named(tmp_path: Path, version: int) -> None:
    _index(5).save(tmp_path / "index")
    content = bytearray((tmp_path / "index").read_bytes())
    struct.pack_into("<I", content, VERSION_AT, version)
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(errors.UnsupportedFormat, match=f"version {version}; this release reads"):
        Index.load(tmp_path / "index")


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    _index(30).save(tmp_path / "index")
    content = (tmp_path / "index").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(errors.CorruptFile):
            Index.load(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(errors.CorruptFile, match="longer than its sections"):
        Index.load(tmp_path / "cut")


def test_searches_go_on_while_an_index_is_saved(tmp_path: Path) -> None:
    """A search that waited for the save would end after it, each time."""
    index = _index(2_000)
    index.add(np.arange(10_000, 30_000), clustered(20_000, 12, 2), threads=2)
    query = clustered(2_000, 12, 1)[5]
    during = 0
    for _ in range(2_000):
        if during > 20:
            break
        saver = threading.Thread(target=index.save, args=(tmp_path / "index",))
        saver.start()
        while saver.is_alive():
            found = index.search(query, 1).ids.tolist()
            during += saver.is_alive()
            assert found == [5]
        saver.join()
    assert during > 20


def test_savers_and_loaders_of_one_path_see_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "index"
    small, large = _index(50), _index(900)
    small.save(path)
    failures: list[Exception] = []
    done = threading.Event()

    def save(index: Index) -> None:
        try:
            for _ in range(60):
                index.save(path)
        except Exception as error:
            failures.append(error)

    def load() -> None:
        try:
            while not done.is_set():
                assert len(Index.load(path)) in (50, 900)
        except Exception as error:
            failures.append(error)

    savers = [threading.Thread(target=save, args=(index,)) for index in (small, large)]
    loader = threading.Thread(target=load)
    for thread in [*savers, loader]:
        thread.start()
    for thread in savers:
        thread.join()
    done.set()
    loader.join()
    assert failures == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["index"]


def test_errors_name_paths_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.path.join(tmp_path, os.fsdecode(b"not-there\xff"))
    with pytest.raises(errors.StorageError) as refused:
        Index.load(path)
    assert path in str(refused.value)


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
def test_mapped_index_answers_as_one_in_memory(tmp_path: Path, quantization: Quantization) -> None:
    index = _index(3_000, quantization=quantization)
    index.save(tmp_path / "index")
    mapped = Index.load(tmp_path / "index")
    partly = Index.load(tmp_path / "index", mmap="vectors")
    read = Index.load(tmp_path / "index", mmap=False)
    (tmp_path / "index").unlink()
    for part in (0, 1):  # before and behind a change
        queries = clustered(50, 12, 2 + part)
        for other in (mapped, partly, read):
            found, wanted = other.search(queries, 10), index.search(queries, 10)
            np.testing.assert_array_equal(found.ids, wanted.ids)
            np.testing.assert_array_equal(found.scores, wanted.scores)
        for each in (index, mapped, partly, read):
            each.delete(np.arange(0, 300, 3))
            each.upsert(np.arange(5_000, 6_000), clustered(1_000, 12, 7 + part), threads=1)
    mapped.verify()
    partly.save(tmp_path / "again")
    np.testing.assert_array_equal(
        Index.load(tmp_path / "again", mmap="vectors").search(queries, 10).ids,
        partly.search(queries, 10).ids,
    )


def test_mapped_bytes_are_counted_apart(tmp_path: Path) -> None:
    index = _index(5_000)
    index.save(tmp_path / "index")
    assert index.stats().memory.mapped == 0
    mapped = Index.load(tmp_path / "index").stats().memory
    read = Index.load(tmp_path / "index", mmap=False).stats().memory
    assert read.mapped == 0
    assert mapped.total < read.total / 2
    assert mapped.mapped + mapped.total == pytest.approx(read.total, rel=0.05)


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
def test_what_walks_read_is_in_memory_where_vectors_are_mapped(
    tmp_path: Path, quantization: Quantization
) -> None:
    index = _index(5_000, quantization=quantization)
    index.save(tmp_path / "index")
    held = Index.load(tmp_path / "index", mmap=False).stats().memory
    partly = Index.load(tmp_path / "index", mmap="vectors").stats().memory
    assert partly.vectors == 0
    assert held.vectors <= partly.mapped < held.vectors + held.codes + 4_096
    for part in ("ids", "bottom_layer", "upper_layers", "refined_codes", "codebook"):
        assert getattr(partly, part) == getattr(held, part), part


def _resident_of(path: Path) -> int:
    """Bytes of a file that lie in this process's memory."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line[0].isupper():
            counts = line.endswith(str(path))
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1_024
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's /proc")
def test_four_bit_searches_read_vectors_without_holding_them(tmp_path: Path) -> None:
    index = _index(5_000, quantization="sq4")
    index.save(tmp_path / "index")
    opened = Index.load(tmp_path / "index", mmap="vectors")
    queries = clustered(300, 12, 2)
    np.testing.assert_array_equal(opened.search(queries).ids, index.search(queries).ids)
    allowed = np.arange(0, 5_000, 2)
    found = opened.search(queries[0], filter=allowed)
    np.testing.assert_array_equal(found.ids, index.search(queries[0], filter=allowed).ids)
    assert opened.stats().memory.mapped > 200_000
    assert _resident_of(tmp_path / "index") == 0
    np.testing.assert_array_equal(  # by the mapping
        opened.search(queries, recall=1.0).ids, index.search(queries, recall=1.0).ids
    )
    assert _resident_of(tmp_path / "index") > 200_000
    opened.verify()
    assert opened.get([7]).tolist() == index.get([7]).tolist()
    opened.delete([7])
    assert 7 not in opened.search(index.get([7])[0]).ids


@pytest.mark.skipif(sys.platform != "linux", reason="vectors are read where others are mapped")
def test_vectors_that_are_gone_from_the_file_are_an_error(tmp_path: Path) -> None:
    index = _index(5_000, quantization="sq4")
    index.save(tmp_path / "index")
    opened = Index.load(tmp_path / "index", mmap="vectors")
    os.truncate(tmp_path / "index", 100)
    with pytest.raises(errors.StorageError, match=r"can't read .*index"):
        opened.search(clustered(1, 12, 2))


@pytest.mark.parametrize("mmap", ["all", "links", "", 1, 0, None])
def test_what_cannot_be_mapped_is_refused(tmp_path: Path, mmap: Any) -> None:
    _index(100).save(tmp_path / "index")
    with pytest.raises(errors.InputError, match="mmap must be True, False or 'vectors'"):
        Index.load(tmp_path / "index", mmap=mmap)


_SHARED = """
import sys
from llmspell import Index
path = sys.argv[1]
index = Index.load(path)
index.search(index.get(index.ids()), 10)  # all that searches read
print("ready", flush=True)
sys.stdin.readline()
kib, of_file = {}, False
for line in open("/proc/self/smaps"):
    first, *rest = line.split()
    if not first.endswith(":"):
        of_file = rest[-1] == path
    elif of_file and rest[-1] == "kB":
        kib[first] = kib.get(first, 0) + int(rest[0])
# In a file system that lies in memory all of a file is as one that isn't written back yet.
print(kib["Shared_Clean:"] + kib["Shared_Dirty:"], kib["Private_Dirty:"], flush=True)
sys.stdin.readline()  # mapped until the other has looked as well
"""


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_processes_share_the_pages_of_a_file(tmp_path: Path) -> None:
    _index(3_000).save(tmp_path / "index")
    command = [sys.executable, "-c", _SHARED, str(tmp_path / "index")]
    pipe = subprocess.PIPE
    with ExitStack() as ends:
        both = [
            ends.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            for _ in range(2)
        ]
        for process in both:
            ends.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in both:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            shared, private = map(int, process.stdout.readline().split())
            assert shared * 1024 > 3_000 * 12 * 4  # the vectors at least
            assert private == 0


def test_one_beside_another_changes_its_own(tmp_path: Path) -> None:
    _index(3_000).save(tmp_path / "index")
    one, other = Index.load(tmp_path / "index"), Index.load(tmp_path / "index")
    one.delete(np.arange(1_000))
    assert (len(one), len(other)) == (2_000, 3_000)
    assert other.search(clustered(3_000, 12, 1)[5], 1).ids.tolist() == [5]
    assert len(Index.load(tmp_path / "index")) == 3_000
