"""What the answers of embedding services that aren't 200 mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from llmspell.errors import (
    EmbeddingDenied,
    EmbeddingError,
    EmbeddingRateLimited,
    EmbeddingUnavailable,
    LlmspellError,
    TextTooLong,
)
from llmspell.remote import retry_after
from llmspell.security import Secret

__all__ = ["asked_wait", "failure", "is_passing"]

# As OpenAI, Azure, vLLM, Ollama, TEI, Cohere and Voyage say it.
_TOO_LONG: Final = re.compile(
    r"context length|input length|too long|too large|too many tokens|max allowed tokens"
    r"|less than \d+ tokens|batch size|at most \d+ (texts|tokens|inputs)"
    r"|max(imum)? .{0,40}tokens",
    re.IGNORECASE,
)
_MESSAGE_CHARS: Final = 300
_PASSING: Final = {408, 409, 425, 500, 502, 503, 504, 529}
# A budget that is used up doesn't come back by asking again.
_USED_UP: Final = re.compile(r"insufficient_quota|billing", re.IGNORECASE)


def failure(
    host: str,
    status: int,
    headers: Mapping[str, str],
    reply: bytes,
    key: Secret[str] | None,
) -> LlmspellError:
    """The error that an answer stands for; what it says of a key isn't repeated.

    Args:
        host: that answered.
        status: other than 200.
        headers: with names in lower case.
        reply: its body.
        key: that must not be in the message.
    """
    if status in (401, 403):
        return EmbeddingDenied(f"{host} refuses the key, or what it asks for (status {status})")
    said = _said(reply, key)
    text = f"{host} answered {status}: {said}"
    if status == 429:
        is_used_up = bool(_USED_UP.search(f"{said} {_code(reply)}"))
        return EmbeddingRateLimited(text, retry_after=retry_after(headers), is_used_up=is_used_up)
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(said)):
        return TextTooLong(text)
    # A request that is refused before it is worked on isn't billed; a fault comes any time.
    is_sent = status == 408 or (status >= 500 and status not in (503, 529))
    if status in _PASSING:
        return EmbeddingUnavailable(text, is_sent=is_sent, retry_after=retry_after(headers))
    return EmbeddingError(text, is_sent=is_sent)


def is_passing(error: EmbeddingError) -> bool:
    """Whether the same request may go through later."""
    if isinstance(error, EmbeddingRateLimited):
        return not error.is_used_up
    return isinstance(error, EmbeddingUnavailable)


def asked_wait(error: EmbeddingError) -> float | None:
    """Seconds that the service wants to be left alone."""
    if isinstance(error, (EmbeddingRateLimited, EmbeddingUnavailable)):
        return error.retry_after
    return None


def _said(reply: bytes, key: Secret[str] | None) -> str:
    """What an answer says, on one line and short."""
    text = reply[:65_536].decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = str(_message(json.loads(reply)) or text)
    if key is not None:
        text = text.replace(key.reveal(), "***")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:_MESSAGE_CHARS] or "nothing"


def _message(reply: Any) -> Any:
    """``{"error": {"message": …}}``, ``{"error": …}``, ``{"message": …}``, ``{"detail": …}``."""
    if not isinstance(reply, dict):
        return None
    error = reply.get("error")
    if isinstance(error, dict):
        return error.get("message")
    return error or reply.get("message") or reply.get("detail")


def _code(reply: bytes) -> str:
    try:
        error = json.loads(reply)["error"]
        return f"{error.get('code')} {error.get('type')}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
