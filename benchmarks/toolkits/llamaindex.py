"""LlamaIndex: ``llama-index-core`` alone."""

from __future__ import annotations

from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import MockFunctionCallingLLM
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.tools import FunctionTool

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
from llmspell.integrations.llamaindex import LlmspellVectorStore

DISTRIBUTIONS = ("llama-index-core", "llama-index-workflows")


class _Looked(BaseEmbedding):
    _found: dict[str, list[float]] = PrivateAttr()

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self._found = {text: vector.tolist() for text, vector in setup.queries.items()}

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._found[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._found[query]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._found[text]


def _scripted(messages: Any, **_: Any) -> ChatMessage:
    if any(message.role == MessageRole.TOOL for message in messages):
        return ChatMessage(role="assistant", content=ANSWER)
    call = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 2, "b": 3})
    return ChatMessage(role="assistant", blocks=[call])


def cases(setup: Setup) -> Cases:
    """What is timed."""
    tools = [FunctionTool.from_defaults(fn=one) for one in (add, subtract, multiply)]
    model, embedding = MockFunctionCallingLLM(response_generator=_scripted), _Looked(setup)

    def make() -> FunctionAgent:
        return FunctionAgent(tools=tools, llm=model, system_prompt=INSTRUCTIONS, streaming=False)

    agent = make()

    async def run() -> object:
        return str(await agent.run(user_msg=QUESTION))

    def retrieval(index: VectorStoreIndex) -> Any:
        retriever = index.as_retriever(similarity_top_k=10)
        return lambda: [one.node_id for one in retriever.retrieve(setup.question())]

    cache = _Looked(setup)
    cache.embeddings_cache = SimpleKVStore()
    for question in setup.questions:
        cache.get_query_embedding(question)

    nodes = [
        TextNode(id_=name, text=text, embedding=vector)
        for name, text, vector in zip(setup.ids, setup.texts, setup.vectors.tolist(), strict=True)
    ]
    store = LlmspellVectorStore(make_tenant(setup))
    store.add(nodes)
    ours = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    own = VectorStoreIndex(nodes, embed_model=embedding)
    return {
        "agent": make,
        "run": lambda: setup.wait(run()),
        "tool": lambda: tools[0].call(a=2, b=3).raw_output,
        "cache": lambda: cache.get_query_embedding(setup.question()),
        "retrieval": retrieval(ours),
        "retrieval, own store": retrieval(own),
    }
