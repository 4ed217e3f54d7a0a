"""Programs under the recorder of record.c: building it, starting them, reading what they did."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

#: Memory to make thousands of small databases in, where there is such a folder: no fsync waits.
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None

_HEADER = struct.Struct("<IIQQII")


class Op(IntEnum):
    """Kinds of entries, as in record.c."""

    CREATE = 1
    MKDIR = 2
    RENAME = 3
    REMOVE = 4
    LINK = 5
    WRITE = 6
    RESIZE = 7
    SYNC = 8
    MAPPED = 9
    MARK = 10
    LOST = 11


class How(IntEnum):
    """How a call fails, as in record.c."""

    PLAIN = 0
    SHORTENED = 1
    DROPPED = 2


class Call(IntEnum):
    """Kinds of calls that can be made to fail, as in record.c."""

    OPEN = 1
    READ = 2
    WRITE = 4
    SYNC = 8
    SIZE = 16
    NAME = 32
    MAP = 64
    WRITTEN = 128


class Entry(NamedTuple):
    """A change to a file, a directory or, for MARK, to what the program has acknowledged.

    Args:
        flags: of WRITE, whether the descriptor is O_DSYNC; of RENAME, none; of MAPPED, whether a
            copy of the file begins here, of ``offset`` bytes; of MARK, what it says.
        path: relative to the recorded directory.
        data: what was written, or the second path.
    """

    op: Op
    flags: int
    ino: int
    offset: int
    path: str
    data: bytes


@functools.cache
def recorder() -> Path:
    """The library to preload, of record.c and clock.c; skips the test where that can't be."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux"):
        pytest.skip("LD_PRELOAD and /proc are Linux's")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the recorder with")
    library = Path(tempfile.mkdtemp(prefix="llmspell-record-")) / "record.so"
    sources = [Path(__file__).with_name(name) for name in ("record.c", "clock.c")]
    subprocess.run(
        [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", library, *sources, "-ldl", "-pthread"],
        check=True,
    )
    return library


def start_recorded(
    module: str, *arguments: str, root: Path, trace: Path | None, clock: int = 0
) -> subprocess.Popen[str]:
    """Start a module of the tests under the recorder, which watches what lies beneath ``root``.

    Args:
        clock: seconds by which its wall clock is ahead.
    """
    environment = {
        **os.environ,
        "LD_PRELOAD": str(recorder()),
        "CRASH_ROOT": str(root.resolve()),
        "CRASH_CLOCK": str(clock),
    }
    if trace is not None:
        environment["CRASH_TRACE"] = str(trace)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_recorded(
    module: str, *arguments: str, root: Path, trace: Path | None
) -> subprocess.CompletedProcess[str]:
    """Run a module as :func:`start_recorded` starts it, to its end."""
    started = start_recorded(module, *arguments, root=root, trace=trace)
    out, err = started.communicate()
    return subprocess.CompletedProcess(started.args, started.returncode, out, err)


def mark(kind: int, number: int) -> None:
    """Note in the trace that step ``number`` begins (0) or is acknowledged (1)."""
    ctypes.CDLL(None).crash_mark(kind, ctypes.c_uint64(number))


def read_trace(path: Path) -> Iterator[Entry]:
    """What a program did, in its order."""
    raw = path.read_bytes()
    at = 0
    while at < len(raw):
        op, flags, ino, offset, first, second = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        name, data = raw[at : at + first].decode(), raw[at + first : at + first + second]
        at += first + second
        yield Entry(Op(op), flags, ino, offset, name, data)
