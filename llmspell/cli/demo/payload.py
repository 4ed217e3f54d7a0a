"""The JSON document of ``llmspell demo --json``; the rules are those of llmspell.cli.payload."""

from __future__ import annotations

from typing import TypedDict

from llmspell.cli.payload import HitPayload

__all__ = [
    "AnswerPayload",
    "CorpusPayload",
    "DemoPayload",
    "IsolationPayload",
    "LatencyPayload",
    "RefusalPayload",
    "StagesPayload",
]


class CorpusPayload(TypedDict):
    """One tenant's documents; ``embedded`` and ``seconds`` are of this run."""

    tenant: str
    description: str
    documents: int
    passages: int
    embedded: int
    seconds: float


class StagesPayload(TypedDict):
    """Seconds that each stage of one search took."""

    embed: float
    search: float
    fetch: float


class AnswerPayload(TypedDict):
    """One question with its best hits."""

    tenant: str
    question: str
    seconds: StagesPayload
    hits: list[HitPayload]


class LatencyPayload(TypedDict):
    """Seconds over all questions: the median and the slowest."""

    stage: str
    median: float
    slowest: float


class RefusalPayload(TypedDict):
    """A quota that refused; ``retry_after`` is in seconds, null where waiting doesn't help."""

    attempt: str
    quota: str
    limit: int
    used: int
    requested: int
    retry_after: float | None
    message: str


class IsolationPayload(TypedDict):
    """What each tenant saw of the other: ``foreign_hits`` and ``foreign_found`` are 0."""

    searches: int
    hits: int
    foreign_hits: int
    lookups: int
    foreign_found: int


class DemoPayload(TypedDict):
    """The whole demo.

    ``first_run`` is false where nothing had to be embedded. ``open_seconds`` is for the database,
    ``first_search_seconds`` for a first search, which loads the embedding model where nothing was
    embedded before.
    """

    version: str
    data: str
    first_run: bool
    open_seconds: float
    first_search_seconds: float
    corpora: list[CorpusPayload]
    answers: list[AnswerPayload]
    latency: list[LatencyPayload]
    refusals: list[RefusalPayload]
    isolation: IsolationPayload
    next: list[str]
