"""An adapter for requests."""

from __future__ import annotations

import io
import netrc  # noqa: F401  # requests does that when it is used, and then it is too late
from email.message import Message
from typing import Any, cast

import requests
import requests.adapters
import urllib3

from llmspell.errors import EgressDenied, EgressFailed, EgressTimeout
from llmspell.security.egress.client import Client, client

__all__ = ["RequestsAdapter"]


class RequestsAdapter(requests.adapters.HTTPAdapter):
    """For ``session.mount("https://", RequestsAdapter())``, and the same for ``"http://"``.

    A request that failed raises requests' own errors; one that is refused raises EgressDenied.
    requests follows redirects itself, and the broker checks each. Timeouts of connecting and of
    reading together are the time for the whole request. Certificates are verified by the broker,
    whatever ``verify`` says.

    Args:
        via: the process's one client by default.
    """

    def __init__(self, via: Client | None = None) -> None:
        super().__init__()
        self._client = via

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """As requests calls it.

        Raises:
            EgressDenied: by the broker, or a certificate of one's own.
            requests.RequestException: it failed.
        """
        if cert is not None:
            raise EgressDenied("the broker sends no certificate of a client", reason="tls")
        try:
            answered = (self._client or client()).ask(
                str(request.method),
                str(request.url),
                [(_text(name), _text(value)) for name, value in request.headers.items()],
                _body(request.body),
                timeout=_seconds(timeout),
                redirects=False,
            )
        except EgressTimeout as error:
            late = requests.ReadTimeout if error.reason == "time" else requests.ConnectTimeout
            raise late(str(error), request=request) from error
        except EgressFailed as error:
            failed = (
                requests.exceptions.SSLError if error.reason == "tls" else requests.ConnectionError
            )
            raise failed(str(error), request=request) from error
        message = Message()
        for name, value in answered.headers.pairs:
            message.add_header(name, value)
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(answered.raw),
            headers=urllib3.HTTPHeaderDict(answered.headers.pairs),
            status=answered.status,
            preload_content=False,
            request_method=request.method,
            # Where requests looks for cookies.
            original_response=cast(Any, _Original(message)),
        )
        return self.build_response(request, raw)


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if hasattr(body, "read"):
        read = body.read()
        return read.encode() if isinstance(read, str) else read
    return b"".join(body)


def _seconds(timeout: Any) -> float | None:
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    return None if None in parts else float(sum(parts))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Original:
    """As much of an ``http.client.HTTPResponse`` as urllib3 and requests look at."""

    def __init__(self, message: Message) -> None:
        self.msg = message

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to close."""
