"""What is printed of records: put in, found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from llmspell import Hit, Retrieved
    from llmspell.tenancy import IngestReport

__all__ = [
    "HitPayload",
    "IngestPayload",
    "SearchPayload",
    "hit_payload",
    "ingest_payload",
    "retrieved_payload",
]


class HitPayload(TypedDict):
    """One hit; ``text`` and ``metadata`` are as stored.

    ``distance`` is null where words are searched for, ``why`` where they aren't.
    """

    id: str | int
    score: float
    distance: float | None
    why: str | None
    text: str | None
    metadata: dict[str, Any]


class SearchPayload(TypedDict):
    """``llmspell search``."""

    tenant: str
    query: str
    k: int
    seconds: float
    mode: str
    hits: list[HitPayload]


class IngestPayload(TypedDict):
    """``llmspell ingest``: documents added, replaced, left as they were; sources passed over.

    ``chunks`` were embedded and written; ``kept`` are those of replaced documents that stayed.
    """

    tenant: str
    added: int
    replaced: int
    unchanged: int
    chunks: int
    kept: int
    skipped: list[str]
    seconds: float


def hit_payload(hit: Hit) -> HitPayload:
    """``hit`` as it appears in JSON."""
    return {
        "id": hit.id,
        "score": float(hit.score),
        "distance": float(hit.distance),
        "why": None,
        "text": hit.text,
        "metadata": dict(hit.metadata),
    }


def retrieved_payload(hit: Retrieved) -> HitPayload:
    """``hit`` as it appears in JSON."""
    return {
        "id": hit.id,
        "score": hit.score,
        "distance": None,
        "why": hit.why,
        "text": hit.text,
        "metadata": hit.metadata,
    }


def ingest_payload(tenant: str, report: IngestReport) -> IngestPayload:
    """``report`` as it appears in JSON."""
    return {
        "tenant": tenant,
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "chunks": report.chunks,
        "kept": report.kept,
        "skipped": list(report.skipped),
        "seconds": report.seconds,
    }
