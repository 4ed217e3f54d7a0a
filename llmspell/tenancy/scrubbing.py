"""Scrubs: walks over everything that a tenant, or a database, holds, at a bounded rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from llmspell.errors import (
    ClosedError,
    CorruptFile,
    InputError,
    LlmspellError,
    StorageError,
    TenantNotFound,
)
from llmspell.index import CancelToken
from llmspell.quota import check_header
from llmspell.storage import Catalog, Moment
from llmspell.storage.chain import FIRST
from llmspell.storage.log import Counters
from llmspell.storage.pace import Pace, Stopped
from llmspell.storage.view_files import ViewFiles
from llmspell.storage.walk import Walk
from llmspell.tenancy.inputs import as_flag
from llmspell.tenancy.scrub_report import (
    DatabaseScrubReport,
    OnScrub,
    ScrubDamage,
    ScrubProgress,
    ScrubReport,
)
from llmspell.tenancy.tenant import Tenant
from llmspell.tenancy.tenant_handle import TenantHandle

__all__ = ["ScrubOptions", "scrub_database", "scrub_options", "scrub_tenant"]


class ScrubOptions(NamedTuple):
    """How to scrub; checked by :func:`scrub_options`."""

    rate: float | None
    repair: bool
    progress: OnScrub | None
    stop: Callable[[], bool]

    def pace(self) -> Pace:
        """A pace, from now on."""
        return Pace(self.rate, self.stop)


def scrub_options(
    rate: float | None,
    repair: bool,
    progress: OnScrub | None,
    cancel: CancelToken | None,
    stop: Callable[[], bool] = lambda: False,
) -> ScrubOptions:
    """See :meth:`llmspell.Tenant.scrub`; ``stop`` ends it as well as ``cancel``."""
    if rate is not None:
        is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if not is_number or not 0 < rate < math.inf:
            raise InputError(f"rate must be above 0 bytes a second, or None, got {rate!r}")
    if cancel is not None and not isinstance(cancel, CancelToken):
        raise InputError(f"cancel must be a CancelToken, got {type(cancel).__name__}")
    if progress is not None and not callable(progress):
        raise InputError(f"progress must be called with a state, got {type(progress).__name__}")
    repair = as_flag("repair", repair)
    token = cancel
    return ScrubOptions(
        rate, repair, progress, lambda: stop() or (token is not None and token.cancelled)
    )


def scrub_tenant(tenant: TenantHandle, options: ScrubOptions) -> ScrubReport:
    """See :meth:`llmspell.Tenant.scrub`."""
    return _Scrub(tenant, options, options.pace()).run()


class _Damages:
    """Found so far, each once; where the directory lies is nobody's business who reads them."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = str(directory)
        self._name = name
        self.found: dict[tuple[str, str], bool] = {}

    def add(self, error: StorageError) -> None:
        message = str(error).replace(self._directory, self._name)
        where, _, what = message.partition(": ")
        self.found.setdefault((where, what), False)

    def all(self) -> tuple[ScrubDamage, ...]:
        return tuple(
            ScrubDamage(where=where, what=what, repaired=repaired)
            for (where, what), repaired in self.found.items()
        )


