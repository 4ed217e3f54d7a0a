"""Files that come from elsewhere: exports, snapshots in tar, and index files of other libraries.

The first byte says which. An export may be given frame by frame: kind, flags, length of the body in
two bytes, and the body; checksums and the end are made to hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell._hot import crc32c
from llmspell.errors import LlmspellError, StorageError
from llmspell.index.migrate import FORMATS, read
from llmspell.storage.archive import unpack_archive
from llmspell.storage.export_file import END, ITEMS, MAGIC, MORE, ExportReader
from llmspell.storage.export_items import DOCUMENT, ExportedDocument, decode_items
from llmspell.storage.tar import tar_members

_FRAME = struct.Struct("<IIBBHI")
_GIVEN = struct.Struct("<BBH")
_FOLDER = tempfile.TemporaryDirectory(prefix="llmspell-fuzz-", ignore_cleanup_errors=True)
_HOME = Path(_FOLDER.name)
_METRICS = ("ip", "cosine", "l2")


def run(data: bytes) -> None:
    """Read as what the first byte names."""
    if data:
        READERS[data[0] % len(READERS)](data[1:])


def framed(data: bytes) -> bytes:
    """An export of the frames that are given, with an end that fits them."""
    out, checksum, number, body = MAGIC, crc32c(MAGIC), 0, b""
    items: list[Any] = []
    while len(data) >= _GIVEN.size:
        kind, flags, length = _GIVEN.unpack_from(data)
        part = data[_GIVEN.size : _GIVEN.size + length]
        data = data[_GIVEN.size + length :]
        raw, checksum = _frame(checksum, number, kind, flags, part)
        out += raw
        number += 1
        body += part
        if not flags & MORE:
            items += _items(body) if kind == ITEMS else []
            body = b""
    digest = hashlib.sha256(out).digest()
    kinds = [one[0] if isinstance(one, list) and one else None for one in items]
    documents = kinds.count(DOCUMENT)
    end = {
        "items": len(items),
        "bytes": len(out),
        "records": len(items) - documents,
        "documents": documents,
        "sha256": digest,
    }
    return out + _frame(checksum, number, END, 0, msgpack.packb(end))[0]


def _frame(checksum: int, number: int, kind: int, flags: int, body: bytes) -> tuple[bytes, int]:
    head = _FRAME.pack(0, number, kind, flags, 0, len(body))[4:]
    checksum = crc32c(body, crc32c(head, checksum))
    return struct.pack("<I", checksum) + head + body, checksum


def _items(body: bytes) -> list[Any]:
    try:
        found = msgpack.unpackb(body, timestamp=3)
    except (ValueError, TypeError, OverflowError):
        return []
    return found if isinstance(found, list) else []


def _export_items(data: bytes) -> None:
    for raw in (data, framed(data)):
        with contextlib.suppress(StorageError):
            reader = ExportReader(io.BytesIO(raw), "an export")
            for _ in decode_items(reader, 1):
                pass
            assert reader.bytes <= len(raw)


class _Home:
    """A tenant for imports, made anew before its directory grows large."""

    def __init__(self) -> None:
        self._database = llmspell.open(_HOME / "data")
        self._imports = 0
        self._make()

    def tenant(self) -> llmspell.Tenant:
        self._imports += 1
        if self._imports > 1_000:
            self._database.drop_tenant("it")
            self._make()
        return self._tenant

    def _make(self) -> None:
        config = TenantConfig(id="it", dim=1, metric="l2", quotas=QuotaLimits.unlimited())
        self._tenant = self._database.create_tenant(config)
        self._imports = 0


_homes: list[_Home] = []


def _import(data: bytes) -> None:
    if not _homes:
        _homes.append(_Home())
    tenant = _homes[0].tenant()
    try:
        report = tenant.import_from(io.BytesIO(framed(data)), on_conflict="replace")
    except LlmspellError:
        return
    file = io.BytesIO()
    written = tenant.export(file)
    assert written.records <= report.records
    file.seek(0)
    items = [*decode_items(ExportReader(file, "ours"), 1)]
    assert len(items) == written.records + written.documents
    documents = [item.id for item in items if isinstance(item, ExportedDocument)]
    _empty(tenant, documents)
    again = tenant.import_from(io.BytesIO(file.getvalue()))
    assert (again.records, again.documents) == (written.records, written.documents)
    _empty(tenant, documents)


def _empty(tenant: llmspell.Tenant, documents: list[str]) -> None:
    tenant.delete(filter={})
    tenant.delete(documents)  # those without chunks are no records


def _archive(data: bytes) -> None:
    into = _HOME / "archive"
    into.mkdir()
    try:
        with contextlib.suppress(StorageError):
            unpack_archive("it", tar_members(io.BytesIO(data), "it"), into, map_size=1 << 16)
        assert all(one.is_file() for one in into.iterdir())
        assert {one.name for one in into.parent.iterdir()} <= {"archive", "data", "index"}
    finally:
        shutil.rmtree(into)


def _foreign(data: bytes) -> None:
    if not data:
        return
    path = _HOME / "index"
    path.write_bytes(data[1:])
    formats = ("auto", *FORMATS)
    format = formats[data[0] % len(formats)]
    says = format not in ("faiss", "usearch")
    dim = 1 + (data[0] >> 4) if says and format != "npy" else None
    metric = _METRICS[(data[0] >> 4) % 3] if says else None
    # Where the file says itself what it is, an argument has to be the same.
    for arguments in ({"dim": dim, "metric": metric}, {}):
        with contextlib.suppress(LlmspellError):
            source = read(path, format=format, **arguments)  # type: ignore[arg-type]
            held = sum(len(ids) for ids, _ in source.batches(7))
            assert held == source.description.count
            if held < 100 and source.description.dim < 100:
                assert len(source.rebuild(threads=1)) == held


READERS: tuple[Callable[[bytes], None], ...] = (_export_items, _import, _archive, _foreign)
