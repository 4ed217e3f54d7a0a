"""What the disk keeps, across restarts, within its bound; and what becomes of damage."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import lmdb
import numpy as np
import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.rag.cache import EmbeddingCacheSettings
from llmspell.rag.cache.compartment import Compartment
from llmspell.rag.cache.disk import DiskTier, _is_short
from llmspell.rag.cache.disks import Disks
from llmspell.rag.cache.entry import Made, decode, encode
from llmspell.rag.cache.stats import Counters
from tests.rag.cache.owners import within_seconds

FLOATS = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40)


def key(number: int) -> bytes:
    return blake3(b"%d" % number).digest()


def made(number: int, dim: int = 64, at_us: int = 7) -> Made:
    return Made(np.random.default_rng(number).standard_normal(dim).astype(np.float32), at_us)


def opened(path: Path, counters: Counters | None = None, **given: int) -> DiskTier:
    asked = EmbeddingCacheSettings(**{"disk_bytes": 1 << 20, **given})
    return DiskTier(path / "embeddings", asked, counters or Counters())


@given(FLOATS, st.integers(0, 100))
def test_entry_comes_back_to_the_last_bit(numbers: list[float], over: int) -> None:
    one = Made(np.array(numbers, np.float32), 123)
    raw = encode(key(1), one, EmbeddingCacheSettings(compress_over=over))
    back = decode(key(1), raw, len(numbers))
    assert back is not None
    assert back.vector.tobytes() == one.vector.tobytes()
    assert back.at_us == 123
    assert decode(key(2), raw, len(numbers)) is None
    assert decode(key(1), raw, len(numbers) + 1) is None


@given(FLOATS, st.data())
def test_entry_that_was_changed_or_cut_is_none(numbers: list[float], data: st.DataObject) -> None:
    one = Made(np.array(numbers, np.float32), 123)
    raw = bytearray(encode(key(1), one, EmbeddingCacheSettings(compress_over=8)))
    place = data.draw(st.integers(0, len(raw) - 1))
    assert decode(key(1), bytes(raw[:place]), len(numbers)) is None
    raw[place] ^= data.draw(st.integers(1, 255))
    assert decode(key(1), bytes(raw), len(numbers)) is None


def test_half_precision_takes_half_and_is_rounded() -> None:
    one = made(1, 512)
    half = encode(key(1), one, EmbeddingCacheSettings(disk_dtype="float16"))
    whole = encode(key(1), one, EmbeddingCacheSettings())
    assert len(whole) - len(half) == 512 * 2
    back = decode(key(1), half, 512)
    assert back is not None
    np.testing.assert_array_equal(back.vector, one.vector.astype(np.float16))
    large = Made(np.full(4, 1e9, np.float32), 0)
    kept = decode(key(1), encode(key(1), large, EmbeddingCacheSettings(disk_dtype="float16")), 4)
    assert kept is not None
    assert kept.vector[0] == np.float32(1e9)


def test_vector_of_more_than_8192_bytes_is_compressed_where_that_is_shorter() -> None:
    again = Made(np.tile(made(1).vector, 33)[: 2_048 + 1], 7)
    at_bound = Made(again.vector[:2_048], 7)
    as_noise = made(1, 2_049)
    around = len(encode(key(1), at_bound, EmbeddingCacheSettings())) - 8_192
    assert 0 < around < 100
    raw = encode(key(1), again, EmbeddingCacheSettings())
    assert len(raw) < 2_048
    back = decode(key(1), raw, 2_049)
    assert back is not None
    assert back.vector.tobytes() == again.vector.tobytes()
    assert (
        len(encode(key(1), as_noise, EmbeddingCacheSettings())) <= as_noise.vector.nbytes + around
    )


@settings(max_examples=15, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), max_size=12))
def test_disk_counts_to_the_byte_and_stays_within_its_bound(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    path = tmp_path_factory.mktemp("disk")
    tier = opened(path, disk_bytes=6_000)
    for batch in batches:
        tier.put([(key(number), made(number)) for number in dict.fromkeys(batch)])
    found = tier.get([key(number) for number in range(41)], 64, -1)
    entries, size = tier.state()
    assert entries == len(found)
    each = 32 + 8 + len(encode(key(1), made(1), EmbeddingCacheSettings()))
    assert size == entries * each <= 6_000
    if batches:
        assert set(found) >= {key(number) for number in list(dict.fromkeys(batches[-1]))[-3:]}
    tier.close()


def test_entry_that_would_unpack_to_more_than_a_vector_takes_no_memory() -> None:
    body = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    checked = struct.pack("<4sB3xIQ", b"LSE1", 2, 64, 1) + body
    raw = struct.pack("<I", zlib.crc32(checked, zlib.crc32(key(1)))) + checked
    tracemalloc.start()
    try:
        assert decode(key(1), raw, 64) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_entries_outlive_a_restart(tmp_path: Path) -> None:
    tier = opened(tmp_path)
    tier.put([(key(1), made(1)), (key(2), made(2))])
    state = tier.state()
    tier.close()
    assert tier.get([key(1)], 64, -1) == {}
    again = opened(tmp_path)
    assert again.state() == state
    found = again.get([key(1), key(2), key(3)], 64, -1)
    assert set(found) == {key(1), key(2)}
    np.testing.assert_array_equal(found[key(2)].vector, made(2).vector)
    again.close()


def test_those_that_were_used_stay_when_the_oldest_go(tmp_path: Path) -> None:
    tier = opened(tmp_path, disk_bytes=10 * 400)
    tier.put([(key(number), made(number)) for number in range(8)])
    tier.get([key(0)], 64, -1)
    tier.put([(key(number), made(number)) for number in range(100, 109)])
    found = tier.get([key(0), key(1)], 64, -1)
    assert set(found) == {key(0)}
    tier.close()


def test_old_ones_arent_found(tmp_path: Path) -> None:
    tier = opened(tmp_path)
    tier.put([(key(1), made(1, at_us=5))])
    assert tier.get([key(1)], 64, 5)
    assert not tier.get([key(1)], 64, 6)
    tier.close()


def test_damaged_entry_is_a_miss_and_counted(tmp_path: Path) -> None:
    tier = opened(tmp_path)
    tier.put([(key(1), made(1))])
    tier.close()
    with lmdb.open(str(tmp_path / "embeddings"), max_dbs=3) as env:
        vectors = env.open_db(b"vectors")
        with env.begin(vectors, write=True) as transaction:
            raw = bytearray(transaction.get(key(1)))
            raw[-1] ^= 1
            transaction.put(key(1), bytes(raw))
            transaction.put(key(2), b"short")
    counters = Counters()
    tier = opened(tmp_path, counters)
    assert tier.get([key(1), key(2)], 64, -1) == {}
    assert counters.corrupt.value == 2
    tier.put([(key(1), made(1))])
    assert set(tier.get([key(1)], 64, -1)) == {key(1)}
    tier.close()


def test_file_that_is_no_database_is_made_anew(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "embeddings" / "data.mdb").write_bytes(b"\xff" * 20_000)
    counters = Counters()
    tier = opened(tmp_path, counters)
    assert counters.corrupt.value == 1
    tier.put([(key(1), made(1))])
    assert set(tier.get([key(1)], 64, -1)) == {key(1)}
    tier.close()


def test_file_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    # In a process of its own: to read behind the end of a file kills.
    code = """