class _Scrub:
    """One scrub of one tenant. Use it from one thread."""

    def __init__(self, tenant: TenantHandle, options: ScrubOptions, pace: Pace) -> None:
        self._tenant = tenant
        self._residence = tenant._residence
        self._options = options
        self._pace = pace
        self._read_before = pace.bytes
        self._damages = _Damages(self._residence.path, "store")
        self._snapshots = 0
        config = tenant.config
        self._walk = Walk(
            self._moment,
            config.metric,
            self._damages.add,
            spend=self._spend,
            page_bytes=pace.page_bytes,
        )
        self._files = ViewFiles(
            self._residence.path,
            config,
            self._counters,
            spend=self._spend,
            chunk=pace.page_bytes,
        )

    def run(self) -> ScrubReport:
        started = time.perf_counter()
        is_complete = True
        try:
            if self._residence.has_room:
                self._walk.run()
                damaged = self._look_at_files()
                if damaged and self._options.repair:
                    self._repair(damaged)
        except Stopped:
            is_complete = False
        except ClosedError:
            self._residence.check()
            raise
        # Another process may have dropped it: then there was nothing to find.
        self._residence.check()
        damages, read = self._damages.all(), self._pace.bytes - self._read_before
        counts = self._tenant._instruments.scrubbing
        counts.bytes.inc(read)
        counts.damages.inc(len(damages))
        return ScrubReport(
            tenant_id=self._tenant.id,
            records=self._walk.records,
            vectors=self._walk.vectors,
            documents=self._walk.documents,
            state_entries=self._walk.state_entries,
            log_entries=self._walk.log_entries,
            snapshots=self._snapshots,
            bytes_read=read,
            seconds=time.perf_counter() - started,
            damages=damages,
            is_recounted=self._walk.is_recounted,
            is_complete=is_complete,
        )

    @contextmanager
    def _moment(self) -> Iterator[Moment]:
        self._residence.require(self._tenant)
        with self._residence.moment() as moment:
            yield moment

    def _counters(self) -> Counters | None:
        with suppress(StorageError), self._moment() as moment:
            return moment.counters
        return None

    def _spend(self, read: int) -> None:
        self._pace.spend(read)
        if self._options.progress is not None:
            counters = self._walk.counters
            self._options.progress(
                ScrubProgress(
                    tenant_id=self._tenant.id,
                    records=self._walk.records,
                    total=None if counters is None else counters.vectors,
                    bytes_read=self._pace.bytes - self._read_before,
                    damages=len(self._damages.found),
                )
            )

    def _look_at_files(self) -> dict[Path, tuple[str, str]]:
        damaged = {}
        for path, what in self._files.damages():
            self._snapshots += 1
            if what is not None:
                damaged[path] = path.name, what
                self._damages.add(CorruptFile(f"{path.name}: {what}"))
        return damaged

    def _repair(self, damaged: dict[Path, tuple[str, str]]) -> None:
        # What it needs may be damaged as well: then it stays as it is.
        with suppress(StorageError), self._residence.uses:
            self._tenant._enter().views.renew(damaged)
        for path, damage in damaged.items():
            if self._holds(path):
                self._damages.found[damage] = True

    def _holds(self, path: Path) -> bool:
        try:
            self._files.check(path)
        except (LlmspellError, OSError):
            return not path.exists()
        return True


def scrub_database(
    catalog: Catalog,
    ledger: Path,
    handle: Callable[[str], Tenant],
    options: ScrubOptions,
) -> DatabaseScrubReport:
    """See :meth:`llmspell.Database.scrub`.

    Args:
        ledger: its file.
        handle: gives one to a tenant of an id, which is closed here.
    """
    started = time.perf_counter()
    pace = options.pace()
    damages = _Damages(ledger.parent, "database")
    reports: list[ScrubReport] = []
    is_complete = True
    try:
        header = check_header(ledger)
        if header is not None:
            damages.add(CorruptFile(f"ledger: {header}"))
        catalog.check(damages.add)
        place: bytes | None = FIRST
        while place is not None:
            entries, place, read = catalog.survey(place, damages.add)
            pace.spend(read)
            for entry in entries:
                with suppress(TenantNotFound):  # dropped meanwhile
                    report = _scrub_one(handle(entry.config.id), options, pace)
                    reports.append(report)
                    if not report.is_complete:
                        raise Stopped
    except Stopped:
        is_complete = False
    return DatabaseScrubReport(
        tenants=tuple(reports),
        damages=damages.all(),
        bytes_read=pace.bytes,
        seconds=time.perf_counter() - started,
        is_complete=is_complete,
    )


def _scrub_one(tenant: Tenant, options: ScrubOptions, pace: Pace) -> ScrubReport:
    try:
        return _Scrub(tenant, options, pace).run()
    finally:
        tenant.close()
