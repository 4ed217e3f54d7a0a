"""Ingest, search, and an agent's answer with citations, over the documentation in Python itself.

The model follows a script, but all else is real: the passages it cites are those that it was given
by a search of the tenant, through the official clients of OpenAI and Anthropic, over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import pytest

import llmspell
from llmspell import Document, QuotaLimits, TenantConfig
from llmspell.agents import Agent, AgentLimits
from llmspell.providers import Price
from llmspell.testing import Call, ChatAsked, Reply, ScriptedChatServer
from llmspell.tools.builtin import search_knowledge
from tests.providers.models import KINDS

# Topics of a page or two; the long ones would only take longer to embed.
PAGES = {name: text for name, text in topics.items() if 300 < len(text) < 6_000}
QUESTIONS = {
    "How does a loop go on with its next cycle before its body has ended?": "continue",
    "How do I make a small anonymous function in an expression?": "lambda",
    "Which statement deletes a name or an item from a target list?": "del",
}
CITED = re.compile(r"“(?P<quote>[^”]+)” \[(?P<id>[^\]]+)\]")


@dataclass
class Source:
    id: str
    quote: str


@dataclass
class CitedAnswer:
    text: str
    sources: list[Source]


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[llmspell.AsyncTenant]:
    documents = [Document(f"python/{name}", text) for name, text in sorted(PAGES.items())]
    with llmspell.open(tmp_path_factory.mktemp("docs")) as database:
        quotas = QuotaLimits(max_tokens_per_day=1_000_000, max_cost_per_month=10.0)
        tenant = database.create_tenant(TenantConfig(id="readers", quotas=quotas))
        report = tenant.ingest(documents)
        assert report.added == len(documents) > 30 and not report.skipped
        yield tenant


def _passages(asked: ChatAsked) -> list[dict[str, Any]] | None:
    """What the search that came before gave; None where there was none."""
    try:
        found = json.loads(asked.texts[-1])
    except ValueError:
        return None
    assert isinstance(found, list)
    return found


def _longest_line(text: str) -> str:
    return max((line.strip() for line in text.splitlines()), key=len)


def librarian(asked: ChatAsked) -> Reply:
    """Search with the words of the question; then answer from the best passage, and cite it."""
    passages = _passages(asked)
    if passages is None:
        return Reply("", [Call("search_knowledge", {"query": asked.texts[-1], "limit": 3})])
    best = passages[0]
    quote = _longest_line(best["text"])
    if '"sources"' not in json.dumps(asked.body):  # of the schema, where there is one
        return Reply(f"The manual says “{quote}” [{best['id']}].", input_tokens=900)
    answer = {"text": "See the manual.", "sources": [{"id": best["id"], "quote": quote}]}
    if asked.path.endswith("/messages"):
        return Reply("", [Call("answer", answer)], input_tokens=900)
    return Reply(json.dumps(answer), input_tokens=900)


def _assert_cited(tenant: Any, chunk_id: str, quote: str, topic: str) -> None:
    record = tenant.get(chunk_id)
    assert record.metadata["document"] == f"python/{topic}"
    assert len(quote) > 40 and quote in record.text
    start, end = record.metadata["start"], record.metadata["end"]
    assert PAGES[topic][start:end] == record.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question, topic", QUESTIONS.items())
def test_an_agent_answers_from_what_was_ingested_and_cites_it(
    tenant: Any, kind: str, question: str, topic: str
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedChatServer(librarian))
        price = Price(input=1.0, output=5.0)
        model = KINDS[kind](server, api_key="sk-x", price=price)
        agent = stack.enter_context(
            Agent(model, [search_knowledge], "Answer from the knowledge base, and cite.", tenant)
        )

        async def ask() -> Any:
            async with model:
                return await agent.run(question)

        result = asyncio.run(ask())
    cited = CITED.search(result.output)
    assert cited is not None, result.output
    _assert_cited(tenant, cited["id"], cited["quote"], topic)
    assert (result.usage.steps, result.usage.tool_calls) == (2, 1)
    assert result.usage.tokens == 10 + 5 + 900 + 5


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_with_citations_as_data(tenant: Any, kind: str) -> None:
    before = tenant.usage()
    question, topic = next(iter(QUESTIONS.items()))
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedChatServer(librarian))
        model = KINDS[kind](server, api_key="sk-x", price=Price(input=1.0, output=5.0))
        agent = stack.enter_context(
            Agent(
                model,
                [search_knowledge],
                tenant=tenant,
                output=CitedAnswer,
                limits=AgentLimits(max_steps=4),
            )
        )

        async def ask() -> Any:
            async with model:
                return await agent.run(question)

        result = asyncio.run(ask())
    (source,) = result.output.sources
    _assert_cited(tenant, source.id, source.quote, topic)
    after = tenant.usage()
    assert after.tokens.used - before.tokens.used == 920
    assert after.cost.used - before.cost.used == 910 * 1 + 10 * 5  # millionths
