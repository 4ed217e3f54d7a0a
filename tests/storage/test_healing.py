"""Behind a failed commit an environment is closed, opened again and put right before it serves."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from llmspell.errors import ClosedError, CommitFailed, CorruptFile, StorageError, StorageFull
from llmspell.storage import environment, healing
from llmspell.storage.environment import Environment
from llmspell.storage.transaction import Transaction
from tests.storage.failing_commit import fail_next_commit

NAMES = (b"one", b"two")
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Environment.create(
        tmp_path / "env", NAMES, lambda txn, dbs: txn.put(b"k", b"v", db=dbs[b"one"])
    )
    return tmp_path / "env"


def open_env(path: Path, *, has_one_writer: bool = True) -> Environment:
    return Environment(path, NAMES, map_size=64 << 20, has_one_writer=has_one_writer)


def put(env: Environment, value: bytes) -> None:
    env.write(lambda txn: txn.put(b"k", value, db=env.databases[b"one"]))


def held(env: Environment) -> bytes | None:
    return env.get_many(b"one", [b"k"])[0]


def fail_still(*given: object) -> int:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("is_there", [False, True])
def test_failed_commit_is_told_for_what_it_is_and_writes_go_on(path: Path, is_there: bool) -> None:
    env = open_env(path)
    put(env, b"before")
    fail_next_commit(env, is_there=is_there)
    with pytest.raises(
        CommitFailed, match="durable" if is_there else "nothing was written"
    ) as told:
        put(env, b"failed")
    assert told.value.is_durable is is_there
    assert held(env) == (b"failed" if is_there else b"before")
    put(env, b"after")
    assert held(env) == b"after"
    env.close()
    again = open_env(path)
    assert held(again) == b"after"
    again.close()


def test_where_others_may_write_too_nobody_claims_to_know(path: Path) -> None:
    env = open_env(path, has_one_writer=False)
    fail_next_commit(env, is_there=True)
    with pytest.raises(CommitFailed, match="others may have written") as told:
        put(env, b"failed")
    assert told.value.is_durable is None
    assert held(env) == b"failed"
    env.close()


def test_full_disk_stays_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell.storage.errors._is_full", lambda _: True)
    env = open_env(path)
    fail_next_commit(env, is_there=False)
    with pytest.raises(StorageFull):
        put(env, b"failed")
    assert held(env) == b"v"
    env.close()


def fail(txn: Transaction) -> None:
    raise RuntimeError("no")


def overflow(txn: Transaction) -> None:
    raise lmdb.MapFullError("full")


@pytest.mark.parametrize(("body", "raised"), [(fail, RuntimeError), (overflow, StorageFull)])
def test_what_fails_before_its_commit_closes_nothing(
    path: Path, body: Callable[[Transaction], None], raised: type[Exception]
) -> None:
    env = open_env(path)
    opened = env._env
    with pytest.raises(raised):
        env.write(body)
    assert env._env is opened
    env.close()


def test_reads_under_way_end_first_and_see_what_they_saw(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = open_env(path)
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def read() -> None:
        with env.read() as txn:
            inside.set()
            leave.wait(10)
            seen.append(txn.get(b"k", db=env.databases[b"one"]))

    reader = threading.Thread(target=read)
    reader.start()
    inside.wait(10)
    fail_next_commit(env, is_there=True)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "READERS_END_SECONDS", 0.01)
        with pytest.raises(CommitFailed, match="reads that began before it") as told:
            put(env, b"failed")
        assert told.value.is_durable is None
        with pytest.raises(StorageError, match="reads that began before it"):
            held(env)
    # One that comes now waits for the reader, and puts it right.
    late: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: late.append(held(env)))
    waiting.start()
    leave.set()
    reader.join(10)
    waiting.join(10)
    assert (seen, late) == ([b"v"], [b"failed"])
    env.close()


def test_reads_beside_failing_commits_are_right_or_wait(path: Path) -> None:
    env = open_env(path)
    done = threading.Event()
    seen: set[bytes | None] = set()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not done.wait(0.0005):  # else they keep the interpreter to themselves
                seen.add(held(env))
                with env.read() as txn:
                    seen.add(txn.get(b"k", db=env.databases[b"one"]))
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    written = {b"v"}
    for i in range(12):
        fail_next_commit(env, is_there=i % 2 == 0)
        with pytest.raises(CommitFailed):
            put(env, b"%d" % i)
        if i % 2 == 0:
            written.add(b"%d" % i)
    done.set()
    for reader in readers:
        reader.join(10)
    assert failures == []
    assert seen <= written
    env.close()


def test_file_that_does_not_hold_stays_closed_until_it_does(path: Path) -> None:
    env = open_env(path)
    put(env, b"before")
    fail_next_commit(env, is_there=False)
    opened: Any = env._env
    close = opened.close
    good = (path / "data.mdb").read_bytes()

    def damage() -> None:
        opened.close = close
        close()
        with (path / "data.mdb").open("r+b") as file:
            file.write(bytes(2 * PAGE))

    opened.close = damage
    with pytest.raises(CommitFailed, match="damaged") as told:
        put(env, b"failed")
    assert told.value.is_durable is None
    for use in (lambda: held(env), lambda: put(env, b"later")):
        with pytest.raises(CorruptFile):
            use()
    with (path / "data.mdb").open("r+b") as file:
        file.write(good[: 2 * PAGE])
    assert held(env) == b"before"
    env.close()


def with_pages(path: Path, more: int) -> None:
    """Let both roots count more pages than there are, of which none is used."""
    raw = bytearray((path / healing.DATA).read_bytes())
    for root in (0, PAGE):
        at = root + 16 + 120  # the number of the last page
        (last,) = struct.unpack_from("<Q", raw, at)
        struct.pack_into("<Q", raw, at, last + more)
    (path / healing.DATA).write_bytes(raw)


def test_pages_that_were_never_written_take_no_disk(path: Path) -> None:
    before = os.stat(path / healing.DATA).st_blocks
    with_pages(path, 1_000)
    env = open_env(path)
    put(env, b"after")
    assert held(env) == b"after"
    env.close()
    assert os.stat(path / healing.DATA).st_size > 1_000 * PAGE
    assert os.stat(path / healing.DATA).st_blocks < before + 100 * PAGE // 512


@pytest.mark.parametrize("bit", [17, 25, 29])
def test_root_that_counts_pages_beyond_its_map_is_named(path: Path, bit: int) -> None:
    with_pages(path, 1 << bit)
    size = os.stat(path / healing.DATA).st_size
    with pytest.raises(CorruptFile, match=rf"it counts \d+ bytes, but has {size}"):
        open_env(path)
    assert os.stat(path / healing.DATA).st_size == size


def test_file_that_lost_what_was_acknowledged_is_refused(path: Path) -> None:
    env = open_env(path)
    put(env, b"one")
    older = (path / "data.mdb").read_bytes()[: 2 * PAGE]
    put(env, b"two")
    put(env, b"three")
    fail_next_commit(env, is_there=False)
    with (path / "data.mdb").open("r+b") as file:
        file.write(older)
    with pytest.raises(CommitFailed, match="was acknowledged"):
        put(env, b"failed")
    with pytest.raises(CorruptFile, match="was acknowledged"):
        held(env)
    env.close()


def test_both_roots_lead_to_what_is_served(path: Path) -> None:
    env = open_env(path)
    put(env, b"before")
    fail_next_commit(env, is_there=False)
    with pytest.raises(CommitFailed):
        put(env, b"failed")
    raw = (path / "data.mdb").read_bytes()
    numbers, tables = [], set()
    for page in (0, PAGE):
        numbers += struct.unpack_from("<Q", raw, page + 144)
        tables.add(raw[page + 40 : page + 136])
    assert max(numbers) - min(numbers) == 1
    assert len(tables) == 1
    env.close()


class Disk:
    """What reads past the page cache give: the file, but for one page as it was."""

    def __init__(self, at: int, *, keeps: bool) -> None:
        self.at = at
        self.keeps = keeps
        self.written: list[int] = []

    def preadv(self, descriptor: int, buffers: Any, at: int) -> int:
        taken = os.preadv(descriptor, buffers, at)
        if self.at not in self.written or not self.keeps:
            buffers[0][self.at] ^= 1
        return taken

    def pwrite(self, descriptor: int, data: bytes, at: int) -> int:
        self.written.append(at)
        return os.pwrite(descriptor, data, at)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def test_page_that_the_disk_has_not_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    env = open_env(path)
    fail_next_commit(env, is_there=False)
    monkeypatch.setattr(healing, "os", disk := Disk(3 * PAGE, keeps=True))
    with caplog.at_level(logging.WARNING, "llmspell"), pytest.raises(CommitFailed) as told:
        put(env, b"failed")
    assert told.value.is_durable is False
    assert disk.written.count(3 * PAGE) == 1
    assert "1 pages beside the roots" in caplog.text
    env.close()


def test_disk_that_does_not_keep_what_is_written_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = open_env(path)
    fail_next_commit(env, is_there=False)
    with monkeypatch.context() as patch:
        patch.setattr(healing, "os", Disk(3 * PAGE, keeps=False))
        with pytest.raises(CommitFailed, match="doesn't keep what is written to page 3"):
            put(env, b"failed")
        with pytest.raises(CorruptFile, match="page 3"):
            held(env)
    assert held(env) == b"v"
    env.close()


def test_who_opens_it_next_puts_right_what_was_left(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    env = open_env(path)
    fail_next_commit(env, is_there=True)
    with monkeypatch.context() as patch:
        patch.setattr(healing, "_settle", fail_still)
        with pytest.raises(CommitFailed, match="Input/output error") as told:
            put(env, b"failed")
        assert told.value.is_durable is None
        env.close()
        with pytest.raises(StorageError, match="Input/output error"):
            open_env(path)
    with caplog.at_level(logging.WARNING, "llmspell"):
        again = open_env(path)
    assert "opened again behind a failed commit" in caplog.text
    assert held(again) == b"failed"
    assert [one.name for one in path.iterdir() if not one.name.endswith(".mdb")] == []
    again.close()


def test_closed_while_it_is_in_doubt_it_stays_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = open_env(path)
    fail_next_commit(env, is_there=False)
    with monkeypatch.context() as patch:
        patch.setattr(healing, "_settle", fail_still)
        with pytest.raises(CommitFailed):
            put(env, b"failed")
    env.close()
    with pytest.raises(ClosedError):
        held(env)
