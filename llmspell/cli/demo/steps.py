"""What the demo does, step by step; each gives a payload and prints nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from llmspell import Document, QuotaLimits, TenantConfig, errors
from llmspell.cli.demo.questions import OWN, PYTHON, QUESTIONS, Question
from llmspell.cli.paths import default_data_directory
from llmspell.cli.payload import hit_payload

if TYPE_CHECKING:
    from llmspell import Database, Tenant
    from llmspell.cli.demo.payload import (
        AnswerPayload,
        IsolationPayload,
        LatencyPayload,
        RefusalPayload,
    )
    from llmspell.observability import Stages

__all__ = [
    "answer",
    "check_isolation",
    "first_search",
    "latencies",
    "next_commands",
    "refusals",
]

HITS = 3
TINY = "demo-tiny"
TINY_DOCUMENTS = 3
TINY_CALLS = 5


def first_search(room: Tenant) -> float:
    """Search once, so that the embedding model is in memory; gives the seconds it took."""
    start = perf_counter()
    room.search("anything", 1)
    return perf_counter() - start


def answer(question: Question, room: Tenant, stages: Stages) -> AnswerPayload:
    """Put one question to its tenant; the times are those that the database's metrics count."""
    before = (stages.embed.sum_ns, stages.search.sum_ns, stages.fetch.sum_ns)
    hits = room.search(question.text, HITS)
    after = (stages.embed.sum_ns, stages.search.sum_ns, stages.fetch.sum_ns)
    embed, search, fetch = ((b - a) / 1e9 for a, b in zip(before, after, strict=True))
    return {
        "tenant": question.tenant,
        "question": question.text,
        "seconds": {"embed": embed, "search": search, "fetch": fetch},
        "hits": [hit_payload(hit) for hit in hits],
    }


def latencies(answers: Sequence[AnswerPayload]) -> list[LatencyPayload]:
    """Median and slowest of each stage over all answers."""
    return [
        {"stage": stage, "median": median(times), "slowest": max(times)}
        for stage, times in (
            ("embed", [one["seconds"]["embed"] for one in answers]),
            ("search", [one["seconds"]["search"] for one in answers]),
            ("fetch", [one["seconds"]["fetch"] for one in answers]),
        )
    ]


def refusals(database: Database) -> list[RefusalPayload]:
    """Run a tenant of tiny quotas into two of them; the tenant is gone afterwards.

    One quota is a level, where waiting doesn't help, and one a rate, where it does.
    """
    quotas = QuotaLimits(max_documents=TINY_DOCUMENTS, max_api_calls_per_minute=TINY_CALLS)
    if any(info.id == TINY for info in database.tenants()):
        database.drop_tenant(TINY)
    room = database.create_tenant(TenantConfig(id=TINY, quotas=quotas))
    try:
        notes = [Document(id=f"note-{n}", text=f"Note number {n}.") for n in range(5)]
        found = []
        try:
            room.ingest(notes)
        except errors.QuotaExceeded as refusal:
            attempt = f"ingest {len(notes)} documents where {TINY_DOCUMENTS} are allowed"
            found.append(_refusal(attempt, refusal))
        try:
            for _ in range(2 * TINY_CALLS):
                room.search("anything", 1)
        except errors.QuotaExceeded as refusal:
            attempt = f"search again and again where {TINY_CALLS} calls a minute are allowed"
            found.append(_refusal(attempt, refusal))
        return found
    finally:
        database.drop_tenant(TINY)


def _refusal(attempt: str, error: errors.QuotaExceeded) -> RefusalPayload:
    return {
        "attempt": attempt,
        "quota": error.quota,
        "limit": error.limit,
        "used": error.used,
        "requested": error.requested,
        "retry_after": error.retry_after,
        "message": str(error),
    }


def check_isolation(
    rooms: Mapping[str, Tenant], answers: Sequence[AnswerPayload]
) -> IsolationPayload:
    """Ask each tenant the other's questions, and for the ids of the other's best hits.

    Every document of the demo names its tenant in its metadata, so a foreign hit shows.
    """
    seen = [
        (tenant, hit)
        for tenant, room in rooms.items()
        for question in QUESTIONS
        for hit in room.search(question.text, 10)
    ]
    asked = [
        (rooms[OWN if one["tenant"] == PYTHON else PYTHON], hit["id"])
        for one in answers
        for hit in one["hits"]
    ]
    found = 0
    for room, foreign in asked:
        try:
            room.get(foreign)
        except errors.IdNotFound:
            continue
        found += 1
    return {
        "searches": len(rooms) * len(QUESTIONS),
        "hits": len(seen),
        "foreign_hits": sum(hit.metadata["tenant"] != tenant for tenant, hit in seen),
        "lookups": len(asked),
        "foreign_found": found,
    }


def next_commands(data: Path) -> list[str]:
    """What to type next, as it works in this very data directory."""
    where = "" if data == default_data_directory() else f" --data {shlex.quote(str(data))}"
    return [
        f'llmspell search {PYTHON} "parse a date from a string"{where}',
        f"llmspell tenant create acme{where}",
        f"llmspell ingest acme FOLDER{where}",
        f'llmspell search acme "your question"{where}',
        f"llmspell stats{where}",
    ]
