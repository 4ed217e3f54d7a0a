"""What a server of embeddings was asked, and how it is told to fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["EmbeddingFault", "EmbeddingRequest"]

FaultKind = Literal[
    "status",
    "drop",
    "truncate",
    "stall",
    "wrong_count",
    "wrong_dim",
    "nan",
    "zeros",
    "garbage",
    "endless",
    "compressed",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingFault:
    """How one request fails.

    Args:
        kind: ``"status"`` answers with ``status``; ``"drop"`` closes the connection without an
            answer, ``"truncate"`` in the middle of it; ``"stall"`` answers after ``seconds``; the
            others answer 200 with a vector too few, vectors a number too short, a NaN, zeros, no
            JSON, a body without an end, or a compressed one.
        status: of ``"status"``.
        retry_after: value of the header ``Retry-After`` of ``"status"``.
        code: in the error of ``"status"``, such as ``"insufficient_quota"``.
        message: of the error of ``"status"``.
        seconds: of ``"stall"``.
    """

    kind: FaultKind
    status: int = 500
    retry_after: str | None = None
    code: str = "fault"
    message: str = "told to fail"
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRequest:
    """A request as it came.

    Attributes:
        service: whose format: ``"openai"``, ``"azure"``, ``"cohere"``, ``"voyage"``, ``"ollama"``;
            ``"tei"`` is its OpenAI-compatible one, and ``"tei-own"`` its own.
        path: with its query.
        headers: names in lower case.
        body: its JSON.
        texts: in ``body``.
    """

    service: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    texts: tuple[str, ...]
