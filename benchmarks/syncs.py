"""How often a process asks for its writes to reach the disk, counted by strace."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

__all__ = ["SyncTrace"]

_SYNCS = ("fsync", "fdatasync", "msync", "syncfs", "sync", "sync_file_range")
_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
_CALL = re.compile(r"(\d+) +(\w+)\((\w+)?")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")
_RESULT = re.compile(r" = (\d+)$")
_SYNCED_OPEN = re.compile(r"\bO_D?SYNC\b")


class SyncTrace:
    """Traces a process and its threads from its start.

    Counted are the calls of ``fsync`` and its kin, ``msync`` with MS_SYNC alone, and as
    ``synced write`` a write through a descriptor that was opened with O_SYNC or O_DSYNC. What a
    library asks for through io_uring isn't seen.
    """

    def __init__(self, file: Path) -> None:
        """``file`` is where strace writes to."""
        self._file = file

    @staticmethod
    def is_available() -> bool:
        """Whether strace is installed and allowed to trace, which a container may refuse."""
        try:
            command = ["strace", "-qq", "-o", os.devnull, "true"]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    @property
    def command(self) -> list[str]:
        """What goes before the command of the process, which keeps its own process id."""
        traced = ",".join((*_SYNCS, *_WRITES, "openat", "close"))
        return [
            *("strace", "-D", "-f", "-qq", "-e", f"trace={traced}", "-e", "signal=none"),
            *("-o", str(self._file)),
        ]

    def counts(self) -> Counter[str]:
        """Calls so far, by name."""
        return count_syncs(self._file.read_text(encoding="utf-8", errors="replace"))


def count_syncs(trace: str) -> Counter[str]:
    """The same of what ``strace -f`` has written."""
    counts: Counter[str] = Counter()
    synced: set[str] = set()
    opening: set[str] = set()
    for line in trace.splitlines():
        if resumed := _RESUMED.match(line):
            thread, name = resumed.groups()
            result = _RESULT.search(line)
            if name == "openat" and thread in opening and result:
                synced.add(result[1])
            opening.discard(thread)
            continue
        called = _CALL.match(line)
        if not called:
            continue
        thread, name, first = called.groups()
        if name == "openat":
            if _SYNCED_OPEN.search(line):
                if result := _RESULT.search(line):
                    synced.add(result[1])
                else:
                    opening.add(thread)
        elif name == "close":
            synced.discard(first)
        elif name in _WRITES:
            counts["synced write"] += first in synced
        elif name != "msync" or "MS_SYNC" in line:
            counts[name] += 1
    return counts
