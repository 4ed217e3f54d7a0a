"""The lock that keeps a second writer out."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from llmspell.errors import DatabaseLocked
from llmspell.storage.files import FileLock, make_directory

HOLD = """
import sys, time
from pathlib import Path
from llmspell.storage.files import FileLock
lock = FileLock(Path(sys.argv[1]), timeout=0, holder="it")
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def descriptors(directory: Path) -> int:
    """Files beneath a directory that this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found += os.readlink(f"/proc/self/fd/{name}").startswith(f"{directory}/")
    return found


def test_second_holder_learns_who_has_the_lock(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    with pytest.raises(DatabaseLocked, match=f"room is written by process {holder.pid}"):
        FileLock(tmp_path / "lock", timeout=0.05, holder="room")
    holder.kill()
    holder.communicate()


def test_killed_holder_leaves_nothing_locked(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    FileLock(tmp_path / "lock", timeout=0, holder="room").release()


def test_same_process_is_refused_like_a_stranger(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", timeout=0, holder="room")
    with pytest.raises(DatabaseLocked):
        FileLock(tmp_path / "lock", timeout=0, holder="room")
    lock.release()
    lock.release()
    FileLock(tmp_path / "lock", timeout=0, holder="room").release()


HOLDER = """
import os, sys
from pathlib import Path
from llmspell.storage.files import FileLock
lock = FileLock(Path(sys.argv[1]), timeout=0, holder="room")
if os.fork() == 0:
    sys.stdin.read(1)
    os._exit(0)
print("forked", flush=True)
sys.stdin.read(1)
"""


def test_forked_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        with pytest.raises(DatabaseLocked):
            FileLock(tmp_path / "lock", timeout=0.1, holder="room")
        parent.kill()
        parent.wait()
        lock = FileLock(tmp_path / "lock", timeout=5, holder="room")
        assert lock.is_heir
        lock.release()


def test_child_forked_beside_threads_that_lock_has_no_descriptor(tmp_path: Path) -> None:
    stop = threading.Event()

    def lock(name: str) -> None:
        while not stop.is_set():
            FileLock(tmp_path / name, timeout=0, holder="room").release()

    threads = [threading.Thread(target=lock, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                os._exit(descriptors(tmp_path))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_lock_that_an_exception_lets_fall_is_given_up(tmp_path: Path) -> None:
    open_before = descriptors(tmp_path)
    lock = FileLock(tmp_path / "lock", timeout=0, holder="room")
    assert descriptors(tmp_path) == open_before + 1
    del lock
    assert descriptors(tmp_path) == open_before
    FileLock(tmp_path / "lock", timeout=0, holder="room").release()


def test_signals_while_locks_are_taken_leave_no_descriptor(tmp_path: Path) -> None:
    is_armed = False
    interrupted = 0

    def interrupt(*_: object) -> None:
        if is_armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    # A signal that meets a finalizer of what tests before this one left behind is lost there.
    gc.collect()
    gc.disable()
    try:
        for i in range(5_000):
            try:
                is_armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + i % 60))
                with FileLock(tmp_path / "lock", timeout=0, holder="room"):
                    pass
                is_armed = False
            except KeyboardInterrupt:
                is_armed = False
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interrupted
    assert descriptors(tmp_path) == 0
    FileLock(tmp_path / "lock", timeout=0, holder="room").release()


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_taking_the_lock_again_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    FileLock(path, timeout=0, holder="room").release()
    os.utime(path, ns=(0, 0))
    lock = FileLock(path, timeout=0, holder="room")
    assert path.stat().st_mtime_ns == 0
    assert path.read_text() == str(os.getpid())
    lock.release()


def test_name_of_the_last_holder_gives_way_whole(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("1" * 20)
    FileLock(path, timeout=0, holder="room").release()
    assert path.read_text() == str(os.getpid())
