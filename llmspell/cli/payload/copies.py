"""What is printed of copies of a tenant: exports, imports, snapshots."""

from __future__ import annotations

from typing import TypedDict

__all__ = [
    "ExportPayload",
    "ImportedPayload",
    "SnapshotTakenPayload",
]


class ExportPayload(TypedDict):
    """``llmspell export``; records include the chunks of documents."""

    tenant: str
    file: str
    records: int
    documents: int
    bytes: int
    seconds: float


class SnapshotTakenPayload(TypedDict):
    """``llmspell tenant snapshot``; records include the chunks of documents."""

    tenant: str
    target: str
    records: int
    documents: int
    bytes: int
    seconds: float


class ImportedPayload(TypedDict):
    """``llmspell import``: what was written, and what was there or had expired."""

    tenant: str
    file: str
    records: int
    documents: int
    skipped: int
    expired: int
    bytes: int
    seconds: float
