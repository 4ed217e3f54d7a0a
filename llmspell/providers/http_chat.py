"""What models behind an official SDK have in common."""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any, ClassVar, Final, Protocol, Self
from urllib.parse import urlsplit

from llmspell.errors import (
    BadProviderResponse,
    ConfigError,
    LlmspellError,
    MissingDependency,
    ProviderTimeout,
)
from llmspell.providers.bill import Bill, billed
from llmspell.providers.chat import (
    ChatRequest,
    ChatResponse,
    StreamEvent,
    TextDelta,
    require_request,
)
from llmspell.providers.clients import Clients
from llmspell.providers.failures import failure_of
from llmspell.providers.messages import well_formed
from llmspell.providers.price import Price
from llmspell.providers.settings import ConnectionSettings, check_kind
from llmspell.providers.telling import telling
from llmspell.providers.wire import reading
from llmspell.remote import KeyReader, KeySource, SecretReader, current_deadline
from llmspell.remote.background import run_in_background
from llmspell.security import Secret

__all__ = ["Assembly", "HttpChat"]

#: Tokens have few bytes, whatever the text; a greater number is a mistake.
_MOST_BYTES: Final = 8


class Assembly(Protocol):
    """The parts of a streamed answer, put together."""

    @property
    def is_whole(self) -> bool: ...

    def add(self, part: Any) -> str: ...

    def response(self) -> ChatResponse: ...


