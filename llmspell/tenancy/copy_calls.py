"""Exports, imports, snapshots and scrubs, as handles have them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from llmspell.index import CancelToken
from llmspell.storage import CatalogEntry
from llmspell.tenancy.exporting import export_tenant
from llmspell.tenancy.import_plan import OnConflict
from llmspell.tenancy.importing import import_tenant
from llmspell.tenancy.model import ExportReport, ImportReport, SnapshotReport
from llmspell.tenancy.scrub_report import OnScrub, ScrubReport
from llmspell.tenancy.tenant_handle import API_CALLS, TenantHandle, until_the_end

if TYPE_CHECKING:
    from llmspell.tenancy.scrubbing import ScrubOptions

__all__ = ["CopyCalls"]


class CopyCalls(TenantHandle):
    """Mixed into :class:`llmspell.Tenant`."""

    __slots__ = ()

    @until_the_end
    def export(self, file: str | os.PathLike[str] | BinaryIO) -> ExportReport:
        """Write all records and ingested documents, as one moment shows them, to a file.

        It streams, and holds a few MiB whatever the tenant holds. Writes go on meanwhile; the space
        of what they replace is used again when the export has ended.

        Args:
            file: a path, which has the whole export, durably, or is as it was; or an open binary
                file, which is written from where it stands.

        Raises:
            CorruptFile: a record is damaged.
            InputError: neither a path nor a binary file.
            StorageError: the file can't be written.
        """
        with self._instruments.export.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            room.flush()
            with self._residence.step("tenant.export"):
                return export_tenant(room, self.config, file)

    @until_the_end
    def snapshot(self, target: str | os.PathLike[str] | BinaryIO) -> SnapshotReport:
        """Copy all that the tenant is, as one moment shows it, for ``Database.restore_tenant``.

        Its records are verified on the way, and its config and the snapshot of its index are in it,
        so that what is restored opens as fast; :meth:`export` is for what other programs read.
        Writes go on meanwhile; the space of what they replace is used again when the snapshot has
        ended. It holds a few MiB, whatever the tenant holds.

        Args:
            target: a path that ends in ``.tar``, which has the whole snapshot, durably, or is as it
                was; another path, for a directory, which mustn't be there; or an open binary file,
                to which a tar file is written from where it stands.

        Raises:
            CorruptFile: what the tenant holds is damaged.
            InputError: neither a path nor a binary file, or the directory is there.
            StorageError: the target can't be written.
        """
        self._enter()
        self._charge(API_CALLS, 1)
        return self._snapshot(self._residence.entry, target)

    def _snapshot(
        self, entry: CatalogEntry, target: str | os.PathLike[str] | BinaryIO
    ) -> SnapshotReport:
        from llmspell.tenancy.snapshots import snapshot_tenant

        with self._residence.step("tenant.snapshot"):
            return snapshot_tenant(self._enter(), entry, target)

    def scrub(
        self,
        *,
        rate: float | None = None,
        repair: bool = False,
        progress: OnScrub | None = None,
        cancel: CancelToken | None = None,
    ) -> ScrubReport:
        """Read and check everything that the tenant holds, also what no search comes to.

        Each record, vector, entry of the log, document and expiry, the tables that lead to them,
        the counters and the files that the views open from. It goes by short moments: writes and
        searches go on, and it holds a few MiB. It blocks; run it in a thread of its own.

        Args:
            rate: bytes a second that it reads at most; None is as fast as it can.
            repair: write a damaged file of a view anew from the log, which takes the memory of one
                more index meanwhile. Records aren't repaired.
            progress: called every now and then.
            cancel: stops it; the report says then that it isn't complete.

        Returns:
            What was found. Damage raises nothing.

        Raises:
            InputError: rate isn't above 0, or ``cancel`` is no token.
        """
        from llmspell.tenancy.scrubbing import scrub_options

        return self._scrub(scrub_options(rate, repair, progress, cancel))

    @until_the_end
    def _scrub(self, options: ScrubOptions) -> ScrubReport:
        from llmspell.tenancy.scrubbing import scrub_tenant

        self._residence.require(self)
        self._charge(API_CALLS, 1)
        return scrub_tenant(self, options)

    @until_the_end
    def import_from(
        self, file: str | os.PathLike[str] | BinaryIO, *, on_conflict: OnConflict = "error"
    ) -> ImportReport:
        """Write the records and documents of an export, with the times that they had.

        A file that can seek is read to its end first: where it is damaged, doesn't fit this tenant
        or its quotas, nothing is written. Then batches are written, each durably or not at all,
        and a document always in one. Where that fails in the middle, a note at the error says what
        was written; the same import with ``on_conflict="skip"`` goes on from there.

        Args:
            file: a path, or an open binary file that stands at the export's first byte.
            on_conflict: what to do with ids that are there: ``"error"`` writes nothing,
                ``"replace"`` writes over them, ``"skip"`` leaves them as they are. A document is
                taken as a whole, with its chunks.

        Raises:
            CorruptFile: the file is damaged; the message names the frame.
            DimensionMismatch, MetricMismatch: it is of a tenant of another kind.
            DuplicateId: an id is there already.
            InputError: neither a path nor a binary file, or an unknown ``on_conflict``.
            MetadataError: metadata is not as this tenant's schema declares it.
            UnsupportedFormat: a later release wrote it.
        """
        with self._instruments.import_from.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            room.flush()
            with self._residence.step("tenant.import"):
                return import_tenant(room, self.config, self._residence.slot, file, on_conflict)
