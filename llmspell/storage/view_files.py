"""The files that the views of a room open from, checked whole and written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from llmspell.config import TenantConfig
from llmspell.errors import LlmspellError
from llmspell.storage.curves import decode_curves
from llmspell.storage.index_file import load_index
from llmspell.storage.lexical.snapshot_file import check_lexical
from llmspell.storage.log import Counters
from llmspell.storage.payload import PayloadIndex
from llmspell.storage.snapshots import LEXICAL, PAYLOAD, Snapshots
from llmspell.storage.view import CURVES

__all__ = ["ViewFiles"]

CHUNK: Final = 1 << 20


class ViewFiles:
    """The snapshots of a room. They may be replaced meanwhile: what is gone is not damaged.

    Args:
        directory: of the room.
        config: of the tenant.
        counters: gives those of the store; None where they are damaged.
        spend: as :class:`llmspell.storage.walk.Walk` has it.
    """

    def __init__(
        self,
        directory: Path,
        config: TenantConfig,
        counters: Callable[[], Counters | None],
        *,
        spend: Callable[[int], object] = lambda read: None,
        chunk: int = CHUNK,
    ) -> None:
        self._directory = directory
        self._config = config
        self._counters = counters
        self._spend = spend
        self._chunk = chunk

    def paths(self) -> list[Path]:
        """Those that are there now."""
        snapshots = Snapshots(self._directory)
        paths = list(map(snapshots.path, snapshots.sequences()))
        paths += [self._directory / name for name in (PAYLOAD, LEXICAL, CURVES)]
        return [path for path in paths if path.exists()]

    def damages(self) -> Iterator[tuple[Path, str | None]]:
        """Each that is there, and what is wrong with it; None where it holds."""
        for path in self.paths():
            try:
                self.check(path)
            except (LlmspellError, OSError) as error:
                if path.exists():
                    # Where the room lies is nobody's business who reads a report.
                    yield path, str(error).replace(f"{path}: ", "").removeprefix("snapshot ")
            else:
                yield path, None

    def check(self, path: Path) -> None:
        """Read all of one; raises StorageError where it doesn't hold."""
        # What is mapped can't be read at a pace. After this it lies in the system's cache.
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(self._chunk):
                self._spend(len(chunk))
        if path.name == CURVES:
            decode_curves(path, path.read_bytes(), 0)
        elif path.name == PAYLOAD:
            PayloadIndex.load(path, self._config.schema).verify()
        elif path.name == LEXICAL:
            check_lexical(path)
        else:
            load_index(path, self._config, self._counters)
