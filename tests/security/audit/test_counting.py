"""A loop of denials fills no disk, and each denial is in a record or in a count."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import AuditFailed
from llmspell.security import AuditLog, AuditRecord, read_audit, verify_audit
from llmspell.security.audit import recorder
from llmspell.security.audit.counting import MAX_SUBJECTS, OTHERS
from tests.processes import until


def deny(log: AuditLog, subject: str = "grep", tenant: str | None = "acme") -> AuditRecord | None:
    return log.append("tool.run", subject=subject, outcome="denied", tenant=tenant)


def test_a_loop_of_denials_is_three_records(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        given_back = [deny(log) for _ in range(10_000)]
        assert [record is None for record in given_back[:4]] == [False, False, True, True]
        assert len(list(log.records())) == 2
    first, notice, counted = read_audit(tmp_path)
    assert (first.count, first.until, first.of) == (1, None, None)
    assert (notice.count, notice.of) == (1, None)
    assert notice.until is not None
    assert (counted.count, counted.of, counted.until) == (9_998, notice.seq, None)
    assert (counted.subject, counted.tenant, counted.outcome) == ("grep", "acme", "denied")


def test_what_differs_is_not_counted_together(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for subject in ("a", "b"):
            for tenant in (None, "acme"):
                for outcome in ("denied", "done"):
                    log.append("tool.run", subject=subject, tenant=tenant, outcome=outcome)
                    log.append("secret.access", subject=subject, tenant=tenant, outcome=outcome)
    assert len(list(read_audit(tmp_path))) == 16


def test_steps_of_an_operator_are_never_counted(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for _ in range(5):
            for kind in ("tenant.suspend", "key.change", "secret.change"):
                assert log.append(kind, subject="x", tenant="acme") is not None


def test_what_a_tenant_may_vary_is_bounded(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(5_000):
            deny(log, f"tool {number}")
        deny(log, "tool", "other")
    records = list(read_audit(tmp_path))
    assert len(records) == MAX_SUBJECTS + 3 + 1
    assert sum(record.count for record in records if record.tenant == "acme") == 5_000
    assert [r.count for r in records if r.subject == OTHERS] == [1, 1, 5_000 - MAX_SUBJECTS - 2]


def test_what_is_allowed_hides_no_denial(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for number in range(2 * MAX_SUBJECTS):
            log.append("network.access", subject=f"host {number}", tenant="acme")
            log.append("secret.access", subject=f"name:n{number}", outcome="failed", tenant="acme")
        deny(log, "the one that matters")
    assert [r.subject for r in read_audit(tmp_path) if r.outcome == "denied"] == [
        "the one that matters"
    ]


def test_interval_that_ends_begins_with_a_record_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    # It stands still: all are in one interval, however long the disk takes over the first.
    clock = SimpleNamespace(monotonic=lambda: now, time_ns=time.time_ns)
    monkeypatch.setattr(recorder, "time", clock)
    with AuditLog.open(tmp_path, count_interval=0.1) as log:
        for _ in range(5):
            deny(log)
        now += 0.1
        # Nothing is appended: the log sees to it by itself.
        until(lambda: len(list(log.records())) == 3)
        assert [record.count for record in log.records()] == [1, 1, 3]
        assert deny(log) is not None
    assert sum(record.count for record in read_audit(tmp_path)) == 6


def test_flush_records_the_counts(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=3600) as log:
        for _ in range(5):
            deny(log)
        log.flush()
        assert [record.count for record in log.records()] == [1, 1, 3]
        log.flush()
        assert len(list(log.records())) == 3
        assert deny(log) is not None


def test_without_an_interval_each_has_its_record(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=0) as log:
        for _ in range(20):
            assert deny(log) is not None
    assert len(list(read_audit(tmp_path))) == 20


def test_threads_lose_no_denial(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, count_interval=0.02) as log:

        def work(name: int) -> None:
            for number in range(2_000):
                deny(log, f"tool {number % 3}", f"t{name % 2}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = list(read_audit(tmp_path))
    assert sum(record.count for record in records) == 8_000
    # Each that says that it is counted is told of.
    noticed = {record.seq for record in records if record.until is not None}
    assert noticed == {record.of for record in records if record.of is not None}
    assert verify_audit(tmp_path).uncounted == 0


def test_count_that_cannot_be_written_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog.open(tmp_path, count_interval=3600)
    for _ in range(10):
        deny(log)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditFailed):
            log.flush()
        with pytest.raises(AuditFailed):
            deny(log)
    assert deny(log) is not None
    log.close()
    assert [record.count for record in read_audit(tmp_path)] == [1, 1, 8, 1]


def test_counts_that_are_lost_with_a_log_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog.open(tmp_path, count_interval=3600)
    for _ in range(10):
        deny(log)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(AuditFailed) as caught:
            log.close()
    assert caught.value.__notes__ == ["8 events that were counted aren't recorded"]


def test_process_that_dies_while_it_counts_is_told_of(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = """
import os, sys
from llmspell.security import AuditLog
log = AuditLog.open(sys.argv[1], count_interval=60)
for _ in range(2):
    log.append("tool.run", subject="x", outcome="denied")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    import llmspell.security.audit.verify as verifying

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifying, "_GRACE", verifying.timedelta(days=-1))
        report = verify_audit(tmp_path)
    assert (report.is_sound, report.uncounted) == (True, 1)
    assert "how many there were isn't known" in report.notices[0]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("deny"), st.integers(0, 25), st.integers(0, 2)),
            st.tuples(st.sampled_from(["flush", "reopen", "fail", "step"]), st.just(0), st.just(0)),
        ),
        max_size=120,
    )
)
def test_whatever_happens_each_denial_is_in_a_record_or_was_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("log")
    log = AuditLog.open(path, count_interval=3600)
    denied: dict[str, int] = defaultdict(int)
    others = 0
    for what, subject, tenant in steps:
        if what == "deny":
            deny(log, f"tool {subject}", f"t{tenant}")
            denied[f"t{tenant}"] += 1
        elif what == "flush":
            log.flush()
        elif what == "reopen":
            log.close()
            log = AuditLog.open(path, count_interval=3600)
        elif what == "step":
            log.append("key.change", subject="x")
            others += 1
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", _refuse)
                with pytest.raises(AuditFailed):
                    deny(log, "unheard of", "new")
                denied["new"] += 0
    log.close()
    assert verify_audit(path).is_sound
    found: dict[str, int] = defaultdict(int)
    for record in read_audit(path, kind="tool.run"):
        found[str(record.tenant)] += record.count
    assert {k: n for k, n in found.items() if n} == {k: n for k, n in denied.items() if n}
    assert len(list(read_audit(path, kind="key.change"))) == others


def _refuse(_: int) -> None:
    raise OSError(errno.EIO, "no")
