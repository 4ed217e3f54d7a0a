"""Many processes and threads append at once, are forked, and are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llmspell.security import AuditLog, read_audit, verify_audit
from tests.crash.trace import ROOT


def start(log: Path, acknowledged: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    module = "tests.security.audit.appending"
    return subprocess.Popen(
        [sys.executable, "-m", module, str(log), str(acknowledged), name, str(count)], cwd=ROOT
    )


def subjects(log: Path) -> list[str]:
    return [record.subject for record in read_audit(log) if record.kind == "key.change"]


def test_processes_lose_nothing_and_keep_one_chain(tmp_path: Path) -> None:
    started = [start(tmp_path / "log", tmp_path / "notes", str(n), 200) for n in range(5)]
    for process in started:
        assert process.wait(timeout=120) == 0
    found = subjects(tmp_path / "log")
    assert sorted(found) == sorted((tmp_path / "notes").read_text().split())
    assert len(found) == 1000
    for name in range(5):
        own = [one for one in found if one.startswith(f"{name}/")]
        assert own == sorted(own, key=lambda one: int(one.split("/")[1].rstrip("x")))
    report = verify_audit(tmp_path / "log")
    assert (report.is_sound, report.records, report.torn) == (True, 1000, 0)


@pytest.mark.parametrize("seed", range(int(os.environ.get("LLMSPELL_AUDIT_KILLS", "6"))))
def test_killed_processes_lose_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    log, notes = tmp_path / "log", tmp_path / "notes"
    for turn in range(3):
        started = [start(log, notes, f"{turn}-{n}", 100_000) for n in range(2)]
        begun = notes.stat().st_size if notes.exists() else 0
        while not notes.exists() or notes.stat().st_size < begun + rng.randrange(200, 20_000):
            assert all(process.poll() is None for process in started)
            time.sleep(0.001)
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.wait()
    with AuditLog.open(log) as opened:
        opened.append("key.change", subject="after")
        found = set(subjects(log))
    assert found >= set(notes.read_text().split())
    report = verify_audit(log)
    assert report.is_sound, report.problem
    assert report.head.seq == len(list(read_audit(log)))


def _append(log: AuditLog, name: str) -> None:
    for number in range(50):
        log.append("key.change", subject=f"{name}/{number}")


def test_forked_children_go_on_by_themselves(tmp_path: Path) -> None:
    """Also where a thread of the parent is in the midst of a write when it forks."""
    context = multiprocessing.get_context("fork")
    log = AuditLog.open(tmp_path / "log", segment_bytes=1 << 16, lock_timeout=60)
    for _ in range(3):
        log.append("secret.access", subject="token")
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            log.append("key.change", subject=f"thread/{number}")
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    children = [context.Process(target=_append, args=(log, str(n))) for n in range(4)]
    for child in children:
        child.start()
    _append(log, "parent")
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    stop.set()
    thread.join()
    log.close()
    found = subjects(tmp_path / "log")
    for name in ("parent", *"0123"):
        assert [s for s in found if s.startswith(f"{name}/")] == [f"{name}/{n}" for n in range(50)]
    # The one that was counted is told of once, by the process that counted it.
    counted = [r.count for r in read_audit(tmp_path / "log", kind="secret.access")]
    assert counted == [1, 1, 1]
    assert verify_audit(tmp_path / "log").is_sound


def test_log_that_is_written_can_be_verified(tmp_path: Path) -> None:
    writer = start(tmp_path / "log", tmp_path / "notes", "w", 100_000)
    while not (tmp_path / "log" / "header.json").exists():
        time.sleep(0.01)
    try:
        last = None
        for _ in range(20):
            report = verify_audit(tmp_path / "log", last)
            assert report.is_sound, report.problem
            last = report.head
    finally:
        writer.kill()
        writer.wait()


def test_counts_are_recorded_when_the_interpreter_ends(tmp_path: Path) -> None:
    program = """
import sys
from llmspell.security import AuditLog
log = AuditLog.open(sys.argv[1], count_interval=3600)
for _ in range(10):
    log.append("tool.run", subject="x", outcome="denied")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert [record.count for record in read_audit(tmp_path)] == [1, 1, 8]
