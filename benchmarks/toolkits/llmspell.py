"""llmspell itself, and its index alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import llmspell
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
from llmspell import Index, QuotaLimits, Tenant, TenantConfig
from llmspell.agents import Agent
from llmspell.integrations import SCHEMA
from llmspell.providers import ChatRequest, ChatResponse, StreamEvent, ToolCall, Usage
from llmspell.rag.cache import EmbeddingCache
from llmspell.security import SecurityLevel
from llmspell.security.host import probe
from llmspell.tenancy.ports import CacheOwner, EmbeddingModel
from llmspell.tools import ToolRegistry, tool
from llmspell.tools.builtin import calculator

DISTRIBUTIONS = ("llmspell",)


class _Texts:
    """Text services of a database: questions are embedded by a look-up."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._setup.embed(texts)

    def ingest(self, room: Any, source: Any, *, progress: Any) -> Any:
        raise NotImplementedError("nothing is ingested here")


class _Scripted:
    provider = model_id = "scripted"
    price = None

    def complete(self, request: ChatRequest) -> ChatResponse:
        if len(request.messages) > 2:  # behind instructions and question
            return ChatResponse(ANSWER, (), "stop", Usage(1, 1), "scripted", "scripted")
        calls = (ToolCall("1", "add", '{"a": 2, "b": 3}'),)
        return ChatResponse("", calls, "tool_calls", Usage(1, 1), "scripted", "scripted")

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        return self.complete(request)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield self.complete(request)


def make_tenant(setup: Setup) -> Tenant:
    """A tenant that holds the documents."""
    database = llmspell.open(setup.scratch / "data", texts=_Texts(setup))
    setup.stack.enter_context(database)
    config = TenantConfig(id="bench", quotas=QuotaLimits.unlimited(), schema=SCHEMA)
    tenant = database.create_tenant(config)
    tenant.upsert(setup.ids, setup.vectors, texts=setup.texts)
    return tenant


def cases(setup: Setup) -> Cases:
    """What is timed."""
    tenant = make_tenant(setup)
    tools = [tool(trusted=True)(one) for one in (add, subtract, multiply)]
    registry = setup.stack.enter_context(ToolRegistry([*tools, calculator]))
    bound = registry.bind(tenant)
    model = _Scripted()

    def make(transcripts: Any = "memory") -> Agent:
        return Agent(model, tools, INSTRUCTIONS, tenant, transcripts=transcripts)

    agent = setup.stack.enter_context(make())
    keeping = setup.stack.enter_context(make("state"))
    index = Index(dim=setup.dim)
    index.add(np.arange(setup.documents), setup.vectors)
    cache = EmbeddingCache()
    setup.stack.callback(cache.close)
    owner = CacheOwner(b"bench", tenant.id, setup.scratch / "cache")
    looked_up = EmbeddingModel("benchmarks", "looked-up", setup.dim)
    for question in setup.questions:
        cache.embed(owner, looked_up, "query", [question], setup.embed)

    def cached() -> object:
        return cache.embed(owner, looked_up, "query", [setup.question()], setup.embed)[0]

    found: Cases = {
        "agent": make,
        "run": lambda: setup.wait(agent.run(QUESTION)).output,
        "run, kept": lambda: setup.wait(keeping.run(QUESTION)).output,
        "tool": lambda: bound.call("add", {"a": 2, "b": 3}).value,
        "cache": cached,
        "retrieval": lambda: [hit.id for hit in tenant.search(setup.question())],
        "engine": lambda: index.search(setup.queries[setup.question()], 10).ids.tolist(),
    }
    if not probe().missing_for(SecurityLevel.SAFE):
        found["tool, confined"] = lambda: bound.call("calculator", {"expression": "2 + 3"}).value
    return found
