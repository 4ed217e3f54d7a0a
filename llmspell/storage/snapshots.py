"""The snapshot files of a tenant's views: which there are, and who may write them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from llmspell.errors import DatabaseLocked
from llmspell.storage.files import FileLock
from llmspell.storage.healing import DATA

__all__ = ["LEXICAL", "PAYLOAD", "Snapshots", "reached"]

_LOG = logging.getLogger("llmspell")

KEPT: Final = 2

#: The snapshot of the payload index: see :mod:`llmspell.storage.payload_view`.
PAYLOAD: Final = "payload.snap"
#: The snapshot of the lexical index: see :mod:`llmspell.storage.lexical`.
LEXICAL: Final = "lexical.snap"


def reached(name: str, file: BinaryIO) -> int | None:
    """The log entry that the snapshot of a view has reached which opens when it is first asked.

    Args:
        name: :data:`PAYLOAD` or :data:`LEXICAL`.
        file: stands at its beginning.

    Returns:
        None where its header doesn't hold.
    """
    if name == LEXICAL:
        from llmspell.storage.lexical.snapshot_file import lexical_sequence

        return lexical_sequence(file)
    from llmspell.storage.payload_file import payload_sequence

    return payload_sequence(file)


class Snapshots:
    """Snapshots in a directory, each named after the log entry that it has reached.

    Of several processes one writes at a time.
    """

    __slots__ = ("_directory", "_rejected")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rejected: set[Path] = set()

    def path(self, sequence: int) -> Path:
        """File of the snapshot that has reached ``sequence``."""
        return self._directory / f"index-{sequence:016x}.snap"

    def sequences(self) -> list[int]:
        """Sequence numbers of the snapshots that are there, newest first."""
        found = []
        for path in self._directory.glob("index-*.snap"):
            try:
                found.append(int(path.stem.removeprefix("index-"), 16))
            except ValueError:
                _LOG.warning("%s is not a snapshot of this release", path)
        return sorted(found, reverse=True)

    def usable(self) -> list[int]:
        """Those of :meth:`sequences` that were not rejected."""
        return [one for one in self.sequences() if self.path(one) not in self._rejected]

    def reject(self, sequence: int) -> None:
        """Note that one can't be used: it goes when the next one is there."""
        self._rejected.add(self.path(sequence))

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """Keep other writers of snapshots out; gives False where one is at work."""
        try:
            lock = FileLock(
                self._directory / "snapshot.lock", timeout=0.0, holder=str(self._directory)
            )
        except DatabaseLocked:
            yield False
            return
        with lock:
            yield True

    def report(self, tenant_id: str, what: str, error: Exception) -> None:
        """Warn that one can't be written, unless another process has dropped the tenant."""
        if (self._directory / DATA).exists():
            _LOG.warning("tenant %s: %s: %s", tenant_id, what, error)

    def sweep(self) -> None:
        """Remove what a writer that died left unfinished."""
        if any(self._directory.glob("*.snap*.tmp")):
            with self.writing() as is_ours:
                if is_ours:
                    for unfinished in self._directory.glob("*.snap*.tmp"):
                        unfinished.unlink(missing_ok=True)

    def remove_ahead(self, log_end: Callable[[], int]) -> list[Path]:
        """Remove what is ahead of the log, as where an older log was put in the place of one.

        It is of other writes, and would seem to fit once the log has grown to its number.

        Args:
            log_end: reads the number of the log's last entry.

        Returns:
            Those that were.
        """
        there = [(sequence, self.path(sequence)) for sequence in self.sequences()]
        for path in (self._directory / PAYLOAD, self._directory / LEXICAL):
            if path.exists():
                with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
                    there.append((reached(path.name, file) or 0, path))
        # Behind the list, for others may write and save meanwhile.
        end = log_end()
        ahead = [path for sequence, path in there if sequence > end]
        for path in ahead:
            path.unlink(missing_ok=True)
        return ahead

    def keep_newest(self, written: int) -> int | None:
        """Remove all but the newest two, and what was rejected, after one was written.

        Returns:
            What the older of two has reached: the log before it is needed no more.
        """
        for path in self._rejected - {self.path(written)}:
            path.unlink(missing_ok=True)
        self._rejected.clear()
        kept = self.sequences()
        for old in kept[KEPT:]:
            self.path(old).unlink(missing_ok=True)
        return kept[KEPT - 1] if len(kept) >= KEPT else None
