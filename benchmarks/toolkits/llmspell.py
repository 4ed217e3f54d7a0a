"""llmspell itself, and its index alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import llmspell
from benchmarks.toolkits.agents import llmspell as agents
from benchmarks.toolkits.base import CHUNK_TOKENS, CHUNKS, Cases, Setup
from benchmarks.toolkits.task import add
from llmspell import Chunking, Document, Index, QuotaLimits, Tenant, TenantConfig
from llmspell.integrations import SCHEMA
from llmspell.rag import EmbeddingCache, Pipeline
from llmspell.rag.embedding import CallableEmbedder
from llmspell.security import Sandbox, SecurityLevel
from llmspell.security.host import probe
from llmspell.tenancy.ports import CacheOwner, EmbeddingModel
from llmspell.tools import Tool, ToolRegistry, tool
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


def make_tenant(setup: Setup) -> Tenant:
    """A tenant that holds the documents."""
    database = llmspell.open(setup.scratch / "data", texts=_Texts(setup))
    setup.stack.enter_context(database)
    config = TenantConfig(id="bench", quotas=QuotaLimits.unlimited(), schema=SCHEMA)
    tenant = database.create_tenant(config)
    tenant.upsert(setup.ids, setup.vectors, texts=setup.texts)
    return tenant


class _Pages:
    """Pages in a tenant."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        embedder = CallableEmbedder(
            lambda texts, task: setup.embed_passages(texts),
            model_id="looked-up",
            dim=setup.dim,
            tokenizer=setup.tokenizer,
        )
        texts = Pipeline(embedder, chunking=Chunking(size=CHUNK_TOKENS, overlap=0))
        database = setup.stack.enter_context(llmspell.open(folder, texts=texts))
        quotas = QuotaLimits.unlimited()
        self._tenant = database.create_tenant(TenantConfig(id="pages", quotas=quotas))

    def ingest(self, name: str, text: str) -> int:
        """How many passages were new."""
        return self._tenant.ingest(Document(name, text)).chunks


def cases(setup: Setup) -> Cases:
    """What is timed."""
    tenant = make_tenant(setup)
    sandbox = setup.stack.enter_context(Sandbox())
    registry = setup.stack.enter_context(ToolRegistry([*agents.TOOLS, calculator], sandbox=sandbox))
    bound = registry.bind(tenant)
    agent = setup.stack.enter_context(agents.make(tenant))
    keeping = setup.stack.enter_context(agents.make(tenant, "state"))

    def made(one: Tool, arguments: dict[str, Any]) -> Any:
        with ToolRegistry([one], sandbox=sandbox) as registry:
            return registry.bind(tenant).call(one.spec.name, arguments).value

    index, ids = Index(dim=setup.dim), count(setup.documents)
    index.add(np.arange(setup.documents), setup.vectors)
    growing = Index(dim=setup.dim)

    def index_page() -> None:
        growing.add([next(ids) for _ in range(CHUNKS)], setup.vectors[:CHUNKS])

    cache = EmbeddingCache()
    setup.stack.callback(cache.close)
    owner = CacheOwner(b"bench", tenant.id, setup.scratch / "cache")
    looked_up = EmbeddingModel("benchmarks", "looked-up", setup.dim)
    embed = partial(cache.embed, owner, looked_up)
    for question in setup.questions:
        embed("query", [question], setup.embed)
    embed("passage", setup.passages, setup.embed_passages)

    kept, page = _Pages(setup, setup.scratch / "pages"), setup.page()
    kept.ingest(*page)
    sum_of = {"expression": "2 + 3"}
    found: Cases = {
        "agent": lambda: agents.make(tenant),
        "run": lambda: setup.wait(agents.ask(agent)),
        "run, kept": lambda: setup.wait(agents.ask(keeping)),
        "tool, made": lambda: made(tool(trusted=True)(add), {"a": 2, "b": 3}),
        "tool": lambda: bound.call("add", {"a": 2, "b": 3}).value,
        "cache": lambda: embed("query", [setup.question()], setup.embed)[0],
        "cache, passages": lambda: embed("passage", setup.passages, setup.embed_passages),
        "ingest, kept": lambda: kept.ingest(*setup.page()),
        "ingest, again": lambda: kept.ingest(*page),
        "engine, ingest": index_page,
        "retrieval": lambda: [hit.id for hit in tenant.search(setup.question())],
        "engine": lambda: index.search(setup.queries[setup.question()], 10).ids.tolist(),
    }
    if setup.memory is not None:
        pages = _Pages(setup, setup.memory / "pages")
        found["ingest"] = lambda: pages.ingest(*setup.page())
    if not probe().missing_for(SecurityLevel.SAFE):
        found["tool, confined, made"] = lambda: made(calculator, sum_of)
        found["tool, confined"] = lambda: bound.call("calculator", sum_of).value
    return found
