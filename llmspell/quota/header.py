"""The header of a ledger's file, looked at from outside of the mapping."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Final

from llmspell._hot import crc32c

__all__ = ["check_header"]

# As csrc/ledger/format.hpp has it: magic, version, sizes of a slot and a hold, number of holds,
# size of the table, id of the boot, two times, checksum of all before it.
_HEADER: Final = struct.Struct("<8sIIIIQ40sqQI")
_CHECKED: Final = _HEADER.size - 4
_MAGIC: Final = b"LLMSLEDG"

#: A process may change it while it is read.
TRIES: Final = 3
TRY_AGAIN_SECONDS: Final = 0.01


def check_header(path: Path) -> str | None:
    """What is wrong with the header; None where it holds, or where there is no such file."""
    wrong = None
    for _ in range(TRIES):
        if not path.is_file():
            return None
        with path.open("rb") as file:
            wrong = _wrong(file.read(_HEADER.size))
        if wrong is None:
            return None
        time.sleep(TRY_AGAIN_SECONDS)
    return wrong


def _wrong(head: bytes) -> str | None:
    if len(head) < _HEADER.size:
        return f"{len(head)} bytes, a header has {_HEADER.size}"
    magic, *_, checksum = _HEADER.unpack(head)
    if magic != _MAGIC:
        return "it doesn't begin as a ledger"
    if crc32c(head[:_CHECKED]) != checksum:
        return "the checksum of its header does not match"
    return None
