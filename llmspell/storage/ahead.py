"""Room in an LMDB file ahead of what is written, so that commits needn't make it longer."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

__all__ = ["grow_ahead", "wanted_ahead"]

#: Pages that the file gets at a time: an eighth of it, in these bounds.
LEAST_AHEAD: Final = 4
MOST_AHEAD: Final = 64
#: It gets them when a quarter of so many is left.
LEFT: Final = 4


def wanted_ahead(size: int, page: int) -> int:
    """Bytes behind the last page in use with which a file of ``size`` bytes is long enough."""
    return _ahead(size, page) // LEFT


def grow_ahead(data: str, end: int, page: int, map_size: int) -> int:
    """Make the file longer where little of it is left, in a write transaction before its commit.

    A commit that makes it longer waits for the journal of the file system besides. One that writes
    over what is there doesn't, if that was written before: to blocks that were only reserved, as by
    ``fallocate``, the first write is as dear. LMDB takes no notice of what lies behind its last
    page, and all other writers wait meanwhile, so that nothing else is written there. A file that
    can't be longer is as good.

    Args:
        data: path of the file.
        end: of the last page that is used, in bytes.
        page: bytes of a page.
        map_size: bytes that the file has at most.

    Returns:
        Bytes that the file has now, or fewer.
    """
    size = 0
    with suppress(OSError):
        size = os.stat(data).st_size
        ahead = _ahead(size, page)
        if size - end < ahead // LEFT and size + ahead <= map_size:
            descriptor = os.open(data, os.O_WRONLY | os.O_CLOEXEC)
            try:
                size += os.pwrite(descriptor, bytes(ahead), size)
            finally:
                os.close(descriptor)
    return size


def _ahead(size: int, page: int) -> int:
    return page * min(max(size // page // 8, LEAST_AHEAD), MOST_AHEAD)
