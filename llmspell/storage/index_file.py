"""The snapshot of a tenant's vector index, held against the tenant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmspell.config import TenantConfig
from llmspell.errors import CorruptFile
from llmspell.index import Index
from llmspell.storage.log import Counters
from llmspell.storage.snapshots import Snapshots

__all__ = ["empty_index", "load_index"]


def empty_index(dim: int, config: TenantConfig) -> Index:
    """The index of a tenant before its first vectors."""
    return Index(dim=dim, metric=config.metric, params=config.index)


def load_index(
    path: Path,
    config: TenantConfig,
    counters: Callable[[], Counters | None],
    *,
    is_checked: bool = True,
) -> Index:
    """Open a snapshot.

    Args:
        config: of the tenant that it must fit.
        counters: gives those of its store; None where nobody knows them.
        is_checked: check all of it now, while the index can still be built from the log instead.

    Raises:
        CorruptFile: it is damaged, or not of this tenant's log.
        StorageError: it can't be read.
        UnsupportedFormat: another version wrote it.
    """
    index = Index.load(path)
    if is_checked:
        index.verify()
    if Snapshots(path.parent).path(index.tag) != path:
        raise CorruptFile(f"it is of entry {index.tag}, its name says {path.stem}")
    known = counters()
    if known is not None and index.tag > known.sequence:
        raise CorruptFile(f"it is ahead of the log, which ends at {known.sequence}")
    wanted = empty_index(index.dim if known is None else known.dim, config)
    if (index.dim, index.metric, index.params) != (wanted.dim, wanted.metric, wanted.params):
        raise CorruptFile("it has another dimension, metric or parameters than the tenant")
    return index
