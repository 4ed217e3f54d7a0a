"""LangChain's own suites for its integrations, run as ``langchain-tests`` ships them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import BaseCache
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.stores import BaseStore
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    SyncCacheTestSuite,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from llmspell import Tenant
from llmspell.integrations.langchain import (
    LlmspellByteStore,
    LlmspellCache,
    LlmspellEmbeddings,
    LlmspellRetriever,
    LlmspellVectorStore,
)
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
