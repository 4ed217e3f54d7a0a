"""What crashes and full disks leave of a write is set aside and recorded; a failed one is told."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from llmspell.errors import AuditDamaged, AuditFailed
from llmspell.security import AuditLog, note_denial, read_audit, verify_audit
from llmspell.security.audit import Event
from tests.security.audit.logs import KEY, fill, lines_of


def append(path: Path, subject: str, key: bytes | None = None) -> None:
    with AuditLog.open(path, key=key, segment_bytes=1 << 16) as log:
        log.append("key.change", subject=subject)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
@pytest.mark.parametrize("count", [1, 5, 170])
def test_write_cut_short_at_any_byte_is_set_aside(
    tmp_path: Path, key: bytes | None, count: int
) -> None:
    fill(tmp_path / "log", count, key=key)
    segment = sorted((tmp_path / "log").glob("*.jsonl"))[-1]
    whole = segment.read_bytes()
    last = whole.splitlines(True)[-1]
    for left in {1, 2, 50, len(last) // 2, len(last) - 2, len(last) - 1}:
        path = Path(shutil.copytree(tmp_path / "log", tmp_path / f"log-{left}"))
        torn = last[:left]
        (path / segment.name).write_bytes(whole[: -len(last)] + torn)
        report = verify_audit(path, key=key)
        assert report.problem is not None
        assert (report.problem.reason, report.records) == ("torn", count - 1)
        append(path, "after", key)
        report = verify_audit(path, key=key)
        assert (report.is_sound, report.torn, report.records) == (True, 1, count + 1)
        assert "set aside" in report.notices[0]
        note = list(read_audit(path, key=key))[-2]
        assert note.kind == "log.torn"
        assert note.details["bytes"] == left
        assert note.details["sha256"] == sha256(torn).hexdigest()
        assert (path / note.subject).read_bytes() == torn


@pytest.mark.parametrize("rubbish", [b"\0" * 4096, b"\n", b"\n\n\n{}\n", os.urandom(9000)])
def test_rubbish_behind_the_end_is_set_aside(tmp_path: Path, rubbish: bytes) -> None:
    fill(tmp_path, 5)
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(rubbish)
    assert not verify_audit(tmp_path).is_sound
    append(tmp_path, "after")
    assert verify_audit(tmp_path).records == 7
    assert next(tmp_path.glob("torn-*")).read_bytes() == rubbish


def test_segment_that_was_just_begun_may_be_empty_or_torn(tmp_path: Path) -> None:
    for number, raw in enumerate((b"", b'{"seq":')):
        path = tmp_path / str(number)
        fill(path, 5)
        (path / f"{6:019}.jsonl").write_bytes(raw)
        append(path, "after")
        report = verify_audit(path)
        assert report.is_sound
        assert report.records == (6 if not raw else 7)


def test_more_than_a_write_is_not_repaired(tmp_path: Path) -> None:
    fill(tmp_path, 190)
    (segment,) = tmp_path.glob("*.jsonl")
    raw = bytearray(segment.read_bytes())
    raw[len(raw) - 40_000] ^= 1
    segment.write_bytes(raw)
    with pytest.raises(AuditDamaged, match="verify"):
        AuditLog.open(tmp_path)
    assert segment.read_bytes() == raw
    for other in (b"x" * 200_000, b"\0" * 200_000):
        segment.write_bytes(other)
        with pytest.raises(AuditDamaged):
            AuditLog.open(tmp_path)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
def test_record_that_was_changed_before_the_last_is_not_set_aside(
    tmp_path: Path, key: bytes | None
) -> None:
    """Else who has no key could have any of the last records taken out by a flipped bit."""
    fill(tmp_path, 10, key=key)
    (segment,) = tmp_path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(True)
    for number in range(9):
        changed = lines[number].replace(b"tenant.update", b"tenant.updatf")
        segment.write_bytes(b"".join([*lines[:number], changed, *lines[number + 1 :]]))
        with pytest.raises(AuditDamaged, match="written later"):
            AuditLog.open(tmp_path, key=key)
    assert not list(tmp_path.glob("torn-*"))


def test_batch_of_which_sectors_are_missing_is_set_aside_and_no_more(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path) as log:
        for _ in range(2):
            log.append_many([Event("key.change", f"{n}", "done", None, None) for n in range(9)])
    (segment,) = tmp_path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(True)

    def holed(number: int) -> bytes:
        hole = b"\0" * len(lines[number])
        return b"".join([*lines[:number], hole, *lines[number + 1 :]])

    segment.write_bytes(holed(8))
    with pytest.raises(AuditDamaged, match="written later"):
        AuditLog.open(tmp_path)
    segment.write_bytes(holed(12))
    append(tmp_path, "after")
    report = verify_audit(tmp_path)
    assert (report.is_sound, report.records, report.torn) == (True, 14, 1)
    assert next(tmp_path.glob("torn-*")).read_bytes() == holed(12)[len(b"".join(lines[:12])) :]


def test_header_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    (tmp_path / "header.json").unlink()
    with pytest.raises(AuditDamaged, match="removed"):
        AuditLog.open(tmp_path)


@pytest.mark.parametrize("step", ["placed", "truncated"])
def test_crash_while_a_torn_end_is_set_aside_loses_nothing(tmp_path: Path, step: str) -> None:
    fill(tmp_path, 5)
    (segment,) = tmp_path.glob("*.jsonl")
    whole = segment.read_bytes()
    (tmp_path / f"torn-{6:019}.bin").write_bytes(b"torn")
    (tmp_path / f"torn-{6:019}.bin.new").write_bytes(b"to")
    if step == "placed":
        segment.write_bytes(whole + b"torn")
    report = verify_audit(tmp_path)
    assert report.problem is not None
    assert report.problem.reason == "torn"
    append(tmp_path, "after")
    report = verify_audit(tmp_path)
    assert (report.is_sound, report.torn, report.records) == (True, 1, 7)
    assert next(tmp_path.glob("torn-*.bin")).read_bytes() == b"torn"


def test_second_torn_end_before_the_first_is_recorded_is_kept_with_it(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    (segment,) = tmp_path.glob("*.jsonl")
    (tmp_path / f"torn-{6:019}.bin").write_bytes(b"first")
    with segment.open("ab") as file:
        file.write(b"second")
    append(tmp_path, "after")
    assert next(tmp_path.glob("torn-*.bin")).read_bytes() == b"firstsecond"
    assert verify_audit(tmp_path).is_sound


def test_file_that_was_set_aside_and_is_gone_is_told(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b"torn")
    append(tmp_path, "after")
    (kept,) = tmp_path.glob("torn-*.bin")
    kept.write_bytes(b"other")
    assert "something else" in verify_audit(tmp_path).notices[0]
    kept.unlink()
    assert "any more" in verify_audit(tmp_path).notices[0]


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failed_write_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    log = AuditLog.open(tmp_path)
    log.append("key.change", subject="before")
    real = getattr(os, call)

    def failing(descriptor: int, *given: bytes) -> int:
        if call == "write":
            real(descriptor, bytes(given[0])[:30])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(AuditFailed, match="nothing of it is recorded"):
            log.append("key.change", subject="lost")
        denial = PermissionError("no")
        note_denial(log, denial, "tool.run", subject="x")
        assert "not in the audit log" in denial.__notes__[0]
    assert verify_audit(tmp_path).records == 1
    note_denial(log, PermissionError("no"), "tool.run", subject="x")
    log.append("key.change", subject="after")
    log.close()
    found = [record.subject for record in read_audit(tmp_path)]
    assert found == ["before", "x", "after"]
    assert verify_audit(tmp_path).torn == 0


def test_failed_write_that_cannot_be_cut_back_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog.open(tmp_path)
    log.append("key.change", subject="before")
    real = os.write

    def failing(descriptor: int, raw: bytes) -> int:
        real(descriptor, bytes(raw)[:30])
        raise OSError(errno.EIO, "no")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(AuditFailed):
            log.append("key.change", subject="lost")
    log.append("key.change", subject="after")
    assert [record.kind for record in log.records()] == ["key.change", "log.torn", "key.change"]
    log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small tmpfs")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_full_disk_is_told_and_the_chain_goes_on_when_there_is_room(small_disk: Path) -> None:
    path, written = small_disk / "log", 0
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 200_000)
    with AuditLog.open(path, segment_bytes=1 << 16) as log:
        with pytest.raises(AuditFailed, match="full"):
            while True:
                log.append("key.change", subject=str(written), details={"x": "word " * 90})
                written += 1
        assert written > 50
        for _ in range(3):
            with pytest.raises(AuditFailed):
                log.append("key.change", subject="no room", details={"x": "word " * 90})
        assert verify_audit(path).records == written
        filler.unlink()
        log.append("key.change", subject=str(written))
    assert [record.subject for record in read_audit(path)] == [str(n) for n in range(written + 1)]
    assert len(lines_of(path)) == written + 1
    assert verify_audit(path).torn == 0
