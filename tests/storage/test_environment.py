"""An LMDB environment: complete or absent, open once, closed behind the last reader."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.errors import (
    ClosedError,
    CorruptFile,
    DatabaseLocked,
    StorageFull,
    UseAfterFork,
)
from llmspell.storage import readers
from llmspell.storage.environment import Environment
from llmspell.storage.permits import Permit
from llmspell.storage.transaction import Transaction

NAMES = (b"one", b"two")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Environment.create(
        tmp_path / "env", NAMES, lambda txn, dbs: txn.put(b"k", b"v", db=dbs[b"one"])
    )
    return tmp_path / "env"


def open_env(path: Path, map_size: int = 64 << 20) -> Environment:
    return Environment(path, NAMES, map_size=map_size)


def in_child(call: Callable[[], bool]) -> int:
    """Exit status of a forked child that runs ``call``."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = int(call())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_new_environment_holds_its_first_content(path: Path) -> None:
    env = open_env(path)
    assert env.get_many(b"one", [b"k", b"no"]) == [b"v", None]
    env.close()


def test_failed_creation_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    def fail(txn: object, databases: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Environment.create(tmp_path / "env", NAMES, fail)
    assert not (tmp_path / "env").exists()
    Environment.create(tmp_path / "env", NAMES, lambda txn, dbs: None)
    open_env(tmp_path / "env").close()


def test_second_open_in_the_process_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(path)
    env = open_env(path)
    for same in (path, tmp_path / "alias"):
        with pytest.raises(DatabaseLocked, match="open in this process already"):
            open_env(same)
    env.close()
    open_env(path).close()


def test_forgotten_environment_can_be_opened_again(path: Path) -> None:
    open_env(path)
    open_env(path).close()


def test_missing_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    with pytest.raises(CorruptFile, match=r"data\.mdb is missing"):
        open_env(tmp_path / "env")


def test_missing_database_is_named(tmp_path: Path) -> None:
    Environment.create(tmp_path / "env", (b"one",), lambda txn, dbs: None)
    with pytest.raises(CorruptFile, match="a database is missing"):
        open_env(tmp_path / "env")


def test_file_that_is_no_lmdb_is_named(path: Path) -> None:
    (path / "data.mdb").write_bytes(b"\xff" * 16384)
    with pytest.raises(CorruptFile):
        open_env(path)


def test_write_is_undone_where_its_body_fails(path: Path) -> None:
    env = open_env(path)

    def fail(txn: Transaction) -> None:
        txn.put(b"k", b"changed", db=env.databases[b"one"])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        env.write(fail)
    assert env.get_many(b"one", [b"k"]) == [b"v"]
    env.close()


def test_full_map_is_named_and_writes_nothing(path: Path) -> None:
    env = open_env(path, map_size=1 << 20)

    def fill(txn: Transaction) -> None:
        for i in range(3000):
            txn.put(str(i).encode(), b"x" * 1000, db=env.databases[b"two"])

    with pytest.raises(StorageFull, match="map_size"):
        env.write(fill)
    assert env.get_many(b"two", [b"0"]) == [None]
    env.write(lambda txn: txn.put(b"small", b"x", db=env.databases[b"two"]))
    env.close()


def test_closed_environment_refuses(path: Path) -> None:
    env = open_env(path)
    env.close()
    env.close()
    with pytest.raises(ClosedError):
        env.get_many(b"one", [b"k"])
    with pytest.raises(ClosedError), env.read():
        pass
    with pytest.raises(ClosedError):
        env.write(lambda txn: None)


def test_permit_that_an_interrupt_let_fall_does_not_keep_the_environment_open(path: Path) -> None:
    env = open_env(path)
    assert env.get_many(b"one", [b"k"]) == [b"v"]
    assert env._permits.take() is not None
    env.close()


def test_close_waits_for_a_reader_that_has_only_just_taken_its_permit(path: Path) -> None:
    env = open_env(path)
    assert env.get_many(b"one", [b"k"]) == [b"v"]  # its permit was this thread's last
    taken, may_go_on = threading.Event(), threading.Event()

    class Idle(deque[Permit]):
        def pop(self) -> Permit:  # type: ignore[override]
            permit = super().pop()
            if threading.current_thread() is reader:
                taken.set()
                assert may_go_on.wait(20)
            return permit

    env._permits._idle = env._permits._returned = Idle(env._permits._idle)
    seen: list[bytes | None] = []
    reader = threading.Thread(target=lambda: seen.extend(env.get_many(b"one", [b"k"])))
    reader.start()
    assert taken.wait(20)
    assert not env._permits.take_all_back(0.01)
    may_go_on.set()
    env.close()
    reader.join(20)
    assert seen == [b"v"]


def test_close_waits_for_the_last_reader(path: Path) -> None:
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
    closer = threading.Thread(target=env.close)
    closer.start()
    time.sleep(0.05)
    assert closer.is_alive()
    leave.set()
    closer.join(10)
    reader.join(10)
    assert not closer.is_alive()
    assert seen == [b"v"]


def test_environment_from_before_fork_is_refused_in_the_child(path: Path) -> None:
    env = open_env(path)
    env.get_many(b"one", [b"k"])

    def child() -> bool:
        refused = 0
        for use in (lambda: env.get_many(b"one", [b"k"]), lambda: open_env(path)):
            try:
                use()
            except UseAfterFork:
                refused += 1
        env.close()
        return refused != 2

    assert in_child(child) == 0
    assert env.get_many(b"one", [b"k"]) == [b"v"]
    env.close()


def test_environment_that_is_never_closed_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, llmspell\n"
        "db = llmspell.open(sys.argv[1])\n"
        "acme = db.create_tenant(llmspell.TenantConfig(id='acme'))\n"
        "acme.upsert([1], [[1.0, 2.0]])\n"
        "print(len(acme.search([1.0, 2.0])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_closing_does_not_wait_for_what_an_interrupt_took_from_its_own_thread(
    path: Path,
) -> None:
    env = open_env(path)
    permit = env._admit()  # as it is where an exception comes before the try behind it
    read = env.read()
    read.__enter__()  # and where it comes between the entry and the body of the with
    env.close()
    assert permit.thread == threading.get_ident()
    with pytest.raises(ClosedError):
        env.get_many(b"one", [b"k"])
    del read


