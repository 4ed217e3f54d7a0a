from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from llmspell.security import Broker, BrokerLimits, egress
from tests.security.broker.servers import LOOPBACK

HOSTS = ["a.test", "b.test", LOOPBACK]


@pytest.fixture
def exchange() -> Iterator[egress.Exchange]:
    """Asks a broker as a worker does: all that crosses is packed."""
    broker = Broker(
        HOSTS,
        resolver=lambda host, port: [LOOPBACK],
        limits=BrokerLimits(total_seconds=10, response_bytes=1 << 20),
    )
    with broker.session() as session:

        def carried(request: Any) -> Any:
            return msgpack.unpackb(
                msgpack.packb(session.answer(msgpack.unpackb(msgpack.packb(request))))
            )

        yield carried


@pytest.fixture
def bound(exchange: egress.Exchange) -> Iterator[egress.Client]:
    egress.bind(exchange)
    yield egress.client()
    egress.bind(None)