class HttpChat(ABC):
    """A chat model by an official SDK, which is imported with the first call. Thread-safe.

    A call that is made within a tenant's operation sets aside the most that it may cost, and is
    settled with what the provider says it took. Where it doesn't say, and may have billed the call,
    all of it counts: after a timeout, a lost connection, a stream that was left early.

    Args:
        model_id: as the provider names it.
        api_key: a text; a secret of :class:`llmspell.security.SecretStore`; or, read anew for each
            call, a :class:`llmspell.security.SecretRef` or a function that gives a secret. Any text
            for servers that ask for none.
        provider: what it is called in responses, errors and metrics; the SDK's name where None.
        base_url: of the server; the provider's own where None.
        price: of its tokens; without one nothing is charged as money.
        connections: of the model; those of :class:`ConnectionSettings` where None.
        bytes_per_token: of UTF-8, of which prompts have one token at least. By 1 no quota is ever
            overrun; by more, less is set aside for a prompt, and one that takes more than that is
            charged after the call.
        headers: sent with each request.
        secrets: what reads an ``api_key`` that is a reference; the process's environment where
            None.
    """

    _sdk_name: ClassVar[str]
    _client_name: ClassVar[str]
    _home: ClassVar[str]

    def __init__(
        self,
        model_id: str,
        *,
        api_key: str | KeySource,
        provider: str | None = None,
        base_url: str | None = None,
        price: Price | None = None,
        connections: ConnectionSettings | None = None,
        bytes_per_token: float = 1.0,
        headers: Mapping[str, str] | None = None,
        secrets: SecretReader | None = None,
    ) -> None:
        provider = self._sdk_name if provider is None else provider
        is_number = isinstance(bytes_per_token, int | float)
        if not is_number or not 1 <= bytes_per_token <= _MOST_BYTES:
            raise ConfigError(
                f"bytes_per_token must be a number from 1 to {_MOST_BYTES}, got {bytes_per_token!r}"
            )
        for name, value in {"model_id": model_id, "provider": provider}.items():
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"{name} must be a str that isn't blank, got {value!r}")
        check_kind("base_url", base_url, str)
        if base_url is not None and not _has_host(base_url):  # it may have a password in it
            raise ConfigError("base_url must begin with https:// or http:// and have a host")
        check_kind("price", price, Price)
        check_kind("connections", connections, ConnectionSettings)
        check_kind("headers", headers, Mapping)
        for name, value in (headers or {}).items():
            if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
                raise ConfigError(f"the header {name!r:.80} must be a str of ASCII in one line")
        self._model_id = model_id
        self._provider = provider
        given = Secret(api_key) if isinstance(api_key, str) else api_key
        self._key = KeyReader(given, provider, secrets)
        self._headers = dict(headers or {})
        self._base_url = base_url
        self._price = price
        self._bytes_per_token = bytes_per_token
        self._settings = connections or ConnectionSettings()
        self._clients = Clients(self._make_client, self._settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._model_id!r}, provider={self._provider!r})"

    @property
    def provider(self) -> str:
        """Who serves it."""
        return self._provider

    @property
    def model_id(self) -> str:
        """Name of the model at its provider."""
        return self._model_id

    @property
    def price(self) -> Price | None:
        """What tokens cost, as it was given."""
        return self._price

    def complete(self, request: ChatRequest) -> ChatResponse:
        """See :meth:`llmspell.providers.ChatModel.complete`."""
        return run_in_background(self.acomplete(request))

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        """See :meth:`llmspell.providers.ChatModel.acomplete`."""
        require_request(request)
        async with billed(request, self._price, self._bytes_per_token) as bill:
            with telling(self._provider, self._model_id, bill.request) as told:
                async with self._guarded(bill):
                    key = await self._key.aread()
                async with self._guarded(bill, key), self._clients.client(key) as client:
                    bill.begin()
                    response = await self._ask(client, bill.request)
                told.answered(response)
            bill.settle(response.usage)
            return response

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """See :meth:`llmspell.providers.ChatModel.astream`."""
        require_request(request)
        assembly = self._assembly(request)
        async with billed(request, self._price, self._bytes_per_token) as bill:
            with telling(self._provider, self._model_id, bill.request, is_stream=True) as told:
                async with aclosing(self._events(bill, assembly)) as events:
                    async for text in events:
                        yield TextDelta(well_formed(text))
                if not assembly.is_whole:
                    raise BadProviderResponse(f"{self._provider}: the stream ended before its end")
                with reading(self._provider, "the stream"):
                    response = assembly.response()
                told.answered(response)
            bill.settle(response.usage)
            yield response

    async def _events(self, bill: Bill, assembly: Assembly) -> AsyncGenerator[str, None]:
        """Texts of a stream, as they come."""
        async with self._guarded(bill):
            key = await self._key.aread()
        async with (
            self._clients.client(key) as client,
            aclosing(self._parts(client, bill.request)) as parts,
        ):
            while True:
                # Who reads may take a pause; no time is counted meanwhile but the deadline's.
                async with self._guarded(bill, key):
                    bill.begin()
                    try:
                        part = await anext(parts)
                    except StopAsyncIteration:
                        return
                text = assembly.add(part)
                if text:
                    yield text

    async def aclose(self) -> None:
        """Close its connections; later calls raise ClosedError."""
        await self._clients.aclose()

    def close(self) -> None:
        """As :meth:`aclose`, where no event loop runs."""
        run_in_background(self.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @asynccontextmanager
    async def _guarded(self, bill: Bill, key: Secret[str] | None = None) -> AsyncIterator[None]:
        """Hold the deadline, and raise what the SDK raises as our errors.

        What the SDK raised isn't their cause: its text may repeat ``key``, which was sent.
        """
        deadline = current_deadline()
        limit = self._settings.timeout
        if deadline is not None:
            limit = min(limit, deadline.require(self._provider, is_sent=bill.is_begun))
        try:
            async with asyncio.timeout(limit) as scope:
                yield
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise ProviderTimeout(
                f"{self._provider}: no answer within {limit:.3g} s", is_sent=bill.is_begun
            ) from error
        except LlmspellError:
            raise
        except Exception as error:
            failure = failure_of(error, self._sdk(), self._provider, key)
            if failure is error:
                raise
            raise failure from None

    @classmethod
    def _sdk(cls) -> ModuleType:
        try:
            return importlib.import_module(cls._sdk_name)
        except ImportError as error:
            raise MissingDependency(cls._sdk_name, cls._sdk_name) from error

    def _make_client(self, http_client: Any) -> Any:
        """The SDK's client over a client of httpx2; each call gives it the key of its own."""
        return getattr(self._sdk(), self._client_name)(
            api_key="of each call",
            base_url=self._base_url or self._home,
            max_retries=0,
            default_headers=self._headers,
            http_client=http_client,
            timeout=http_client.timeout,
        )

    @abstractmethod
    async def _ask(self, client: Any, request: ChatRequest) -> ChatResponse:
        """Ask once; what the SDK raises is translated by the caller."""

    @abstractmethod
    def _parts(self, client: Any, request: ChatRequest) -> AsyncGenerator[Any, None]:
        """Ask for a stream; gives its parts."""

    @abstractmethod
    def _assembly(self, request: ChatRequest) -> Assembly:
        """What puts the parts together."""


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        return False
