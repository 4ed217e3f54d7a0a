"""LangChain's own suites for its integrations, run as ``langchain-tests`` ships them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.stores import BaseStore
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    SyncCacheTestSuite,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests, ToolsUnitTests

from llmspell import Tenant
from llmspell.integrations.langchain import (
    LlmspellByteStore,
    LlmspellCache,
    LlmspellEmbeddings,
    LlmspellRetriever,
    LlmspellVectorStore,
    langchain_tools,
)
from llmspell.tools import ToolRegistry, tool
from tests.integrations.conftest import HashedWords


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tenant: Tenant) -> VectorStore:
        return LlmspellVectorStore(tenant, self.get_embeddings())


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LlmspellEmbeddings


class TestEmbeddings(EmbeddingsIntegrationTests):
    """By the embedded model itself."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LlmspellEmbeddings


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _records(self, tenant: Tenant, words: HashedWords) -> None:
        texts = ["red fox", "blue fox", "green fox", "grey wolf"]
        tenant.upsert([1, 2, 3, 4], words.embed_query(texts), texts=texts)
        self._tenant = tenant

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LlmspellRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"tenant": self._tenant}

    @property
    def retriever_query_example(self) -> str:
        return "a fox"


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tenant: Tenant) -> BaseCache:
        return LlmspellCache(tenant)


class TestCacheAsync(AsyncCacheTestSuite):
    @pytest.fixture
    def cache(self, tenant: Tenant) -> BaseCache:
        return LlmspellCache(tenant)


class TestByteStore(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, tenant: Tenant) -> BaseStore[str, bytes]:
        return LlmspellByteStore(tenant)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"", b"\0\xff", b"three"


class TestByteStoreAsync(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, tenant: Tenant) -> BaseStore[str, bytes]:
        return LlmspellByteStore(tenant)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"", b"\0\xff", b"three"


@tool(trusted=True)
def convert(amount: float, rate: float = 1.1) -> float:
    """Convert euros to dollars.

    Args:
        amount: of euros.
        rate: dollars for a euro.
    """
    return amount * rate


class Convert:
    @pytest.fixture(autouse=True)
    def _tools(self, tenant: Tenant) -> Iterator[None]:
        with ToolRegistry([convert]) as registry:
            (self._tool,) = langchain_tools(registry.bind(tenant))
            yield

    @property
    def tool_constructor(self) -> BaseTool:
        return self._tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"amount": 10.0}


class TestToolUnit(Convert, ToolsUnitTests):
    pass


class TestTool(Convert, ToolsIntegrationTests):
    pass
