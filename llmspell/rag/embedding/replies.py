"""The formats in which services give vectors."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from llmspell.rag.embedding.remote import Reply

__all__ = ["data_reply", "token_count"]


def data_reply(answer: Any, count: int) -> Reply:
    """``{"data": [{"index": 0, "embedding": …}, …], "usage": {"total_tokens": …}}``.

    As OpenAI gives it, and all that follow it; an embedding is a list of numbers, or float32 in
    base64. Rows are ordered by ``index``.

    Raises:
        KeyError, TypeError, ValueError: it isn't that.
    """
    items = answer["data"]
    if all("index" in item for item in items):
        items = sorted(items, key=lambda item: item["index"])
        if [item["index"] for item in items] != list(range(count)):
            raise ValueError("places that aren't those of the texts")
    rows = [_row(item["embedding"]) for item in items]
    usage = answer.get("usage") or {}
    return Reply(rows, token_count(usage.get("total_tokens", usage.get("prompt_tokens"))))


def token_count(value: object) -> int | None:
    """A number of tokens as a service gives it, which may be a float; None where it is none."""
    if type(value) not in (int, float) or not 0 <= value < 1 << 53:  # type: ignore[operator]
        return None
    return int(value)  # type: ignore[call-overload, no-any-return]


def _row(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return embedding
