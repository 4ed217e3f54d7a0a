"""What is printed of indexes: ``llmspell bench`` and ``llmspell index``."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "BenchPayload",
    "ImportPayload",
    "SnapshotPayload",
]


class BenchPayload(TypedDict):
    """``llmspell bench``; ``recall`` is the share of the exact top k that was found."""

    source: str
    vectors: int
    dim: int
    metric: str
    queries: int
    k: int
    ef_search: int
    simd_level: str
    cpu: str
    build_seconds: float
    search_p50_us: float
    search_p99_us: float
    exact_p50_us: float
    recall: float


class ImportPayload(TypedDict):
    """``llmspell index import``: what was read, and the index that was made of it.

    ``recall`` is the share of the exact ``k`` nearest others of ``queries`` vectors of the file
    that the index finds; null where the file has fewer than two.
    """

    file: str
    format: str
    kind: str
    file_dtype: str
    deleted: int
    vectors: int
    dim: int
    metric: str
    dtype: str
    build_seconds: float
    k: int
    queries: int
    recall: float | None
    snapshot: str
    bytes: int


class SnapshotPayload(TypedDict):
    """``llmspell index info``; ``params`` are those of the Index, ``stats`` its figures."""

    snapshot: str
    bytes: int
    vectors: int
    dim: int
    metric: str
    dtype: str
    tag: int
    params: dict[str, Any]
    stats: dict[str, int]
