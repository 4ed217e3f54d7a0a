"""A scrub beside everything else: no false alarm, a bounded rate, and it stops when it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import CancelToken, Database, Document, ScrubProgress, Tenant, errors
from tests.tenancy.test_processes import CONFIG, Worker
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import vectors

#: Of the vectors that texts get.
DIM = 16


def fill(tenant: Tenant, count: int = 300) -> None:
    tenant.upsert(range(count), vectors(count, DIM), [{"n": i} for i in range(count)])


def test_a_sound_tenant_is_read_as_a_whole(db: Database, acme: Tenant) -> None:
    fill(acme)
    acme.upsert(["soon"], vectors(1, DIM), ttl=1_000)
    acme.delete([5])
    report = acme.scrub()
    assert (report.tenant_id, report.records, report.vectors) == ("acme", 300, 300)
    assert (report.documents, report.log_entries, report.snapshots) == (0, 3, 0)
    assert report.damages == ()
    assert report.is_sound
    assert report.is_recounted
    assert report.is_complete
    assert report.bytes_read > 300 * DIM * 4
    assert db.instruments.scrubbing.bytes.value == report.bytes_read
    assert db.instruments.scrubbing.damages.value == 0


def test_an_empty_tenant_and_one_that_is_not_open_are_sound(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", texts=Lines()) as db:
        assert db.create_tenant(CONFIG).scrub().is_sound
        full = db.create_tenant(llmspell.TenantConfig(id="full"))
        full.ingest(Document("d", "one\ntwo"))
    with llmspell.open(tmp_path / "data") as db:
        whole = db.scrub()
        assert [one.records for one in whole.tenants] == [0, 2]
        assert whole.is_sound
        assert whole.is_complete
        assert whole.bytes_read > sum(one.bytes_read for one in whole.tenants)
        assert all(residence._room is None for residence in db._house.residences())


def write_until(stop: threading.Event, tenant: Tenant) -> None:
    rng = np.random.default_rng(3)
    n = 0
    while not stop.is_set():
        n += 1
        ids = rng.integers(0, 400, 8).tolist()
        tenant.upsert(ids, rng.standard_normal((8, DIM)), [{"n": n}] * 8, ttl=50 if n % 2 else None)
        with suppress(errors.IdNotFound):  # another thread deletes, too
            tenant.update_metadata(ids[0], {"m": "x" * (n % 50)})
        tenant.delete(rng.integers(0, 400, 3).tolist())
        if n % 3 == 0:
            tenant.ingest(Document(f"d{n % 7}", f"line {n}\nand\nmore"))
        if n % 10 == 0:
            # A snapshot of the views, which replaces files and trims the log.
            tenant._enter().views.snapshot()


@pytest.mark.parametrize("page_bytes", [1_000, 1 << 20])
def test_writers_beside_it_raise_no_alarm(
    acme: Tenant, page_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.pace.PAGE_BYTES", page_bytes)
    fill(acme)
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            write_until(stop, acme)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        reports = [acme.scrub(repair=True) for _ in range(8)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert [report.damages for report in reports] == [()] * 8
    last = acme.scrub()
    assert last.damages == ()
    assert last.is_recounted


def answer(worker: Worker) -> object:
    assert worker.process.stdout is not None
    return json.loads(worker.process.stdout.readline())


def test_a_writer_in_another_process_raises_no_alarm(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(CONFIG).upsert(range(100), vectors(100, 8))
        worker = Worker(tmp_path / "data")
        try:
            for round_ in range(5):
                worker.send(f"fill(range({20 * round_}, {20 * round_ + 200}, 2))")
                assert db.scrub().is_sound
                assert answer(worker) == 100
        finally:
            worker.close()
        assert db.scrub().is_sound


def test_the_bytes_are_counted_again_where_something_was_written_meanwhile(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.pace.PAGE_BYTES", 1_000)
    fill(acme)
    writes = [1]

    def write_once(progress: ScrubProgress) -> None:
        while writes:
            acme.upsert([f"new {writes.pop()}"], vectors(1, DIM))

    assert acme.scrub(progress=write_once).is_recounted

    def write_always(progress: ScrubProgress) -> None:
        acme.upsert(["again"], vectors(1, DIM))

    report = acme.scrub(progress=write_always)
    assert not report.is_recounted
    assert report.is_sound


class Clock:
    """Time that goes on by sleeping alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.longest = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("llmspell.storage.pace.time", clock)
    return clock


@pytest.mark.parametrize("rate", [500, 20_000.0])
def test_the_rate_is_kept_to(acme: Tenant, clock: Clock, rate: float) -> None:
    fill(acme)
    read = []
    began = clock.now

    def look(progress: ScrubProgress) -> None:
        read.append((clock.now - began, progress.bytes_read))

    report = acme.scrub(rate=rate, progress=look)
    assert clock.now - began == pytest.approx(report.bytes_read / rate)
    assert all(bytes_read <= rate * (seconds + 1e-6) for seconds, bytes_read in read)
    assert clock.longest <= 0.25
    assert report.is_sound


