from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.secrets.bao_server import BaoServer


@pytest.fixture(scope="session")
def bao() -> Iterator[BaoServer]:
    server = BaoServer()
    server.put("llmspell/openai", value="shared")
    server.put("llmspell/tenants/acme/openai", value="acme's")
    server.put("llmspell/tenants/=2e=2e/openai", value="dots'")
    server.put("team", key="k", number=5, empty="", nested={"a": "b"}, null=None)
    server.put("private", value="v")
    yield server
    server.stop()
