"""Room in an LMDB file ahead of what is written, so that commits needn't make it longer."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

__all__ = ["grow_ahead"]

#: Pages that the file gets at a time: an eighth of it, in these bounds.
LEAST_AHEAD: Final = 4
MOST_AHEAD: Final = 64


def grow_ahead(data: str, end: int, page: int, map_size: int) -> None:
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
    """
    with suppress(OSError):
        size = os.stat(data).st_size
        ahead = min(max(size // page // 8, LEAST_AHEAD), MOST_AHEAD)
        if 4 * (size - end) < ahead * page and size + ahead * page <= map_size:
            descriptor = os.open(data, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, bytes(ahead * page), size)
            finally:
                os.close(descriptor)
