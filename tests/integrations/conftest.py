"""Tenants for the suites of other frameworks, which are run as they are shipped."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from llmspell.integrations import SCHEMA

#: What runs tests that others wrote.
SUITES: Final = ("test_standard_suites.py", "test_polign_suite.py")
PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "integrations.md"

# They report their use to their makers when they are imported.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "asyncio: of suites that were written for pytest-asyncio")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what is skipped of another maker's suite, unless the page of integrations names it."""
    report = yield
    name = getattr(item, "originalname", item.name)
    if report.skipped and item.path.name in SUITES and f"`{name}`" not in _told():
        report.outcome = "failed"
        report.longrepr = f"{name} is skipped, and {PAGE.name} doesn't say why: {report.longrepr}"
    return report


@functools.cache
def _told() -> str:
    return PAGE.read_text(encoding="utf-8").partition("## Their own tests")[2]


class HashedWords:
    """Text services that hash words: texts with the same words are near."""

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.full((len(texts), 16), 0.01, dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.lower().split():
                row[hashlib.blake2b(word.encode(), digest_size=1).digest()[0] % 16] += 1
        return out

    def ingest(self, room: Any, source: Any, *, progress: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="session")
def words() -> HashedWords:
    return HashedWords()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory, words: HashedWords) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("integrations")
    with llmspell.open(path, durability="async", texts=words) as opened:
        yield opened


@pytest.fixture
def tenant(database: Database) -> Iterator[Tenant]:
    """An empty tenant, which is gone after the test."""
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited(), schema=SCHEMA)
    yield database.create_tenant(config)
    database.drop_tenant("acme")
