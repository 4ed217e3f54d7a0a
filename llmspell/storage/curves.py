"""What a tenant's index has measured of its recall, kept beside its snapshots.

A snapshot holds no calibration, and measuring takes seconds. Here are figures alone, and no query.
The first line is a checksum of the second, JSON: the sequence number of the snapshot that they
belong to, and the curves.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmspell.errors import CorruptFile
from llmspell.index import RecallCurve, RecallPoint
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import sync_directory

__all__ = ["decode_curves", "read_curves", "write_curves"]


def write_curves(path: Path, sequence: int, curves: Sequence[RecallCurve]) -> None:
    """Replace the file, durably.

    Raises:
        StorageError: the old one stands.
    """
    body = json.dumps({"sequence": sequence, "curves": [asdict(curve) for curve in curves]})
    unfinished = path.with_name(path.name + ".tmp")
    with storage_errors(path, "writing"):
        with unfinished.open("w", encoding="ascii") as file:
            file.write(f"{zlib.crc32(body.encode()):08x}\n{body}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)


def read_curves(path: Path, sequence: int) -> tuple[RecallCurve, ...]:
    """Read what was measured of the index as that snapshot has it; empty where nothing was.

    Raises:
        CorruptFile: the file is damaged.
        StorageError: it can't be read.
    """
    with storage_errors(path, "reading"):
        if not path.exists():
            return ()
        raw = path.read_bytes()
    return decode_curves(path, raw, sequence)


def decode_curves(path: Path, raw: bytes, sequence: int) -> tuple[RecallCurve, ...]:
    """What :func:`read_curves` gives of a file with these bytes; raises CorruptFile."""
    checksum, _, body = raw.rstrip(b"\n").partition(b"\n")
    if checksum != b"%08x" % zlib.crc32(body):
        raise CorruptFile(f"{path}: its checksum is wrong")
    try:
        kept = json.loads(body)
        return tuple(map(_curve, kept["curves"])) if kept["sequence"] == sequence else ()
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} holds no recall curves: {error!r}") from None


def _curve(kept: dict[str, Any]) -> RecallCurve:
    points = tuple(RecallPoint(**point) for point in kept["points"])
    return RecallCurve(**{**kept, "points": points})
