"""Appending to a log and reading it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmspell.errors import AuditDamaged, AuditFailed, ClosedError, ConfigError, InputError
from llmspell.security import AuditKind, AuditLog, Secret, read_audit, verify_audit
from llmspell.security.audit import Event
from tests.security.audit.logs import KEY, fill, lines_of


def test_record_comes_back_as_it_was_given(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with AuditLog.open(tmp_path / "log") as log:
        record = log.append(
            AuditKind.TENANT_DROP, subject="acme", tenant="acme", details={"b": 1, "a": [1, "x"]}
        )
        assert record is not None
        assert list(log.records()) == [record]
    assert (record.seq, record.kind, record.tenant) == (1, "tenant.drop", "acme")
    assert (record.subject, record.outcome, record.count) == ("acme", "done", 1)
    assert list(record.details.items()) == [("a", [1, "x"]), ("b", 1)]
    assert before - timedelta(seconds=1) < record.time < datetime.now(UTC) + timedelta(seconds=1)


def test_a_stranger_can_check_a_line_with_sha256_alone(tmp_path: Path) -> None:
    fill(tmp_path / "log", 3)
    last = hashlib.sha256((tmp_path / "log/header.json").read_bytes()).hexdigest()
    for line in lines_of(tmp_path / "log"):
        body, found = line[:-1].rsplit(b',"hash":"', 1)
        assert hashlib.sha256(body + b"}").hexdigest() == found.decode().removesuffix('"}')
        assert json.loads(line)["prev"] == last
        last = json.loads(line)["hash"]


def test_log_goes_on_where_it_was(tmp_path: Path) -> None:
    for count in (3, 0, 2):
        fill(tmp_path, count)
    assert [record.seq for record in read_audit(tmp_path)] == [1, 2, 3, 4, 5]
    assert verify_audit(tmp_path).is_sound


def test_chain_goes_on_over_segments(tmp_path: Path) -> None:
    fill(tmp_path, 500)
    segments = sorted(tmp_path.glob("*.jsonl"))
    assert len(segments) > 2
    assert all(file.stat().st_size <= 1 << 16 for file in segments)
    report = verify_audit(tmp_path)
    assert (report.is_sound, report.records, report.segments) == (True, 500, len(segments))
    assert report.size == sum(file.stat().st_size for file in segments)
    fill(tmp_path, 1)
    assert verify_audit(tmp_path).records == 501


def test_records_are_filtered(tmp_path: Path) -> None:
    fill(tmp_path, 9)
    with AuditLog.open(tmp_path) as log:
        middle = list(log.records())[4].time
        log.append("key.change", subject="master")
        assert [r.seq for r in log.records(tenant="t1")] == [2, 5, 8]
        assert [r.seq for r in log.records(kind="key.change")] == [10]
        assert [r.seq for r in log.records(since=middle)] == [5, 6, 7, 8, 9, 10]
        assert [r.seq for r in log.records(until=middle, tenant="t0")] == [1, 4]
        with pytest.raises(InputError):
            log.records(since=datetime(2026, 1, 1))


def test_many_are_appended_at_once(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, segment_bytes=1 << 16) as log:
        events = [Event("tenant.create", f"t{n}", "done", f"t{n}", {"n": n}) for n in range(1000)]
        assert log.append_many(events) == 1000
        assert log.append_many([]) == 0
    assert [record.details["n"] for record in read_audit(tmp_path)] == list(range(1000))
    assert verify_audit(tmp_path).is_sound


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        fill(tmp_path / "log", 1)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    for file in (tmp_path / "log").glob("*.json*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("is_there", [False, True])
def test_a_new_log_has_the_names_of_all_its_directories_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """Also of those that a process made which was killed before it had synced them."""
    path = tmp_path / "a" / "b" / "log"
    if is_there:
        path.mkdir(mode=0o700, parents=True)
    synced = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with AuditLog.open(path):
        pass
    for directory in (path, path.parent, tmp_path / "a", tmp_path):
        assert directory.stat().st_ino in synced, directory
    synced.clear()
    with AuditLog.open(path):
        pass
    assert tmp_path.stat().st_ino not in synced


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702])
def test_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put a link in the place of a file, and have another one written to."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log").chmod(mode)
    with pytest.raises(ConfigError, match="chmod"):
        AuditLog.open(tmp_path / "log")
    assert list((tmp_path / "log").iterdir()) == []


def test_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "log", 1)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(ConfigError, match="run as its owner"):
        AuditLog.open(tmp_path / "log")
    assert verify_audit(tmp_path / "log").is_sound


def test_key_shows_nowhere(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, key=b"not to be shown!")
    log.append("key.change", subject="x")
    writer = log._recorder._writer
    assert "not to be" not in f"{log!r} {vars(log)!r} {writer.chain!r} {vars(writer)!r}"
    log.close()


def test_a_link_in_place_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "log", 2)
    (segment,) = (tmp_path / "log").glob("*.jsonl")
    segment.rename(tmp_path / "elsewhere")
    segment.symlink_to(tmp_path / "elsewhere")
    report = verify_audit(tmp_path / "log")
    assert report.problem is not None
    assert report.problem.reason == "unreadable"
    with pytest.raises((AuditFailed, AuditDamaged)):
        AuditLog.open(tmp_path / "log")


def test_a_pipe_in_place_of_a_segment_blocks_nobody(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (segment,) = tmp_path.glob("*.jsonl")
    segment.unlink()
    os.mkfifo(segment)
    with pytest.raises((AuditFailed, AuditDamaged)):
        AuditLog.open(tmp_path)
    with pytest.raises(AuditDamaged):
        list(read_audit(tmp_path)) or verify_audit(tmp_path, "0" * 32 + ":1:" + "0" * 64)


@pytest.mark.parametrize("key", [KEY, Secret(KEY), Secret("a passphrase of some length")])
def test_keyed_log_needs_its_key(tmp_path: Path, key: bytes | Secret[bytes]) -> None:
    with AuditLog.open(tmp_path, key=key) as log:
        log.append("key.change", subject="master")
        log.append("key.change", subject="other")
    assert verify_audit(tmp_path, key=key).is_sound
    for wrong in (None, b"another key of 16", Secret("another key of 16")):
        with pytest.raises(ConfigError):
            verify_audit(tmp_path, key=wrong)
        with pytest.raises(ConfigError):
            AuditLog.open(tmp_path, key=wrong)
    # Without it, it can be read, and is no less there.
    assert [record.subject for record in read_audit(tmp_path)] == ["master", "other"]
    assert verify_audit(tmp_path, key=key).records == 2


def test_plain_log_with_a_key_is_refused(tmp_path: Path) -> None:
    """Else who can write the files could put a plain chain in place of a keyed one."""
    fill(tmp_path, 1)
    with pytest.raises(ConfigError, match="replaced"):
        verify_audit(tmp_path, key=KEY)
    with pytest.raises(ConfigError, match="replaced"):
        AuditLog.open(tmp_path, key=KEY)


@pytest.mark.parametrize(
    "arguments",
    [
        {"key": b"short"},
        {"key": 7},
        {"segment_bytes": 1000},
        {"segment_bytes": 1e9},
        {"count_interval": -1},
        {"count_interval": float("inf")},
        {"lock_timeout": "5"},
    ],
)
def test_settings_out_of_range(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        AuditLog.open(tmp_path / "log", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "denial"},
        {"kind": "Tenant.Drop"},
        {"kind": "a.b\n"},
        {"kind": "a." + "b" * 64},
        {"outcome": "maybe"},
        {"outcome": ["done"]},
        {"tenant": ""},
        {"tenant": "x" * 129},
        {"tenant": b"acme"},
        {"subject": b"x"},
        {"details": [1]},
    ],
)
def test_what_is_no_event_is_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    given = {"kind": "tool.run", "subject": "grep", **arguments}
    with AuditLog.open(tmp_path) as log:
        with pytest.raises(InputError):
            log.append(given.pop("kind"), **given)  # type: ignore[arg-type]
        assert list(log.records()) == []


def test_closed_log_refuses(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path)
    log.close()
    log.close()
    for kind in ("key.change", "secret.access"):
        with pytest.raises(ClosedError):
            log.append(kind, subject="x")
    with pytest.raises(ClosedError):
        log.head()
    with pytest.raises(ClosedError):
        log.flush()


def test_where_no_log_is_nothing_is_made(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(AuditDamaged, match="no audit log"):
            verify_audit(path)
        with pytest.raises(AuditDamaged):
            read_audit(path)
    assert list(tmp_path.iterdir()) == []


def test_locked_log_raises_after_the_timeout(tmp_path: Path) -> None:
    from llmspell._hot import LockFile

    log = AuditLog.open(tmp_path, lock_timeout=0)
    lock = LockFile(tmp_path / "lock")
    assert lock.lock() is not None
    with pytest.raises(AuditFailed, match="locked"):
        log.append("key.change", subject="x")
    lock.close()
    assert log.append("key.change", subject="x") is not None
    log.close()


def test_threads_share_a_log(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, segment_bytes=1 << 16) as log:

        def work(name: int) -> None:
            for number in range(50):
                log.append("key.change", subject=f"{name}/{number}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {record.subject for record in log.records()}
    assert found == {f"{name}/{number}" for name in range(8) for number in range(50)}
    assert verify_audit(tmp_path).records == 400


def test_two_objects_of_one_process_share_a_log(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path) as one, AuditLog.open(tmp_path) as other:
        for number in range(10):
            (one, other)[number % 2].append("key.change", subject=str(number))
        assert one.head() == other.head() == verify_audit(tmp_path).head
    assert [record.subject for record in read_audit(tmp_path)] == [str(n) for n in range(10)]


def test_another_log_in_its_place_is_refused(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "log")
    log.append("key.change", subject="x")
    (tmp_path / "log").rename(tmp_path / "old")
    with pytest.raises(AuditFailed):
        log.append("key.change", subject="y")
    fill(tmp_path / "log", 1)
    with pytest.raises(AuditDamaged, match="not that of the log"):
        log.append("key.change", subject="y")
    log.close()
