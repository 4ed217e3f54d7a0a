"""Resident memory of this process, what it holds of its own apart from what it maps of files."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Resident", "now", "resident"]

#: Counted page by page. The figures of /proc/self/status are sums of what each processor has told
#: so far, which on some kernels lack 32 pages of each, or more.
_PAGES = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Resident:
    """Bytes: ``anonymous`` can't be dropped without swap, ``file`` can be read again."""

    anonymous: int
    file: int

    def __sub__(self, other: Resident) -> Resident:
        return Resident(self.anonymous - other.anonymous, self.file - other.file)

    def describe(self, vectors: int) -> dict[str, Any]:
        """As JSON values; bytes a vector of what the process holds of its own."""
        return {
            "anonymous_mib": round(self.anonymous / 2**20, 1),
            "file_mib": round(self.file / 2**20, 1),
            "anonymous_bytes_a_vector": round(self.anonymous / vectors),
        }


def resident() -> Resident | None:
    """After a garbage collection; None where the system doesn't show it in /proc."""
    gc.collect()
    # Freed blocks that the allocator keeps would count as the index's.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return now()


def now() -> Resident | None:
    """As it is; None where the system doesn't show it in /proc."""
    if not _PAGES.exists():
        return None
    kibibytes = {}
    for line in _PAGES.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Anonymous"):
            kibibytes[name] = int(value.split()[0])
    anonymous = kibibytes["Anonymous"]
    return Resident(anonymous=anonymous << 10, file=(kibibytes["Rss"] - anonymous) << 10)