def test_places_of_dead_readers_are_taken_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.healing.MAX_READERS", 4)
    env = open_env(path)
    # Two places at once, by the binding itself: what is open here is refused to a forked child.
    reading = (
        "import lmdb, os, signal, sys\n"
        "env = lmdb.open(sys.argv[1], max_dbs=2, max_readers=4)\n"
        "open_ones = [env.begin() for _ in range(4)]\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", reading, str(path)], check=False)
    assert killed.returncode == -9
    assert env.get_many(b"one", [b"k"]) == [b"v"]
    with env.read() as one, env.read() as other:
        assert one.get(b"k", db=env.databases[b"one"]) == b"v"
        assert other.get(b"k", db=env.databases[b"one"]) == b"v"
    env.close()


READ = """
import sys, time
from pathlib import Path
from llmspell.storage.environment import Environment
from llmspell.storage.permits import Permit
env = Environment(Path(sys.argv[1]), (b"one", b"two"), map_size=64 << 20)
with env.read():
    print("reads", flush=True)
    time.sleep(60)
"""


def kill_a_reader(path: Path, before: Callable[[], object] = lambda: None) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READ, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reads\n"
    before()
    reader.kill()
    reader.communicate()


def test_map_filled_up_by_a_reader_that_was_killed_takes_writes_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a write that comes a second behind the last look finds it dead by itself.
    monkeypatch.setattr(readers, "LOOKED_AFTER_SECONDS", math.inf)
    env = open_env(path)

    def replace() -> None:
        env.write(lambda txn: txn.put(b"k", bytes(8 << 20), db=env.databases[b"one"]))

    def fill() -> None:
        with pytest.raises(StorageFull):
            for _ in range(20):
                replace()

    kill_a_reader(path, fill)
    with pytest.raises(StorageFull):
        replace()
    replace()
    env.close()
