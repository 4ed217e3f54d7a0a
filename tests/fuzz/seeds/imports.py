"""Exports, snapshots in tar, and index files of other libraries, small ones."""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.index.migrate import FORMATS
from llmspell.storage.export_file import HEADER, ITEMS, MORE
from tests.fuzz.targets.imports import READERS
from tests.index.migrate.writers import faiss, faiss_file, hnswlib_file, usearch_file

HEAD = {"format": 1, "metric": "l2", "dim": 1, "schema": {}, "name": "", "exported_us": 1}
VECTOR = np.ones(1, "<f4").tobytes()
CHUNK = {"document": "d", "start": 0, "end": 1}


def _to(reader: str, raw: bytes) -> bytes:
    return bytes([[one.__name__ for one in READERS].index(f"_{reader}")]) + raw


def _frames(*frames: tuple[int, int, Any]) -> bytes:
    out = b""
    for kind, flags, value in frames:
        body = value if isinstance(value, bytes) else msgpack.packb(value)
        out += struct.pack("<BBH", kind, flags, len(body)) + body
    return out


def _import(*items: Any, **head: Any) -> bytes:
    return _to("import", _frames((HEADER, 0, {**HEAD, **head}), (ITEMS, 0, list(items))))


def _record(identity: Any, kind: int = 0, **other: Any) -> list[Any]:
    parts = {"created": 1, "updated": 2, "expires": None, "metadata": {"a": [1, None]}}
    parts |= {"text": "t", "vector": VECTOR, **other}
    return [kind, identity, *parts.values()]


def _document(identity: str, chunks: int, content_hash: bytes = b"h") -> list[Any]:
    return [1, identity, content_hash, {"a": 1}, chunks]


def _exported(folder: Path) -> tuple[bytes, bytes]:
    """A tenant of two records: its export, and a snapshot in tar cut behind its first pages."""
    with llmspell.open(folder / "data") as db:
        config = TenantConfig(id="x", metric="l2", quotas=QuotaLimits.unlimited())
        tenant = db.create_tenant(config)
        tenant.upsert(["a", 7], np.ones((2, 1)), metadata=[{"lang": "en"}, {}], texts=["one", None])
        file, tar = io.BytesIO(), io.BytesIO()
        tenant.export(file)
        tenant.snapshot(tar)
    return file.getvalue(), tar.getvalue()[:1_500]


def _foreign(folder: Path) -> dict[str, bytes]:
    ids, vectors = np.arange(6) * 7 + 3, np.arange(12, dtype=np.float32).reshape(6, 2)
    path = folder / "index"

    def of(format: str, high: int = 0, content: bytes | None = None) -> bytes:
        first = ["auto", *FORMATS].index(format)
        while first >> 4 != high:  # any number that is the same by the number of formats
            first += len(FORMATS) + 1
        return _to("foreign", bytes([first]) + (path.read_bytes() if content is None else content))

    found = {}
    hnswlib_file(path, ids, vectors, deleted=ids[:1].tolist())
    found["hnswlib"] = of("hnswlib", 1)
    for name in ("IndexFlatL2", "IndexFlatIP", "IndexHNSWFlat"):
        index = getattr(faiss, name)(*((2, 4) if "HNSW" in name else (2,)))
        index.add(vectors)
        faiss_file(path, index)
        found[f"faiss-{name}"] = of("auto")
    index = faiss.IndexIDMap2(faiss.IndexFlatL2(2))
    index.add_with_ids(vectors, ids)
    faiss_file(path, index)
    found["faiss-IndexIDMap2"] = of("faiss")
    for dtype in ("f32", "bf16", "i8"):
        usearch_file(path, ids, vectors, dtype=dtype, deleted=ids[:1].tolist())
        found[f"usearch-{dtype}"] = of("usearch" if dtype == "f32" else "auto")
    file = io.BytesIO()
    np.save(file, vectors)
    found["npy"] = of("npy", 2, file.getvalue())
    file = io.BytesIO()
    np.save(file, vectors.astype("<f2"))
    found["npy-fortran"] = of("npy", 0, file.getvalue().replace(b"False", b"True "))
    found["npy-of-objects"] = of("npy", 0, file.getvalue().replace(b"<f2", b"|O "))
    found["nothing"] = of("auto", 0, b"")
    found["snapshot-of-ours"] = of("auto", 0, b"LLSPIDX\n" + bytes(56))
    return {f"foreign-{name}": data for name, data in found.items()}


def inputs() -> dict[str, bytes]:
    """Inputs by name."""
    with tempfile.TemporaryDirectory() as name:
        export, tar = _exported(Path(name))
        foreign = _foreign(Path(name))
    header = (HEADER, 0, HEAD)
    chunk = _record("d#0", 2, metadata=CHUNK)
    return {
        "export": _to("export_items", export),
        "export-cut": _to("export_items", export[:-30]),
        "export-frames": _to("export_items", _frames(header, (ITEMS, 0, [_record("a")]))),
        "import": _import(_record(7), _record("a"), _document("d", 1), chunk),
        "import-expired": _import(_record("a", expires=1)),
        "import-nothing": _import(),
        "import-no-header": _to("import", _frames((ITEMS, 0, []))),
        "import-two-headers": _to("import", _frames(header, header)),
        "import-later": _import(format=2),
        "import-other-metric": _import(metric="ip"),
        "import-other-dimension": _import(dim=2),
        "import-dimension-zero": _import(dim=0),
        "import-out-of-order": _import(_record("b"), _record("a")),
        "import-id-beyond-limit": _import(_record("x" * 511)),
        "import-id-of-64-bits": _import(_record(2**63)),
        "import-time-beyond-limit": _import(_record("a", created=1 << 62)),
        "import-text-is-bytes": _import(_record("a", text=b"x")),
        "import-metadata-odd": _import(_record("a", metadata={"a": {"b": b"x"}, "": 2**64 - 1})),
        "import-vector-not-finite": _import(_record("a", vector=b"\0\0\xc0\x7f")),
        "import-vector-short": _import(_record("a", vector=b"")),
        "import-document-lost": _import(_document("d", 0, b"")),
        "import-document-without-chunks": _import(_document("d", 0)),
        "import-document-twice": _import(_document("d", 0), _document("d", 0)),
        "import-chunks-missing": _import(_document("d", 2), chunk),
        "import-chunk-of-another": _import(_document("e", 1), chunk),
        "import-chunk-number": _import(_document("d", 1), _record("d#01", 2, metadata=CHUNK)),
        "import-chunk-alone": _import(chunk),
        "import-item-odd": _import(7, [], ["x"]),
        "import-in-parts": _to(
            "import", _frames(header, (ITEMS, MORE, b"\x91"), (ITEMS, 0, msgpack.packb(7)))
        ),
        "import-unfinished": _to("import", _frames(header, (ITEMS, MORE, b"\x91"))),
        "archive-cut": _to("archive", tar),
        "archive-link": _to("archive", tar[:156] + b"2" + tar[157:]),
        "archive-empty": _to("archive", bytes(1_024)),
        "archive-compressed": _to("archive", b"\x1f\x8b\x08" + bytes(600)),
        **foreign,
    }
