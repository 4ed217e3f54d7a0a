"""After a power cut at any moment, every acknowledged step is there and no step by halves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmspell.storage import Durability
from tests.crash.disk import Disk
from tests.crash.replay import DATA, TRACE, USAGE, Recording
from tests.crash.trace import ROOT, Entry, Op, run_recorded

STATES = int(os.environ.get("LLMSPELL_POWER_CUT_STATES", "2000"))
STEPS = int(os.environ.get("LLMSPELL_POWER_CUT_STEPS", "100"))
WORKERS = 2


def record(path: Path, durability: Durability) -> Path:
    """A directory with the trace of the script, what quotas showed, and the data it left."""
    watched = path / "watched"
    watched.mkdir()
    run = run_recorded(
        "tests.crash.script",
        str(watched / DATA),
        str(path / USAGE),
        str(STEPS),
        durability,
        root=watched,
        trace=path / TRACE,
    )
    assert run.returncode == 0, run.stderr
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recording"), "sync")


def test_recording_misses_nothing_that_the_program_wrote(recording: Path) -> None:
    disk = Disk()
    for entry in Recording(recording).entries:
        disk.play(entry)
    played = dict(disk.files())
    on_disk = {
        str(path.relative_to(recording / "watched")): path
        for path in (recording / "watched").rglob("*")
        if path.is_file()
    }
    assert played.keys() == on_disk.keys()
    assert any(file.copies for file in played.values()), "no mapped file was seen"
    for name, file in played.items():
        if not file.copies:
            assert file.now() == on_disk[name].read_bytes(), name


def test_recording_covers_what_a_power_cut_may_meet(recording: Path) -> None:
    entries = Recording(recording).entries
    ops = {entry.op for entry in entries}
    assert ops >= {Op.CREATE, Op.MKDIR, Op.RENAME, Op.REMOVE, Op.WRITE, Op.RESIZE, Op.SYNC}
    assert any(entry.op is Op.WRITE and entry.flags for entry in entries), "no O_DSYNC"
    assert sum(entry.op is Op.RENAME for entry in entries) > 10, "hardly a snapshot was written"


def start(recording: Path, first: int, count: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.replay", recording, str(first), str(count), *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check_states(recording: Path, states: int) -> None:
    share = -(-states // WORKERS)
    workers = [start(recording, i * share, share) for i in range(WORKERS)]
    # All at once: one whose output nobody reads waits.
    with ThreadPoolExecutor(WORKERS) as readers:
        outputs = list(readers.map(lambda worker: worker.communicate()[0], workers))
    again = f"python -m tests.crash.replay {recording} SEED"
    for worker, output in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, f"died at its last state; {again}\n{output[-4000:]}"
        found = output.find("\nwrong ")
        assert found < 0, f"{again}\n{output[found : found + 8000]}"
        assert output.count("state ") == share


@pytest.mark.timeout(300 + STATES // 10)
def test_power_cut_loses_nothing_that_was_acknowledged(recording: Path) -> None:
    check_states(recording, STATES)


@pytest.mark.timeout(300 + STATES // 10)
@pytest.mark.parametrize("durability", ["batch", "async"])
def test_power_cut_loses_nothing_that_was_flushed(tmp_path: Path, durability: Durability) -> None:
    """Nor does it leave a call without those before it, or half of one."""
    check_states(record(tmp_path, durability), STATES // 4)


@pytest.mark.parametrize("forgotten", ["directories", "files"])
def test_missing_fsync_is_found(recording: Path, forgotten: str) -> None:
    """The model is worth nothing unless it finds a program that forgets to sync."""
    worker = start(recording, 0, 60, forgotten)
    output = worker.communicate()[0]
    # LMDB may crash on what such a program leaves: that is found, too.
    assert worker.returncode < 0 or output.count("\nwrong ") > 10


def test_cut_keeps_what_was_synced_and_any_sectors_of_the_rest(tmp_path: Path) -> None:
    disk = Disk()
    disk.play(Entry(Op.CREATE, 0, 1, 0, "file", b""))
    disk.play(Entry(Op.SYNC, 0, 99, 0, "", b""))  # an inode made before the recording: the root
    disk.play(Entry(Op.WRITE, 0, 1, 0, "", b"a" * 1024))
    disk.play(Entry(Op.SYNC, 0, 1, 0, "", b""))
    disk.play(Entry(Op.WRITE, 0, 1, 0, "", b"b" * 1024))
    disk.play(Entry(Op.CREATE, 0, 2, 0, "loose", b""))
    seen, names = set(), set()
    for seed in range(300):
        state = tmp_path / str(seed)
        disk.cut(random.Random(seed), Entry(Op.MARK, 0, 0, 0, "", b""), state)
        raw = (state / "file").read_bytes()
        seen.add((raw[:512], raw[512:]))
        names.add((state / "loose").exists())
    old, new = b"a" * 512, b"b" * 512
    assert seen == {(old, old), (old, new), (new, old), (new, new)}
    assert names == {True, False}
