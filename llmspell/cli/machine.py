"""What this machine is: processor, huge pages, file systems."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

__all__ = ["cpu_name", "file_system", "huge_pages"]


def cpu_name() -> str:
    """The processor's name as the system gives it, with the number of cores usable here."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def huge_pages() -> str | None:
    """Mode of transparent huge pages ("always", "madvise" or "never"); None where unknown."""
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    except OSError:
        return None
    return text.partition("[")[2].partition("]")[0] or None


def file_system(path: Path) -> str | None:
    """Type of the file system that ``path`` lies on (or would lie on); None where unknown."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        fields, _, tail = line.partition(" - ")
        # The kernel writes blanks and backslashes in paths as octal escapes.
        point = fields.split(" ")[4].encode("latin-1", "replace").decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), tail.split(" ")[0])
    return found[1]
