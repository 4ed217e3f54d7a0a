from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmspell.security import EncryptedStore, KeyFile
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


@pytest.fixture
def encrypted(path: Path, tmp_path: Path) -> EncryptedStore:
    return EncryptedStore(path, KeyFile(tmp_path / "key"))
