"""What went wrong in an official SDK, as our errors. Both are generated alike."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from llmspell.errors import (
    BadProviderResponse,
    ContextTooLong,
    LlmspellError,
    ProviderBusy,
    ProviderDenied,
    ProviderError,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
)
from llmspell.remote import retry_after
from llmspell.security import Secret

__all__ = ["failure_of"]

_LONGEST_SHOWN: Final = 300
# Of an event of a stream, which has no status of its own.
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}
_TOO_LONG: Final = ("context_length", "prompt is too long", "maximum context", "context window")


def failure_of(
    error: BaseException, sdk: ModuleType, provider: str, key: Secret[str] | None
) -> BaseException:
    """The error to raise in place of one of the SDK; what isn't the SDK's or HTTP's stays.

    Args:
        error: as it was caught.
        sdk: ``openai`` or ``anthropic``.
        provider: for the message.
        key: that was sent; where the provider repeats it, the message doesn't.
    """
    if isinstance(error, LlmspellError):
        return error
    if isinstance(error, sdk.APIStatusError):
        return _of_status(error, provider, key)
    if isinstance(error, sdk.APIConnectionError):  # the SDK's timeouts are some of these
        cause = error.__cause__ or error
        if isinstance(cause, LlmspellError):  # of what bounds the response
            return cause
        return _of_connection(cause, provider, error.request.url.netloc.decode())
    if isinstance(error, sdk.APIResponseValidationError):
        return BadProviderResponse(
            f"{provider}: the response isn't as it should be: {error!r:.300}"
        )
    if isinstance(error, sdk.APIError):
        return _of_event(error, provider, key)
    if type(error).__module__.partition(".")[0] in ("httpx2", "httpcore2"):
        return _of_connection(error, provider, "the server")
    # JSON that isn't, or is nested too deeply; bytes that are no text.
    if isinstance(error, (RecursionError, ValueError)):
        return BadProviderResponse(f"{provider}: the response can't be read: {error!r:.300}")
    return error


def _of_connection(cause: BaseException, provider: str, server: str) -> ProviderError:
    kind = type(cause).__name__
    if kind == "PoolTimeout":
        return ProviderBusy(f"{provider}: all connections are in use; nothing was sent")
    if kind in ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError"):
        return ProviderUnreachable(
            f"{provider}: no connection to {server:.300}: {cause!s:.300}; nothing was sent"
        )
    if kind.endswith("Timeout") or isinstance(cause, TimeoutError):
        return ProviderTimeout(f"{provider}: no answer in time", is_sent=True)
    return ProviderInterrupted(
        f"{provider}: the connection ended before the answer did: {cause!r:.300}", is_sent=True
    )


def _of_status(error: Any, provider: str, key: Secret[str] | None) -> ProviderError:
    status = int(error.status_code)
    if 300 <= status < 400:
        to = error.response.headers.get("location", "")
        return ProviderRefused(
            f"{provider}: {status}: the server redirects to {to!r:.200}, and a key goes to no "
            "other address than the base_url; give that one, if it is right",
            status=status,
        )
    body = error.body if isinstance(error.body, dict) else {}
    is_event = status < 300  # inside of a stream
    kind = _kind(body)
    if is_event:
        status = _STATUS_OF.get(kind, 500)
    return _made(
        status,
        provider,
        kind,
        _said(body, error, key),
        retry_after=None if is_event else retry_after(error.response.headers),
        # A request that is refused before it is worked on isn't billed; a fault comes any time.
        is_sent=is_event or (status >= 500 and status not in (503, 529)),
    )


def _of_event(error: Any, provider: str, key: Secret[str] | None) -> ProviderError:
    body = error.body if isinstance(error.body, dict) else {}
    kind = _kind(body)
    status = _STATUS_OF.get(kind, 500)
    return _made(status, provider, kind, _said(body, error, key), retry_after=None, is_sent=True)


def _made(
    status: int, provider: str, kind: str, said: str, *, retry_after: float | None, is_sent: bool
) -> ProviderError:
    if status in (401, 402, 403):
        # A provider may repeat a part of the key.
        return ProviderDenied(f"{provider}: {status}, the key isn't accepted", status=status)
    message = f"{provider}: {status}: {said}"
    if status == 429:
        return ProviderRateLimited(message, status=status, retry_after=retry_after, is_sent=is_sent)
    if status >= 500:
        return ProviderOverloaded(message, status=status, retry_after=retry_after, is_sent=is_sent)
    if status == 408:
        return ProviderTimeout(message, status=status, is_sent=True)
    is_too_long = any(part in f"{kind} {said}".lower() for part in _TOO_LONG)
    refused = ContextTooLong if is_too_long else ProviderRefused
    return refused(message, status=status, is_sent=is_sent)


def _kind(body: dict[str, Any]) -> str:
    inner = body.get("error")
    found = inner if isinstance(inner, dict) else body
    return str(found.get("code") or found.get("type") or "")


def _said(body: dict[str, Any], error: BaseException, key: Secret[str] | None) -> str:
    inner = body.get("error")
    found = inner if isinstance(inner, dict) else body
    said = str(found.get("message") or error)
    if key is not None:
        said = said.replace(key.reveal(), "***")
    return "".join(letter if letter.isprintable() else " " for letter in said[:_LONGEST_SHOWN])