def test_without_a_rate_it_does_not_wait(acme: Tenant, clock: Clock) -> None:
    fill(acme)
    began = clock.now
    acme.scrub()
    assert clock.now == began


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), True, "1"])
def test_a_rate_that_cannot_be_is_refused(db: Database, acme: Tenant, rate: float) -> None:
    for scrub in (acme.scrub, db.scrub):
        with pytest.raises(errors.InputError, match="rate must be"):
            scrub(rate=rate)
    with pytest.raises(errors.InputError, match="CancelToken"):
        acme.scrub(cancel=threading.Event())  # type: ignore[arg-type]


def test_progress_tells_how_far_it_is(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell.storage.pace.PAGE_BYTES", 2_000)
    fill(acme)
    told: list[ScrubProgress] = []
    report = acme.scrub(progress=told.append)
    assert len(told) > 5
    assert [one.bytes_read for one in told] == sorted(one.bytes_read for one in told)
    assert {(one.tenant_id, one.total, one.damages) for one in told} == {("acme", 300, 0)}
    assert (told[-1].records, told[-1].bytes_read) == (300, report.bytes_read)


def test_a_token_stops_it_and_the_report_says_so(db: Database, acme: Tenant) -> None:
    fill(acme)
    db.create_tenant(llmspell.TenantConfig(id="b"))
    token = CancelToken()
    report = acme.scrub(cancel=token, progress=lambda progress: token.cancel())
    assert not report.is_complete
    assert 0 < report.records <= 300
    whole = db.scrub(cancel=token)
    assert not whole.is_complete
    assert whole.tenants == ()
    token = CancelToken()
    whole = db.scrub(cancel=token, progress=lambda progress: token.cancel())
    assert [one.is_complete for one in whole.tenants] == [False]


def once(act: Callable[[], object]) -> Callable[[ScrubProgress], None]:
    """A ``progress`` that does something the first time."""
    left = [act]

    def progress(_: ScrubProgress) -> None:
        while left:
            left.pop()()

    return progress


def test_a_tenant_that_is_suspended_meanwhile_is_scrubbed_to_its_end(
    db: Database, acme: Tenant
) -> None:
    fill(acme)
    report = acme.scrub(progress=once(lambda: db.suspend_tenant("acme")))
    assert report.is_complete
    assert report.is_sound
    with pytest.raises(errors.TenantSuspended):
        acme.scrub()
    assert db.scrub().tenants[0].records == 300


def test_a_tenant_that_is_dropped_meanwhile_is_no_damage(db: Database, acme: Tenant) -> None:
    fill(acme)
    db.create_tenant(llmspell.TenantConfig(id="b"))
    with pytest.raises(errors.TenantNotFound):
        acme.scrub(progress=once(lambda: db.drop_tenant("acme")))
    fill(db.create_tenant(llmspell.TenantConfig(id="a")))
    whole = db.scrub(progress=once(lambda: db.drop_tenant("a")))
    assert [one.tenant_id for one in whole.tenants] == ["b"]
    assert whole.is_sound
    assert whole.is_complete


def test_a_tenant_that_another_process_drops_meanwhile_is_no_damage(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(CONFIG)
        fill(acme)
        acme.close()
        acme = db.tenant("acme")
        worker = Worker(tmp_path / "data")
        try:

            def drop() -> None:
                assert worker.ask("db.drop_tenant('acme').tenant_id") == "acme"

            with pytest.raises(errors.TenantNotFound):
                acme.scrub(progress=once(drop))
        finally:
            worker.close()


def test_what_is_closed_meanwhile_ends_it(db: Database, acme: Tenant) -> None:
    fill(acme)
    with pytest.raises(errors.ClosedError):
        acme.scrub(progress=once(acme.close))
    again = db.tenant("acme")
    with pytest.raises(errors.ClosedError):
        again.scrub(progress=once(db.close))


def test_the_async_form_stops_with_its_caller_and_with_the_database(tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(CONFIG)
            await acme.upsert(range(300), vectors(300, 8))
            assert (await acme.scrub()).is_sound
            assert (await db.scrub()).is_sound
            assert (await db.scrub_tenant("acme")).records == 300
            begun = asyncio.Event()
            loop = asyncio.get_running_loop()

            def tell(_: ScrubProgress) -> None:
                loop.call_soon_threadsafe(begun.set)

            # At this rate it takes hours.
            task = asyncio.create_task(acme.scrub(rate=1_000, progress=tell))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            begun.clear()
            left = asyncio.create_task(db.scrub(rate=1_000, progress=tell))
            await begun.wait()
        assert not (await left).is_complete

    asyncio.run(main())
