"""What a count tells of the events that have no record of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.security import AuditLog, AuditRecord, Secret, read_audit, verify_audit
from llmspell.security.audit import counting
from llmspell.security.audit.counting import MAX_OTHERS, MAX_SUBJECTS, OTHERS
from llmspell.security.audit.record import MAX_LINE_BYTES
from tests.security.audit.logs import lines_of


def deny(log: AuditLog, subject: str, tenant: str | None = "acme") -> AuditRecord | None:
    return log.append("tool.run", subject=subject, outcome="denied", tenant=tenant)


def ask(log: AuditLog, method: str, sent: int, **details: object) -> AuditRecord | None:
    told = {"method": method, "sent_bytes": sent, "status": 200, **details}
    return log.append("network.access", subject="example.com:443", tenant="acme", details=told)


def test_a_request_that_only_asks_hides_none_that_sends(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for _ in range(10):
            ask(log, "GET", 0)
        first = ask(log, "POST", 5_000_000, seconds=0.5)
        assert first is not None and first.details["sent_bytes"] == 5_000_000
        second = ask(log, "POST", 7, seconds=0.25)
        assert second is not None and second.details["sent_bytes"] == 7
        for number in range(10):
            ask(log, "POST", 100 + number, status=201, seconds=0.1, address=f"192.0.2.{number}")
    counted = {str(r.details["method"]): r for r in read_audit(tmp_path) if r.of is not None}
    assert counted["['GET']"].count == 8 and counted["['GET']"].details["sent_bytes.sum"] == 0
    posted = counted["['POST']"]
    assert posted.count == 10
    assert posted.details == {
        "address": [*(f"192.0.2.{number}" for number in range(8)), "[cut]"],
        "method": ["POST"],
        "seconds.max": 0.1,
        "seconds.sum": 1.0,
        "sent_bytes.max": 109,
        "sent_bytes.sum": 1045,
        "status": [201],
    }


def test_reasons_of_denials_are_told_apart(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for reason in ("address", "port") * 3:
            log.append(
                "network.access", subject="a:1", outcome="denied", details={"reason": reason}
            )
    found = [(r.details["reason"], r.count) for r in read_audit(tmp_path)]
    assert sorted(map(str, found)) == sorted(
        map(str, [("address", 1)] * 2 + [("port", 1)] * 2 + [(["address"], 1), (["port"], 1)])
    )


def test_subjects_that_are_not_told_apart_are_listed(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(MAX_SUBJECTS + 8):
            deny(log, f"tool {number}")
        for number in range(100):
            deny(log, f"tool {number % 40}")
    folded = [r.details["subjects"] for r in read_audit(tmp_path) if r.subject == OTHERS]
    assert folded[0] == [f"tool {MAX_SUBJECTS}"] and folded[1] == [f"tool {MAX_SUBJECTS + 1}"]
    assert sorted(folded[2]) == sorted(f"tool {number}" for number in range(MAX_SUBJECTS, 40))


def test_others_are_told_apart_by_what_they_do(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(200):
            details = {"method": "GET"}
            log.append("network.access", subject=f"h{number}:443", tenant="a", details=details)
        details = {"method": "POST", "sent_bytes": 9}
        shown = log.append("network.access", subject="drop:443", tenant="a", details=details)
        assert shown is not None
        assert shown.details == {"subjects": ["drop:443"], "method": "POST", "sent_bytes": 9}
        # What a caller makes up is bounded, too.
        for number in range(1000):
            log.append("network.access", subject="x", tenant="a", details={"method": f"M{number}"})
    records = list(read_audit(tmp_path))
    assert len(records) <= 3 * (MAX_SUBJECTS + MAX_OTHERS + 1)
    assert sum(record.count for record in records) == 1201


def test_a_subject_that_is_called_others_hides_none(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for _ in range(3):
            deny(log, OTHERS)
        for number in range(MAX_SUBJECTS + 5):
            deny(log, f"tool {number}")
    subjects = [s for r in read_audit(tmp_path) for s in r.details.get("subjects") or []]
    assert f"tool {MAX_SUBJECTS + 4}" in subjects


def test_tenants_beyond_the_table_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_WINDOWS", 2)
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(6):
            deny(log, "grep", f"t{number}")
    folded = [r for r in read_audit(tmp_path) if r.subject == OTHERS]
    assert [r.tenant for r in folded] == [None] * 3
    assert [r.details["tenants"] for r in folded] == [["t2"], ["t3"], ["t4", "t5"]]


def test_counted_details_are_redacted_and_bounded(tmp_path: Path) -> None:
    token = "ghp_" + "a8Kq2ZxW9LmN4pRt7VbC3dEf6GhJ5sUy1TQo"
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(40):
            details = {
                "text": f"Bearer {token} {number}",
                "password": f"opensesame{number}",
                "big": 10**400 + number,
                "number": (1 << 62),
                "float": float("inf"),
                "list": [token] * number,
                "secret": Secret(token),
                **{f"name {at} {number}": "x" * 5000 for at in range(12)},
            }
            log.append("tool.run", subject="x", details=details)
        for number in range(100):
            deny(log, f"{number} {token} " + "y" * 5000)
    lines = lines_of(tmp_path)
    assert max(map(len, lines)) <= MAX_LINE_BYTES and verify_audit(tmp_path).is_sound
    assert token[:12].encode() not in b"".join(lines) and b"opensesame" not in b"".join(lines)
    counted = next(r for r in read_audit(tmp_path, kind="tool.run") if r.of is not None)
    assert counted.details["[cut]"] is True and counted.details["secret"] == ["***"]
    assert counted.details["number.sum"] == "an int of 68 bits"
