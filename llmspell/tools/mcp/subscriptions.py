"""Clients of MCP that want to be told when a resource changes."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from llmspell.tenancy import AsyncTenant, Tenant, async_handle
from llmspell.tools.mcp.faults import invalid, told
from llmspell.tools.mcp.resources import Offer
from llmspell.tools.mcp.sessions import Session, own_session
from llmspell.tools.tenant_tools import TenantTools

if TYPE_CHECKING:
    from llmspell.tools.mcp.offers import Offers

__all__ = ["Subscription", "Subscriptions"]

_log: Final = logging.getLogger(__name__)
_MAX_SUBSCRIBED: Final = 100
#: After which a tenant of unchanged use is looked at no more.
_MAX_LOOKS: Final = 64
#: Requests of a tenant's that go on, each of one client.
_MAX_LISTENING: Final = 1_000


@dataclass(slots=True)
class Subscription:
    """A client that is told when a resource changes.

    Args:
        tools: of its tenant.
        tell: sends it word.
        loop: that this is done in.
        offer: that the resource is of.
        mark: the resource's, when it was last looked at.
    """

    tools: TenantTools
    tell: Callable[[], Awaitable[None]]
    loop: asyncio.AbstractEventLoop
    offer: Offer
    mark: object | None
    _telling: asyncio.Task[None] | None = None
    _is_changed: bool = False

    def changed(self) -> None:
        """Send word, in its loop and without waiting: who reads nothing holds up nobody else.

        Where word is on its way it is sent once more, whatever the number of changes meanwhile.
        """
        self._is_changed = True
        if self._telling is None or self._telling.done():
            self._telling = self.loop.create_task(self._tell())

    async def _tell(self) -> None:
        while self._is_changed:
            self._is_changed = False
            try:
                await self.tell()
            except Exception as error:  # it is gone
                _log.debug("a client can't be told of a change: %s", error)


class Subscriptions:
    """Who is told of what. Thread-safe.

    Args:
        offers: whose resources they are.
    """

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self._lock = threading.Lock()
        self._sessions: WeakSet[Session] = WeakSet()
        #: By the id of the tenant.
        self._listening: Counter[str] = Counter()

    async def subscribe(self, context: Any, params: Any) -> Any:
        """Have the session told of changes of a resource."""
        from mcp import types

        uri = str(params.uri)
        session, channel = own_session(), context.session
        made = await self._made(context, uri, lambda: channel.send_resource_updated(uri))
        # Looked at after what is awaited: other requests of the session come in between.
        if uri not in session.subscribed and len(session.subscribed) >= _MAX_SUBSCRIBED:
            raise invalid(f"a session is told of at most {_MAX_SUBSCRIBED} resources")
        session.subscribed[uri] = made
        self._add(session)
        return types.EmptyResult()

    async def listen(self, context: Any, params: Any) -> Any:
        """Tell of changes for as long as the request goes on: since the protocol of 2026-07-28."""
        from mcp import types
        from mcp.server.subscriptions import ListenHandler, ResourceUpdated

        uris = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))
        if len(uris) > _MAX_SUBSCRIBED:
            raise invalid(f"a client is told of at most {_MAX_SUBSCRIBED} resources at a time")
        tenant = self.offers.tools_of(context).tenant.id
        if self._listening[tenant] >= _MAX_LISTENING:
            raise invalid("too many clients want to be told of changes; come again later")
        self._listening[tenant] += 1
        session = Session()
        stream = _Stream(lambda: self._add(session))
        try:
            for uri in uris:
                event = ResourceUpdated(uri)
                session.subscribed[uri] = await self._made(
                    context, uri, functools.partial(stream.publish, event)
                )
            # Of the lists nothing is told, so a client isn't promised that it is.
            wanted = types.SubscriptionFilter(resource_subscriptions=uris)
            params = params.model_copy(update={"notifications": wanted})
            return await ListenHandler(stream)(context, params)
        finally:
            self._listening[tenant] -= 1
            if not self._listening[tenant]:
                del self._listening[tenant]
            session.subscribed.clear()

    async def unsubscribe(self, context: Any, params: Any) -> Any:
        """Tell the session no more of them."""
        from mcp import types

        own_session().subscribed.pop(str(params.uri), None)
        return types.EmptyResult()

    def changed(self, uri: str, tenant_id: str | None) -> None:
        """Tell the sessions that want to know; from any thread."""
        for session in self._all():
            wanted = session.subscribed.get(uri)
            if wanted is not None and tenant_id in (None, wanted.tools.tenant.id):
                with suppress(RuntimeError):  # its loop is closed
                    wanted.loop.call_soon_threadsafe(wanted.changed)

    @asynccontextmanager
    async def watching(self, seconds: float) -> AsyncIterator[None]:
        """Look for changes of what sessions of this loop want to know, every so many seconds."""
        task = asyncio.create_task(self._watch(seconds))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _made(
        self, context: Any, uri: str, tell: Callable[[], Awaitable[None]]
    ) -> Subscription:
        tools = self.offers.tools_of(context)
        with told(uri, context):
            offer = self.offers.offer_of(uri)
            mark = await offer.mark(tools.tenant, uri)
        return Subscription(tools, tell, asyncio.get_running_loop(), offer, mark)

    def _add(self, session: Session) -> None:
        with self._lock:
            self._sessions.add(session)

    def _all(self) -> list[Session]:
        with self._lock:
            return list(self._sessions)

    async def _watch(self, seconds: float) -> None:
        seen: dict[tuple[str, int], tuple[object, int]] = {}
        for look in itertools.count():
            await asyncio.sleep(seconds)
            here = asyncio.get_running_loop()
            wanted = [
                (uri, one)
                for session in self._all()
                for uri, one in list(session.subscribed.items())
                if one.loop is here and one.mark is not None
            ]
            now: dict[tuple[str, int], tuple[object, int]] = {}
            for uri, one in wanted:
                tenant = one.tools.tenant
                key = tenant.id, tenant.generation
                try:
                    if key not in now:
                        use = await _use_of(tenant)
                        before = seen.get(key)
                        is_same = before is not None and before[0] == use
                        now[key] = use, before[1] if before is not None and is_same else look
                    # A write is counted before it can be read: so after 0, 1, 2, 4, 8 looks more.
                    age = look - now[key][1]
                    if age > _MAX_LOOKS or age & (age - 1):
                        continue
                    mark = await one.offer.mark(tenant, uri)
                except Exception as error:  # its quotas, or it is gone: the next look may be better
                    _log.debug("can't look whether %r has changed: %s", uri, error)
                    now.pop(key, None)
                    continue
                if mark != one.mark:
                    one.mark = mark
                    one.changed()
            seen = now


class _Stream:
    """The events of one request that listens, as the SDK's handler wants them.

    Args:
        begin: called when the client is listening.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._hear: Callable[[Any], None] | None = None

    async def publish(self, event: Any) -> None:
        """Tell of one."""
        if self._hear is not None:
            self._hear(event)

    def subscribe(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Have events told; gives what ends it."""
        self._hear = listener
        self._begin()
        return self._end

    def _end(self) -> None:
        self._hear = None


async def _use_of(tenant: Tenant | AsyncTenant) -> object:
    """What its quotas count of what it holds, which is free to ask: another after most changes."""
    usage = await async_handle(tenant).usage()
    return usage.documents.used, usage.vectors.used, usage.storage.used, usage.embeddings.used
