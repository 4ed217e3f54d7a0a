"""LangChain: agents of ``langchain``, all else of ``langchain-core``."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.stores import InMemoryByteStore
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from benchmarks.toolkits.base import (
    ANSWER,
    INSTRUCTIONS,
    QUESTION,
    Cases,
    Setup,
    add,
    multiply,
    subtract,
)
from benchmarks.toolkits.llmspell import make_tenant
from llmspell.integrations.langchain import LlmspellVectorStore

DISTRIBUTIONS = ("langchain", "langchain-classic", "langchain-core", "langgraph")


class _Looked(Embeddings):
    def __init__(self, setup: Setup) -> None:
        self._found = {text: vector.tolist() for text, vector in setup.queries.items()}
        self._found |= dict(zip(setup.texts, setup.vectors.tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._found[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._found[text]


class _Scripted(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        if isinstance(messages[-1], ToolMessage):
            message = AIMessage(ANSWER)
        else:
            call = {"name": "add", "args": {"a": 2, "b": 3}, "id": "1", "type": "tool_call"}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


def cases(setup: Setup) -> Cases:
    """What is timed."""
    tools = [tool(one) for one in (add, subtract, multiply)]
    model, embeddings = _Scripted(), _Looked(setup)

    def make() -> Any:
        return create_agent(model, tools, system_prompt=INSTRUCTIONS)

    agent = make()

    def run() -> object:
        asked = {"messages": [{"role": "user", "content": QUESTION}]}
        return setup.wait(agent.ainvoke(asked))["messages"][-1].content

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

    own = InMemoryVectorStore(embeddings)
    own.add_texts(setup.texts, ids=setup.ids)
    return {
        "agent": make,
        "run": run,
        "tool": lambda: tools[0].invoke({"a": 2, "b": 3}),
        "cache": lambda: cache.embed_query(setup.question()),
        "retrieval": retrieval(LlmspellVectorStore(make_tenant(setup), embeddings)),
        "retrieval, own store": retrieval(own),
    }
