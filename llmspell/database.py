"""A data directory of tenants, open in this process; here the layers are put together."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from llmspell.aio import AsyncDatabase
from llmspell.config import QuotaLimits, TenantConfig
from llmspell.errors import ConfigError, InputError
from llmspell.observability import Instruments, render
from llmspell.quota import SharedLedger
from llmspell.storage import DEFAULT_MAP_SIZE, Durability, Flusher, WritePolicy
from llmspell.storage.export_ends import as_path
from llmspell.tenancy import (
    Budget,
    DatabaseScrubReport,
    DropReceipt,
    House,
    OnEvent,
    OnScrub,
    Registry,
    ScrubReport,
    SnapshotReport,
    StateScope,
    Suspension,
    Tenant,
    TenantInfo,
    TextServices,
    tenant_id_of,
)
from llmspell.tenancy.inputs import as_flag
from llmspell.tenancy.lifecycle import Lifecycle, info_of
from llmspell.tenancy.ports import require_embedder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmspell.index import CancelToken
    from llmspell.rag import Embedder
    from llmspell.rag.cache import EmbeddingCache, EmbeddingCacheSettings
    from llmspell.security.audit import AuditSink
    from llmspell.tenancy.scrubbing import ScrubOptions

__all__ = ["Database", "open"]


class Database:
    """Tenants in one data directory; ``llmspell.open`` opens one, or makes it. Thread-safe.

    Use it in ``with``; in ``async with`` it gives an :class:`llmspell.AsyncDatabase`.

    Tenants open when they are first used. Several processes may have the directory and its tenants
    open: all of them read, and one at a time writes to a tenant. A read sees every write that was
    acknowledged before it began, in whatever process.

    Args:
        path: the directory.
        embedder: the model that turns texts into vectors, which you close where it has to be; None
            means the embedded default model, loaded when a text is first ingested or searched.
        texts: in place of ``embedder``, a :class:`llmspell.rag.Pipeline` with settings of its own.
        map_size: bytes of address space for each open tenant, and so the most that a tenant can
            hold; neither memory nor disk is taken for it.
        lock_timeout: seconds that a write waits for the write of another process.
        durability: what an upsert that returned has come through. ``"sync"``: it is on disk, and
            survives power loss. ``"batch"`` and ``"async"``: it waits to be committed together with
            others, for ``flush_interval`` at most, and what waits is lost with the process; in
            ``"batch"`` the call that fills a batch commits it, in ``"async"`` a thread does.
            Commits are as durable in all of them, and all other writes are on disk when they
            return.
        flush_interval: seconds that an upsert waits for its commit to begin.
        write_batch_size: records that are committed without waiting longer.
        max_open_bytes: bytes of memory that open tenants take together, 3 MiB each and their
            indexes, before those are closed that were least recently used; a later use opens them
            again. None means half of the memory of the machine, or of the container.
        max_open_descriptors: as many file descriptors, of which an open tenant takes five and a
            write one more. None means half of what the process may have (``ulimit -n``).
        on_event: is told what happens to tenants through this database, in the thread that did it,
            and of each quota whose use has come to 80 % or 100 % of its limit, when the write is
            done and its locks are free. What it raises is logged.
        shared_quotas: a :class:`llmspell.quota.SharedLedger`, which you close, or the URL of its
            Redis server. All hosts then count a tenant's rates, and what it uses by day and month,
            as one; what it holds is counted here. Every process of the directory gives the same.
        audit: a :class:`llmspell.security.AuditLog`, which you close, another sink, or the
            directory of a log, which is made where missing. Steps in the life of tenants are
            recorded before they begin, and when they end; refused operations are recorded, too.
        embedding_cache: keeps the vectors of texts, so that the same text isn't embedded, nor
            charged, again; see :class:`llmspell.EmbeddingCacheSettings`. None keeps none.

    Raises:
        AuditDamaged, AuditFailed: ``audit`` is a directory whose log can't be opened.
        ConfigError: an argument is out of range.
        CorruptFile: the catalog is damaged.
        DatabaseLocked: this process has the directory open already; use that database.
        MissingDependency: ``shared_quotas`` is given without the extra ``redis``, or
            ``embedding_cache`` without the extra ``cache``.
        InputError: ``path`` isn't a path.
        UnsupportedFormat: a later release made it.
        UseAfterFork: the directory was open when this process was forked.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        embedder: Embedder | None = None,
        texts: TextServices | None = None,
        map_size: int = DEFAULT_MAP_SIZE,
        lock_timeout: float = 5.0,
        durability: Durability = "sync",
        flush_interval: float = 0.1,
        write_batch_size: int = 100,
        max_open_bytes: int | None = None,
        max_open_descriptors: int | None = None,
        on_event: OnEvent | None = None,
        shared_quotas: SharedLedger | str | None = None,
        audit: AuditSink | str | os.PathLike[str] | None = None,
        embedding_cache: EmbeddingCacheSettings | None = None,
    ) -> None:
        if not isinstance(map_size, int) or map_size < 1 << 20:
            raise ConfigError(f"map_size must be an int of at least 1 MiB, got {map_size!r}")
        if not isinstance(lock_timeout, (int, float)) or not lock_timeout >= 0:
            raise ConfigError(f"lock_timeout must be 0 or more seconds, got {lock_timeout!r}")
        if not isinstance(shared_quotas, (SharedLedger, str, type(None))):
            raise ConfigError(f"shared_quotas is a SharedLedger or a URL, got {shared_quotas!r}")
        if on_event is not None and not callable(on_event):
            raise ConfigError(f"on_event must be called with an event, got {on_event!r}")
        policy = WritePolicy(
            durability=durability, flush_interval=flush_interval, write_batch_size=write_batch_size
        )
        if embedder is not None and texts is not None:
            raise ConfigError("give embedder or texts, not both: Pipeline(embedder) takes it")
        if embedder is not None:
            require_embedder(embedder)
        if texts is not None and not callable(getattr(texts, "embed_query", None)):
            raise ConfigError(f"texts is a Pipeline, or services like it, got {texts!r:.100}")
        self._path = as_path(path)
        self._embedder = embedder
        self._embedding_cache = _embedding_cache(embedding_cache, self._path)
        self._texts = texts
        self._texts_lock = threading.Lock()
        self._async: AsyncDatabase | None = None
        self._pid = os.getpid()
        self._instruments = Instruments()
        self._flusher = Flusher(policy)
        budget = Budget.of(
            max_open_bytes=max_open_bytes,
            max_open_descriptors=max_open_descriptors,
            map_size=map_size,
        )
        self._registry = Registry(
            self._path, on_event=on_event, shared_quotas=shared_quotas, audit=audit
        )
        self._catalog = self._registry.catalog
        self._house = House(
            self._registry,
            instruments=self._instruments,
            texts=self._text_services,
            budget=budget,
            flusher=self._flusher,
            map_size=map_size,
            lock_timeout=float(lock_timeout),
            embedding_cache=self._embedding_cache,
        )
        if self._embedding_cache is not None:
            self._instruments.embedding_cache = self._embedding_cache.stats
        self._lifecycle = Lifecycle(self._house)

    def __repr__(self) -> str:
        return f"Database({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The data directory."""
        return self._path

    @property
    def instruments(self) -> Instruments:
        """Counters and latency histograms of all operations since it was opened."""
        return self._instruments

    @property
    def embedding_cache(self) -> EmbeddingCache | None:
        """The cache of the vectors of texts, which tells what it did and holds; or None."""
        return self._embedding_cache

    def create_tenant(self, config: TenantConfig) -> Tenant:
        """Make a tenant, durably. It takes no room on disk before its first use.

        Raises:
            StorageFull: the disk has no room; nothing was made.
            TenantExists: there is one of that id.
        """
        (entry,) = self._lifecycle.create([config])
        return self._house.handle(entry)

    def create_tenants(self, configs: Iterable[TenantConfig]) -> list[TenantInfo]:
        """Make many tenants, durably and all or none; 100,000 take seconds.

        Returns:
            What :meth:`tenants` lists of them, in the order of ``configs``.

        Raises:
            ConfigError, InputError: one of ``configs`` isn't a TenantConfig.
            StorageFull: as :meth:`create_tenant`; nothing was made.
            TenantExists: there is one of an id, or an id is given twice; nothing was made.
        """
        return list(map(info_of, self._lifecycle.create(configs)))

    def tenant(self, tenant_id: str) -> Tenant:
        """Give a handle to a tenant; its data is opened when the handle first needs it.

        Close handles that you are done with. What others left open is closed by the next call
        here, with :meth:`create_tenant` or :meth:`tenants`.

        Raises:
            TenantNotFound: there is none of that id.
        """
        return self._house.handle(self._catalog.get(tenant_id))

    def scope(self, scope: StateScope) -> Tenant:
        """Give a handle to the tenant whose scope it is, as :meth:`tenant` does.

        Raises:
            InputError: it isn't ``StateScope.custom("tenant:ID")``.
            TenantNotFound: there is none of that id.
        """
        return self.tenant(tenant_id_of(scope))

    def tenants(self, *, after: str | None = None, limit: int | None = None) -> list[TenantInfo]:
        """List the tenants, ordered by id in UTF-8, without opening any.

        Args:
            after: only those behind this id, which needn't be there: that of the last one of the
                page before.
            limit: at most so many; None for all.

        Raises:
            InputError: limit is no int of 0 or more.
        """
        self._house.close_forgotten()
        if limit is not None and (
            not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit <= sys.maxsize
        ):
            raise InputError(f"limit must be an int of 0 or more, got {limit!r}")
        return list(map(info_of, self._catalog.page(after, limit)))

    def update_tenant(
        self, tenant_id: str, *, name: str | None = None, quotas: QuotaLimits | None = None
    ) -> TenantInfo:
        """Give a tenant another name for people, or other quotas, at once and in all processes.

        Use beyond a new limit stays; nothing more is admitted. A handle's ``config`` is that of
        when the handle was made.

        Raises:
            ConfigError: a setting that can't be.
            LedgerUnavailable: they are changed here, but other hosts couldn't be told; try again.
            TenantNotFound: there is none of that id.
        """
        return info_of(self._lifecycle.update(tenant_id, name=name, quotas=quotas))

    def suspend_tenant(self, tenant_id: str, *, reads_stay: bool = False) -> TenantInfo:
        """Refuse a tenant's operations with TenantSuspended, at once and in all processes.

        What is under way ends as it would have. Nothing is closed or lost.

        Args:
            reads_stay: refuse its writes only.

        Raises:
            TenantNotFound: there is none of that id.
        """
        suspension: Suspension = "writes" if as_flag("reads_stay", reads_stay) else "all"
        return info_of(self._lifecycle.suspend(tenant_id, suspension))

    def resume_tenant(self, tenant_id: str) -> TenantInfo:
        """Let a suspended tenant go on; raises TenantNotFound."""
        return info_of(self._lifecycle.resume(tenant_id))

    def drop_tenant(self, tenant_id: str) -> DropReceipt:
        """Delete a tenant with everything that it holds; handles to it raise TenantNotFound.

        Returns:
            What was freed.

        Raises:
            DatabaseLocked: another process writes to it.
            TenantNotFound: there is none of that id.
        """
        return self._lifecycle.drop(tenant_id)

    def snapshot_tenant(
        self, tenant_id: str, target: str | os.PathLike[str] | BinaryIO
    ) -> SnapshotReport:
        """Copy all that a tenant is, as one moment shows it: see :meth:`Tenant.snapshot`.

        It is the operator's: no quota is charged, and a suspended tenant's is taken, too.

        Raises:
            TenantNotFound: there is none of that id.
        """
        entry = self._catalog.get(tenant_id)
        with closing(self._house.handle(entry)) as handle, handle._residence.uses:
            return handle._snapshot(entry, target)

    def restore_tenant(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        tenant_id: str | None = None,
        replace: bool = False,
        name: str | None = None,
        quotas: QuotaLimits | None = None,
    ) -> Tenant:
        """Make a tenant of a snapshot, durably, once every part of it is verified.

        A tenant that is replaced stays as it is until then, and others read and write it; where
        anything fails, nothing has changed. What was written to it meanwhile goes with it. Handles
        to it raise TenantNotFound; the new one has a generation of its own. Its name, its quotas,
        what it used of them today and this month, and its suspension stay.

        Args:
            source: a directory, a tar file, or an open binary file that stands at the first byte of
                one, as :meth:`snapshot_tenant` wrote it. From strangers take exports: checksums
                tell damage, and not malice.
            tenant_id: of the tenant to be; that of the snapshot where None.
            replace: whether it takes the place of a tenant of that id, if there is one.
            name, quotas: in place of those that it would have.

        Raises:
            CorruptFile: it is damaged, cut short, or no snapshot.
            DatabaseLocked: another process writes to the tenant that is to be replaced.
            InputError: neither a path nor a binary file.
            QuotaExceeded: it holds more than ``quotas`` admit, or those of the tenant that is to be
                replaced.
            StorageFull: the map, the disk or the ledger has no room for it.
            TenantExists: there is one of that id.
            UnsupportedFormat: a later release took it.
        """
        from llmspell.tenancy.tenant_maker import Origin

        origin = Origin(
            tenant_id=tenant_id, replace=as_flag("replace", replace), name=name, quotas=quotas
        )
        return self._house.handle(self._lifecycle.restore(source, origin))

    def clone_tenant(
        self,
        source_id: str,
        tenant_id: str,
        *,
        name: str | None = None,
        quotas: QuotaLimits | None = None,
    ) -> Tenant:
        """Make a tenant that holds what another holds at one moment; neither sees the other later.

        Writes to the other go on meanwhile. Of a suspended tenant the clone is not suspended.

        Args:
            source_id: of the tenant to copy.
            tenant_id: of the clone.
            name, quotas: in place of those of the other.

        Raises:
            QuotaExceeded: it holds more than ``quotas`` admit.
            StorageFull: the disk or the ledger has no room for it.
            TenantExists: there is one of that id.
            TenantNotFound: there is none to copy.
        """
        from llmspell.tenancy.tenant_maker import Origin

        origin = Origin(tenant_id=tenant_id, name=name, quotas=quotas)
        return self._house.handle(self._lifecycle.clone(source_id, origin))

    def scrub(
        self,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> DatabaseScrubReport:
        """Read and check all tenants one after the other, the catalog, and the ledger's header.

        Arguments are those of :meth:`Tenant.scrub`. It is the operator's: no quota is charged, and
        suspended tenants are scrubbed, too. Tenants that aren't open stay so.

        Raises:
            InputError: rate isn't above 0, or ``cancel`` is no token.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return self._scrub(scrub_options(rate, repair, progress, cancel))

    def _scrub(self, options: ScrubOptions) -> DatabaseScrubReport:
        from llmspell.tenancy.scrubbing import scrub_database

        return scrub_database(self._catalog, self._path / "ledger", self.tenant, options)

    def scrub_tenant(
        self,
        tenant_id: str,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> ScrubReport:
        """As :meth:`scrub`, of one tenant.

        Raises:
            TenantNotFound: there is none of that id, or it was dropped meanwhile.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return self._scrub_tenant(tenant_id, scrub_options(rate, repair, progress, cancel))

    def _scrub_tenant(self, tenant_id: str, options: ScrubOptions) -> ScrubReport:
        from llmspell.tenancy.scrubbing import scrub_tenant

        with closing(self.tenant(tenant_id)) as handle:
            return scrub_tenant(handle, options)

    def purge_expired(self) -> int:
        """Remove records that have expired from all tenants, without opening their indexes.

        A tenant's next write removes them anyway; this is for tenants that nobody writes to.
        Suspended ones are passed over, and those that another process writes to.

        Returns:
            How many records were removed.
        """
        return self._house.purge_expired()

    def flush(self) -> None:
        """Return when every write of this process that was acknowledged is committed.

        Raises:
            FlushFailed: of one tenant, with a note on each other; the rest is committed.
        """
        self._house.flush()

    def metrics(self) -> str:
        """Counters, latencies, and the tenants' quotas and recall, as Prometheus text.

        The recall of a tenant is there while it is open and has measured it. What models did,
        ``llmspell_model_*``, is counted by the process: all its databases give the same.

        Raises:
            MissingDependency: the extra ``metrics`` is not installed.
        """
        return render(self._instruments, self._house.usages, self._house.recalls)

    def close(self) -> None:
        """Commit what waits and close all tenants, with snapshots to open from.

        Does nothing the second time, unless the first raised FlushFailed.

        Where an exception from elsewhere, as KeyboardInterrupt, comes between, everything is
        closed nevertheless, the tenant that it met without a snapshot.
        """
        if os.getpid() != self._pid:
            return
        with ExitStack() as closing:
            closing.callback(self._registry.close)
            if self._embedding_cache is not None:
                closing.callback(self._embedding_cache.close)
            closing.callback(self._house.close)
        self._flusher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> AsyncDatabase:
        self._async = AsyncDatabase(self)
        return self._async

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._async is not None:
            await self._async.close()

    def _text_services(self) -> TextServices:
        with self._texts_lock:
            if self._texts is None:
                from llmspell.rag import Pipeline

                self._texts = Pipeline(self._embedder)
            return self._texts


#: Reads better: ``with llmspell.open("data") as db``.
open = Database


def _embedding_cache(settings: EmbeddingCacheSettings | None, root: Path) -> EmbeddingCache | None:
    if settings is None:
        return None
    from llmspell.rag.cache import EmbeddingCache, EmbeddingCacheSettings

    if not isinstance(settings, EmbeddingCacheSettings):
        raise ConfigError(f"embedding_cache is an EmbeddingCacheSettings, got {settings!r}")
    return EmbeddingCache(settings, shared=root)