import os, sys
from pathlib import Path
from tests.rag.cache.test_disk import Counters, key, made, opened
for part in (1, 6, 11):
    path = Path(sys.argv[1]) / str(part)
    path.mkdir()
    tier = opened(path)
    tier.put([(key(number), made(number)) for number in range(1_000)])
    tier.close()
    data = path / "embeddings" / "data.mdb"
    os.truncate(data, data.stat().st_size // 4_096 * part // 16 * 4_096)
    counters = Counters()
    tier = opened(path, counters)
    assert counters.corrupt.value == 1
    assert tier.get([key(number) for number in range(1_000)], 64, -1) == {}
    tier.put([(key(1), made(1))])
    assert set(tier.get([key(1)], 64, -1)) == {key(1)}
    tier.close()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 0


def test_file_that_another_process_lengthens_meanwhile_was_not_cut_off(tmp_path: Path) -> None:
    tier = opened(tmp_path)

    class Data(type(tmp_path)):  # type: ignore[misc]
        def stat(self, **how: bool) -> os.stat_result:
            found = super().stat(**how)
            tier.put([(key(number), made(number)) for number in range(1_000)])
            return found

    data = Data(tmp_path / "embeddings" / "data.mdb")
    assert not _is_short(data, tier._env)
    tier.close()
    os.truncate(data, 8_192)
    with lmdb.open(str(tmp_path / "embeddings"), max_dbs=3, lock=False) as env:
        assert _is_short(tmp_path / "embeddings" / "data.mdb", env)


def break_pages(data: Path) -> None:
    """Take from all pages with vectors what says of which kind they are."""
    raw = bytearray(data.read_bytes())
    for page in range(2 * 4_096, len(raw), 4_096):
        if b"LSE1" in raw[page : page + 4_096]:
            raw[page + 10 : page + 12] = bytes(2)
    with data.open("r+b") as file:
        file.write(raw)


def test_file_whose_damage_shows_later_is_made_anew(tmp_path: Path) -> None:
    counters = Counters()
    compartment = Compartment(b"1" * 16, tmp_path / "embeddings")
    keys = [key(number) for number in range(200)]

    def disks() -> Disks:
        return Disks(EmbeddingCacheSettings(disk_bytes=1 << 20), counters)

    def write(to: Disks) -> None:
        for number in range(200):
            to.put(compartment, key(number), made(number))
        to.flush()

    first = disks()
    write(first)
    first.close()
    break_pages(tmp_path / "embeddings" / "data.mdb")
    second = disks()
    assert second.get(compartment, keys, 64, -1) == {}
    assert counters.corrupt.value == 1
    write(second)
    assert set(second.get(compartment, keys, 64, -1)) == set(keys)
    break_pages(tmp_path / "embeddings" / "data.mdb")
    assert second.get(compartment, keys, 64, -1) == {}
    assert (counters.corrupt.value, counters.dropped.value) == (2, 0)
    write(second)  # left alone for a while, for it was damaged just before
    assert counters.dropped.value == 200
    second.close()
    third = disks()
    write(third)
    assert set(third.get(compartment, keys, 64, -1)) == set(keys)
    third.close()


def test_write_that_fails_in_whatever_way_keeps_no_flush_and_no_other_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters()
    disks = Disks(EmbeddingCacheSettings(), counters)
    compartment = Compartment(b"1" * 16, tmp_path / "embeddings")

    def fail(*given: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("llmspell.rag.cache.disk.encode", fail)
        disks.put(compartment, key(1), made(1))
        within_seconds(lambda: [disks.flush()])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)  # one runs, and no other is needed
        disks.put(compartment, key(2), made(2))
    within_seconds(lambda: [disks.close()])
    assert counters.dropped.value == 1
    again = Disks(EmbeddingCacheSettings(), counters)
    assert list(again.get(compartment, [key(1), key(2)], 64, -1)) == [key(2)]
    again.close()


def test_thread_that_cannot_be_started_costs_what_was_put_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = Counters()
    disks = Disks(EmbeddingCacheSettings(), counters)
    compartment = Compartment(b"1" * 16, tmp_path / "embeddings")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        disks.put(compartment, key(1), made(1))
    disks.put(compartment, key(2), made(2))
    within_seconds(lambda: [disks.flush()])
    assert list(disks.get(compartment, [key(1), key(2)], 64, -1)) == [key(2)]
    assert counters.dropped.value == 1
    disks.close()


def test_damage_that_a_write_meets_is_mended_by_it(tmp_path: Path) -> None:
    counters = Counters()
    compartment = Compartment(b"1" * 16, tmp_path / "embeddings")
    opened(tmp_path).close()
    with lmdb.open(str(tmp_path / "embeddings"), max_dbs=3) as env:
        meta = env.open_db(b"meta")
        with env.begin(meta, write=True) as transaction:
            transaction.put(b"bytes", b"few")
    disks = Disks(EmbeddingCacheSettings(), counters)
    assert disks.get(compartment, [key(1)], 64, -1) == {}
    assert disks.state() == (0, 0)
    disks.put(compartment, key(1), made(1))
    disks.flush()
    assert set(disks.get(compartment, [key(1)], 64, -1)) == {key(1)}
    assert (counters.corrupt.value, counters.dropped.value) == (1, 0)
    disks.close()


def test_page_that_leads_behind_the_file_kills_nobody(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from tests.rag.cache.test_disk import Counters, key, made, opened
keys = [key(number) for number in range(200)]
tier = opened(Path(sys.argv[1]))
tier.put([(one, made(number)) for number, one in enumerate(keys)])
tier.close()
data = Path(sys.argv[1]) / "embeddings" / "data.mdb"
raw = bytearray(data.read_bytes())
for page in range(2 * 4_096, len(raw), 4_096):
    if b"LSE1" in raw[page : page + 4_096]:
        raw[page + 16 : page + 16 + 12] = bytes((0xF8, 0xFF)) * 6  # places of its entries
data.write_bytes(raw)
tier = opened(Path(sys.argv[1]))
tier.get(keys, 64, -1)
tier.close()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 0


def test_length_beyond_any_vector_is_damage(tmp_path: Path) -> None:
    tier = opened(tmp_path)
    tier.put([(key(1), made(1))])
    tier.close()
    with lmdb.open(str(tmp_path / "embeddings"), max_dbs=3) as env:
        vectors = env.open_db(b"vectors")
        with env.begin(vectors, write=True) as transaction:
            transaction.put(key(1), bytes(2 << 20))
    counters = Counters()
    tier = opened(tmp_path, counters)
    assert tier.get([key(1)], 64, -1) == {}
    assert counters.corrupt.value == 1
    with pytest.raises(lmdb.CorruptedError, match="a value of"):
        tier.put([(key(1), made(1))])
    tier.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_disk_is_used_where_a_file_can_not_be_lengthened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if is_there:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    else:
        monkeypatch.delattr(os, "posix_fallocate")
    tier = opened(tmp_path)
    tier.put([(key(1), made(1))])
    tier.close()
    tier = opened(tmp_path)
    assert set(tier.get([key(1)], 64, -1)) == {key(1)}
    tier.close()
