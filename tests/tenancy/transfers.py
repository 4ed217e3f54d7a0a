"""Tenants to export from and import into, and what is in them and in a file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from llmspell import Database, Document, QuotaLimits, Record, Tenant, TenantConfig
from llmspell.storage import ExportReader


def vectors(count: int, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)


def lines(name: str, count: int) -> Document:
    return Document(name, "\n".join(f"{name} line {i}" for i in range(count)), {"of": name})


class Makes:
    """Makes tenants of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._count = 0

    def __call__(self, **settings: Any) -> Tenant:
        self._count += 1
        given = {"quotas": QuotaLimits.unlimited(), **settings}
        return self._db.create_tenant(TenantConfig(id=f"made-{self._count}", **given))


def exported(tenant: Tenant) -> bytes:
    file = io.BytesIO()
    report = tenant.export(file)
    assert report.bytes == len(file.getvalue())
    return file.getvalue()


def plain(record: Record) -> tuple[object, ...]:
    times = record.created_at, record.updated_at, record.expires_at
    return record.id, record.vector.tobytes(), record.text, record.metadata, times


def content(tenant: Tenant) -> list[tuple[object, ...]]:
    return [plain(record) for record in tenant.scan(limit=100_000).records]


def items(raw: bytes) -> list[Any]:
    return list(ExportReader(io.BytesIO(raw), "export").items())


class Stream(io.RawIOBase):
    """What can't seek, and gives and takes few bytes at a time."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = io.BytesIO(raw)

    def read(self, size: int = -1) -> bytes:
        return self.raw.read(min(size, 1_000))

    def write(self, data: Any) -> int:
        return self.raw.write(bytes(data[:1_000]))

    def seekable(self) -> bool:
        return False


def frame_edges(raw: bytes) -> list[int]:
    edges = [8]
    while edges[-1] < len(raw):
        edges.append(
            edges[-1] + 16 + int.from_bytes(raw[edges[-1] + 12 : edges[-1] + 16], "little")
        )
    assert edges[-1] == len(raw)
    return edges
