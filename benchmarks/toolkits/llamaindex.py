"""LlamaIndex: ``llama-index-core`` alone."""

from __future__ import annotations

from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import IngestionCache, run_transformations
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.tools import FunctionTool

from benchmarks.toolkits.agents import llamaindex as agents
from benchmarks.toolkits.base import CHUNK_TOKENS, Cases, Setup
from benchmarks.toolkits.llmspell import make_tenant
from benchmarks.toolkits.task import add
from llmspell.integrations.llamaindex import LlmspellVectorStore

DISTRIBUTIONS = ("llama-index-core", "llama-index-workflows")


class _Looked(BaseEmbedding):
    _found: dict[str, list[float]] = PrivateAttr()
    _setup: Setup = PrivateAttr()

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self._found = {text: vector.tolist() for text, vector in setup.queries.items()}
        self._setup = setup

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._found[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._found[query]

    def _get_text_embedding(self, text: str) -> list[float]:
        found: list[float] = self._setup.look_up(text).tolist()
        return found


class _Pages:
    """Pages in an index in memory, with its own store of documents."""

    def __init__(self, setup: Setup, embedding: BaseEmbedding) -> None:
        splitter = SentenceSplitter(
            chunk_size=CHUNK_TOKENS,
            chunk_overlap=0,
            tokenizer=lambda text: setup.tokenizer.encode(text).ids,
            paragraph_separator="\n\n",
            include_metadata=False,
        )
        self._index = VectorStoreIndex([], embed_model=embedding, transformations=[splitter])

    def ingest(self, name: str, text: str) -> int:
        """How many passages were new."""
        before = len(self._index.index_struct.nodes_dict)
        self._index.refresh_ref_docs([Document(id_=name, text=text)])
        return len(self._index.index_struct.nodes_dict) - before


def cases(setup: Setup) -> Cases:
    """What is timed."""
    embedding = _Looked(setup)
    agent = agents.make()

    def retrieval(index: VectorStoreIndex) -> Any:
        retriever = index.as_retriever(similarity_top_k=10)
        return lambda: [one.node_id for one in retriever.retrieve(setup.question())]

    cached = _Looked(setup)
    cached.embeddings_cache = SimpleKVStore()
    for question in setup.questions:
        cached.get_query_embedding(question)
    passages, cache = [TextNode(text=one) for one in setup.passages], IngestionCache()

    def cached_passages() -> Any:
        nodes = run_transformations(passages, [embedding], in_place=False, cache=cache)
        return [node.embedding for node in nodes]

    pages, page = _Pages(setup, embedding), setup.page()
    pages.ingest(*page)
    nodes = [
        TextNode(id_=name, text=text, embedding=vector)
        for name, text, vector in zip(setup.ids, setup.texts, setup.vectors.tolist(), strict=True)
    ]
    store = LlmspellVectorStore(make_tenant(setup))
    store.add(nodes)
    ours = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    own = VectorStoreIndex(nodes, embed_model=embedding)
    return {
        "agent": agents.make,
        "run": lambda: setup.wait(agents.ask(agent)),
        "tool, made": lambda: FunctionTool.from_defaults(fn=add).call(a=2, b=3).raw_output,
        "tool": lambda: agents.TOOLS[0].call(a=2, b=3).raw_output,
        "cache": lambda: cached.get_query_embedding(setup.question()),
        "cache, passages": cached_passages,
        "ingest": lambda: pages.ingest(*setup.page()),
        "ingest, again": lambda: pages.ingest(*page),
        "retrieval": retrieval(ours),
        "retrieval, own store": retrieval(own),
    }
