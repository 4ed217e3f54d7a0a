"""LangChain: agents of ``langchain``, caches of ``langchain-classic``, all else of the core."""

from __future__ import annotations

from typing import Any

from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.stores import InMemoryByteStore
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from benchmarks.toolkits.agents import langchain as agents
from benchmarks.toolkits.base import CHUNK_TOKENS, Cases, Setup
from benchmarks.toolkits.llmspell import make_tenant
from benchmarks.toolkits.task import add
from llmspell.integrations.langchain import LlmspellVectorStore

DISTRIBUTIONS = (
    "langchain",
    "langchain-classic",
    "langchain-core",
    "langchain-text-splitters",
    "langgraph",
)


class _Looked(Embeddings):
    def __init__(self, setup: Setup) -> None:
        self._found = {text: vector.tolist() for text, vector in setup.queries.items()}
        self._setup = setup

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._setup.look_up(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._found[text]


class _Pages:
    """Pages in a store in memory, and a record of what is there."""

    def __init__(self, setup: Setup, embeddings: Embeddings) -> None:
        self._store = InMemoryVectorStore(embeddings)
        self._records = InMemoryRecordManager("bench")
        self._records.create_schema()
        self._splitter = RecursiveCharacterTextSplitter(
            chunk_size=CHUNK_TOKENS, chunk_overlap=0, length_function=setup.count
        )

    def ingest(self, name: str, text: str) -> int:
        """How many passages were new."""
        page = Document(text, metadata={"source": name})
        done = index(
            self._splitter.split_documents([page]),
            self._records,
            self._store,
            cleanup="incremental",
            source_id_key="source",
            key_encoder="blake2b",
        )
        return done["num_added"]


def cases(setup: Setup) -> Cases:
    """What is timed."""
    embeddings = _Looked(setup)
    agent = agents.make()

    def retrieval(store: VectorStore) -> Any:
        retriever = store.as_retriever(search_kwargs={"k": 10})
        return lambda: [one.id for one in retriever.invoke(setup.question())]

    cache = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        InMemoryByteStore(),
        namespace="bench",
        query_embedding_cache=True,
        key_encoder="blake2b",
    )
    for question in setup.questions:
        cache.embed_query(question)
    cache.embed_documents(setup.passages)

    pages, page = _Pages(setup, embeddings), setup.page()
    pages.ingest(*page)
    own = InMemoryVectorStore(embeddings)
    own.add_texts(setup.texts, ids=setup.ids)
    return {
        "agent": agents.make,
        "run": lambda: setup.wait(agents.ask(agent)),
        "tool, made": lambda: tool(add).invoke({"a": 2, "b": 3}),
        "tool": lambda: agents.TOOLS[0].invoke({"a": 2, "b": 3}),
        "cache": lambda: cache.embed_query(setup.question()),
        "cache, passages": lambda: cache.embed_documents(setup.passages),
        "ingest": lambda: pages.ingest(*setup.page()),
        "ingest, again": lambda: pages.ingest(*page),
        "retrieval": retrieval(LlmspellVectorStore(make_tenant(setup), embeddings)),
        "retrieval, own store": retrieval(own),
    }
