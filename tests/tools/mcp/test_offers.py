"""Prompts and resources over MCP, asked by the official client."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import Chunking, Database, Document, QuotaLimits, TenantConfig
from llmspell.errors import ConfigError, InputError
from llmspell.rag import Pipeline
from llmspell.tools import ToolContext, ToolRegistry
from llmspell.tools.mcp import (
    McpServer,
    PromptTemplate,
    Resource,
    ResourceTemplate,
    TenantDocuments,
)
from tests.tools.mcp.asking import asked
from tests.tools.mcp.serving import served

TEXT = " ".join(f"Sentence {number} is about trains and about tea." for number in range(40))


def summary(topic: str, context: ToolContext, words: str = "50") -> str:
    """Summarise what is known of a topic.

    Args:
        topic: what about.
        words: how many.
    """
    if topic == "nothing":
        raise InputError("there is nothing to say of nothing")
    if topic == "broken":
        raise RuntimeError("a secret of the operator")
    return f"What does {context.tenant.id} know of {topic}, in {words} words?"


async def topics(typed: str, context: ToolContext) -> list[str]:
    return [f"{typed}-{context.tenant.id}-{number}" for number in range(150)]


async def note(day: str, context: ToolContext) -> bytes:
    return f"{day} of {context.tenant.id}".encode()


PROMPTS = [PromptTemplate(summary, title="Summary", complete={"topic": topics, "words": ["50"]})]
RESOURCES = [
    Resource("notes://today", lambda: "none", name="today"),
    TenantDocuments(max_chars=5_000),
    ResourceTemplate("notes://{day}/note", note, name="note", mime_type="text/plain"),
]


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Two tenants, each with documents of its own."""
    texts = Pipeline(chunking=Chunking(method="tokens", size=64, overlap=16))
    with llmspell.open(tmp_path_factory.mktemp("data"), texts=texts) as database:
        limits = QuotaLimits(max_api_calls_per_minute=100_000)
        for name in ("acme", "other"):
            tenant = database.create_tenant(TenantConfig(id=name, quotas=limits))
            tenant.ingest(Document("guide/travel é", TEXT, source="https://docs.test/travel"))
            tenant.ingest(Document(f"{name} only", "# Tea", media_type="text/markdown"))
        database.tenant("acme").ingest(Document("long", "word " * 2_000))
        database.create_tenant(TenantConfig(id="changing", quotas=limits))
        yield database


@pytest.fixture
def url(knowing: Database) -> Iterator[str]:
    with ToolRegistry() as registry:
        names = ("acme", "other", "changing")
        tokens = {name: registry.bind(knowing.tenant(name)) for name in names}
        server = McpServer(
            authenticate=tokens, prompts=PROMPTS, resources=RESOURCES, watch_seconds=0.05
        )
        with served(server.asgi()) as where:
            yield where


def test_prompts_are_listed_and_made_for_the_clients_own_tenant(url: str) -> None:
    from mcp import MCPError

    async def ask(client: Any) -> None:
        (prompt,) = (await client.list_prompts()).prompts
        assert (prompt.name, prompt.title) == ("summary", "Summary")
        assert prompt.description == "Summarise what is known of a topic."
        told = [(one.name, one.required, one.description) for one in prompt.arguments]
        assert told == [("topic", True, "what about."), ("words", False, "how many.")]
        made = await client.get_prompt("summary", {"topic": "tea"})
        (message,) = made.messages
        assert message.role == "user"
        assert message.content.text == "What does acme know of tea, in 50 words?"
        for name, arguments, why in [
            ("summary", {}, "needs the argument 'topic'"),
            ("summary", {"topic": "tea", "context": "x"}, "has no argument 'context'"),
            ("summary", {"topic": "nothing"}, "nothing to say"),
            ("summary", {"topic": "broken"}, "can't be given now"),
            ("none", {}, "there is no prompt 'none'"),
        ]:
            with pytest.raises(MCPError, match=why) as raised:
                await client.get_prompt(name, arguments)
            assert "secret" not in str(raised.value)

    asked(url, ask, "acme")


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_a_tenants_documents_are_listed_and_read_by_its_own_clients(url: str, mode: str) -> None:
    from mcp import MCPError

    async def ask(client: Any) -> None:
        found = {one.name: one for one in (await client.list_resources()).resources}
        assert set(found) == {"today", "acme only", "guide/travel é", "long"}
        travel = found["guide/travel é"]
        assert travel.uri == "llmspell://documents/guide%2Ftravel%20%C3%A9"
        assert travel.description.startswith("From https://docs.test/travel; ")
        assert travel.annotations.last_modified is not None
        (read,) = (await client.read_resource(travel.uri)).contents
        # The chunks overlap; the text is whole, and each part of it comes once.
        assert read.text == TEXT
        (read,) = (await client.read_resource("llmspell://documents/acme%20only")).contents
        assert (read.text, read.mime_type) == ("# Tea", "text/plain")
        (read,) = (await client.read_resource("notes://monday/note")).contents
        assert read.blob == "bW9uZGF5IG9mIGFjbWU="  # monday of acme
        with pytest.raises(MCPError, match="more than 5,000"):
            await client.read_resource("llmspell://documents/long")
        for uri, why in [
            ("llmspell://documents/other%20only", "no document 'other only'"),
            ("llmspell://documents/a/b", "there is no resource"),
            ("notes://..%2F..%2Fetc/note", "there is no resource"),
            ("file:///etc/passwd", "there is no resource"),
        ]:
            with pytest.raises(MCPError, match=why) as raised:
                await client.read_resource(uri)
            code = -32602 if mode == "2026-07-28" else -32002
            assert (raised.value.error.code, raised.value.error.data) == (code, {"uri": uri})
        names = [one.name for one in (await client.list_resource_templates()).resource_templates]
        assert names == ["document", "note"]

    asked(url, ask, "acme", mode=mode)


def test_a_list_goes_on_where_its_page_ended(
    url: str, knowing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp import MCPError

    from llmspell.tools.mcp import documents

    monkeypatch.setattr(documents, "_PAGE", 1)

    async def ask(client: Any) -> None:
        names, cursor = [], None
        while True:
            page = await client.list_resources(cursor=cursor)
            names.append([one.name for one in page.resources])
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == [["today", "acme only"], ["guide/travel é"], ["long"]]
        for wrong in ("7:", "1:x", "nothing"):
            with pytest.raises(MCPError, match="cursor"):
                await client.list_resources(cursor=wrong)

    asked(url, ask, "acme")


def test_arguments_are_completed_for_the_clients_own_tenant(url: str) -> None:
    from mcp import types

    async def ask(client: Any) -> None:
        prompt = types.PromptReference(name="summary")
        found = (await client.complete(prompt, {"name": "topic", "value": "te"})).completion
        assert found.values[:2] == ["te-other-0", "te-other-1"]
        assert (len(found.values), found.has_more) == (100, True)
        found = (await client.complete(prompt, {"name": "words", "value": "5"})).completion
        assert (found.values, found.total, found.has_more) == (["50"], 1, False)
        template = types.ResourceTemplateReference(uri="llmspell://documents/{id}")
        for typed, ids in (("other", ["other only"]), ("acme", []), ("gu", ["guide/travel é"])):
            found = (await client.complete(template, {"name": "id", "value": typed})).completion
            assert found.values == ids

    asked(url, ask, "other")


def test_what_is_read_is_charged(knowing: Database) -> None:
    from mcp import MCPError

    limits = QuotaLimits(max_api_calls_per_minute=5)
    small = knowing.create_tenant(TenantConfig(id="small", quotas=limits))

    async def ask(client: Any) -> None:
        await client.list_resources()  # 1
        await client.read_resource("notes://today")  # 1
        with pytest.raises(MCPError, match="no document 'x'"):
            await client.read_resource("llmspell://documents/x")  # 2, with what it reads
        await client.get_prompt("summary", {"topic": "tea"})  # 1
        for call in (
            client.get_prompt("summary", {"topic": "tea"}),
            client.read_resource("notes://monday/note"),
            client.list_resources(cursor="1:"),
        ):
            with pytest.raises(MCPError, match="max_api_calls_per_minute"):
                await call
        assert (await client.list_prompts()).prompts  # which reads nothing of the tenant's

    with ToolRegistry() as registry:
        server = McpServer(registry.bind(small), prompts=PROMPTS, resources=RESOURCES)
        with served(server.asgi()) as where:
            asked(where, ask)


WHO = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}


async def greeting(context: ToolContext) -> str:
    """Greet somebody."""
    assert context.client is not None
    return f"Hello, {(await context.client.elicit('Whom?', WHO)).content['who']}."


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_what_makes_a_prompt_or_reads_a_resource_may_ask(knowing: Database, mode: str) -> None:
    from mcp import types

    async def answer(context: Any, params: Any) -> Any:
        return types.ElicitResult(action="accept", content={"who": "Ada"})

    async def ask(client: Any) -> None:
        (message,) = (await client.get_prompt("greeting")).messages
        assert message.content.text == "Hello, Ada."
        (read,) = (await client.read_resource("greeting://now")).contents
        assert read.text == "Hello, Ada."

    with ToolRegistry() as registry:
        server = McpServer(
            registry.bind(knowing.tenant("acme")),
            prompts=[PromptTemplate(greeting)],
            resources=[Resource("greeting://now", greeting)],
        )
        with served(server.asgi()) as where:
            asked(where, ask, mode=mode, elicitation_callback=answer)


def test_the_documents_of_an_async_handle_are_served(tmp_path: Path) -> None:
    from mcp import Client, MCPError, types

    uri = "llmspell://documents/note"
    told: list[str] = []

    async def hear(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            told.append(str(message.params.uri))

    async def main() -> None:
        async with llmspell.open(tmp_path / "data", texts=Pipeline()) as database:
            tenant = await database.create_tenant(TenantConfig(id="acme"))
            await tenant.ingest(Document("note", "Tea is at four."))
            with ToolRegistry() as registry:
                server = McpServer(
                    registry.bind(tenant), resources=[TenantDocuments()], watch_seconds=0.05
                )
                with served(server.asgi()) as where:
                    async with Client(
                        f"{where}/mcp", mode="legacy", message_handler=hear
                    ) as client:
                        (listed,) = (await client.list_resources()).resources
                        assert listed.uri == uri
                        (read,) = (await client.read_resource(uri)).contents
                        assert read.text == "Tea is at four."
                        template = types.ResourceTemplateReference(uri="llmspell://documents/{id}")
                        found = await client.complete(template, {"name": "id", "value": "n"})
                        assert found.completion.values == ["note"]
                        with pytest.raises(MCPError, match="no document 'none'"):
                            await client.read_resource("llmspell://documents/none")
                        await client.subscribe_resource(uri)
                        for number in itertools.count():
                            await tenant.ingest(Document("note", f"Tea is at {number}."))
                            await asyncio.sleep(0.1)
                            if told:
                                break
                        assert set(told) == {uri}

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(deprecated|removed) as of 2026-07-28")
        asyncio.run(main())


def test_clients_are_told_of_changes_of_their_own_tenants_documents(
    url: str, knowing: Database
) -> None:
    uri = "llmspell://documents/news"

    async def ask(token: str) -> list[str]:
        told: list[str] = []
        seen = asyncio.Event()

        async def hear(message: Any) -> None:
            if getattr(message, "method", "") == "notifications/resources/updated":
                told.append(str(message.params.uri))
                seen.set()

        async def listen(client: Any) -> None:
            await client.subscribe_resource(uri)
            await client.subscribe_resource("notes://today")
            # A client opens the stream that it hears by after it is connected, and says nothing.
            for number in itertools.count() if token == "changing" else range(5):
                news = Document("news", f"News {number} for {token}.")
                await asyncio.to_thread(knowing.tenant("changing").ingest, news)
                await asyncio.sleep(0.1)
                if seen.is_set():
                    break
            await client.unsubscribe_resource(uri)

        await asyncio.to_thread(asked, url, listen, token, mode="legacy", message_handler=hear)
        return told

    assert set(asyncio.run(ask("changing"))) == {uri}
    assert asyncio.run(ask("other")) == []


def test_the_program_says_what_has_changed(knowing: Database) -> None:
    told: list[str] = []
    seen = asyncio.Event()

    async def hear(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            told.append(str(message.params.uri))
            seen.set()

    with ToolRegistry() as registry:
        acme, other = knowing.tenant("acme"), knowing.tenant("other")
        server = McpServer(registry.bind(acme), resources=RESOURCES)

        async def ask(client: Any) -> None:
            for day in ("tuesday", "wednesday"):
                await client.subscribe_resource(f"notes://{day}/note")
            await client.subscribe_resource("notes://today")
            await client.unsubscribe_resource("notes://wednesday/note")
            while not seen.is_set():  # until the client's stream is open
                server.resource_changed("notes://monday/note")
                server.resource_changed("notes://tuesday/note", tenant=other)
                server.resource_changed("notes://wednesday/note")
                server.resource_changed("notes://today", tenant=acme)
                await asyncio.sleep(0.02)

        with served(server.asgi()) as where:
            asked(where, ask, mode="legacy", message_handler=hear)
    assert set(told) == {"notes://today"}


def test_since_2026_a_client_listens_for_changes(url: str, knowing: Database) -> None:
    from mcp import MCPError

    changing = knowing.tenant("changing")
    uris = ["llmspell://documents/letter", "llmspell://documents/card", "notes://today"]

    async def ask(client: Any) -> None:
        offered = client.server_capabilities
        assert offered.resources.subscribe
        for one in (offered.tools, offered.prompts, offered.resources):
            assert one.list_changed is False
        with pytest.raises(MCPError, match="there is no resource"):
            async with client.listen(resource_subscriptions=["notes://"]):
                pass
        async with client.listen(tools_list_changed=True, resource_subscriptions=uris) as heard:
            assert heard.honored.tools_list_changed is None
            await asyncio.to_thread(knowing.tenant("other").ingest, Document("letter", "Theirs."))
            told = asyncio.ensure_future(anext(aiter(heard)))
            # A disk may take longer over one write than is looked for it.
            for number in itertools.count():
                await asyncio.to_thread(changing.ingest, Document("card", f"Mine {number}."))
                if told in (await asyncio.wait([told], timeout=0.1))[0]:
                    break
            assert told.result().uri == "llmspell://documents/card"

    asked(url, ask, "changing", mode="auto")


class Late(TenantDocuments):
    """Documents that can be read some time after they were counted."""

    looks, version = 0, 1

    async def mark(self, tenant: Any, uri: str) -> object:
        self.looks += 1
        return self.version


def test_a_change_that_was_counted_before_it_can_be_read_is_told(knowing: Database) -> None:
    changing, documents = knowing.tenant("changing"), Late()
    uri = "llmspell://documents/late"

    async def ask(client: Any) -> None:
        async with client.listen(resource_subscriptions=[uri]) as heard:
            await asyncio.to_thread(changing.ingest, Document("late", "Counted."))
            seen = documents.looks
            while documents.looks == seen:
                await asyncio.sleep(0.01)
            documents.version = 2
            async for event in heard:
                assert event.uri == uri
                break

    with ToolRegistry() as registry:
        server = McpServer(registry.bind(changing), resources=[documents], watch_seconds=0.2)
        with served(server.asgi()) as where:
            asked(where, ask, mode="2026-07-28")


def test_nothing_is_offered_that_was_not_given(knowing: Database) -> None:
    async def ask(client: Any) -> Any:
        return client.server_capabilities

    with ToolRegistry() as registry:
        tools = registry.bind(knowing.tenant("acme"))
        with served(McpServer(tools).asgi()) as where:
            offered = asked(where, ask, mode="legacy")
        assert (offered.prompts, offered.resources, offered.completions) == (None, None, None)
        with served(McpServer(tools, prompts=[PromptTemplate(summary)]).asgi()) as where:
            offered = asked(where, ask, mode="legacy")
        assert offered.prompts is not None
        assert (offered.resources, offered.completions) == (None, None)


def number(count: int) -> str:
    """A number."""
    return str(count)


def silent(topic: str) -> str:
    return topic


def test_what_cannot_be_offered_is_named(knowing: Database) -> None:
    for make, why in [
        (lambda: PromptTemplate(number), "'count' is no str"),
        (lambda: PromptTemplate(silent), "give it a docstring"),
        (lambda: PromptTemplate(summary, name=""), "1 to 128 characters"),
        (lambda: PromptTemplate(summary, complete={"context": []}), "no argument 'context'"),
        (lambda: PromptTemplate(summary, complete={"topic": "tea"}), "several texts"),
        (lambda: Resource("today", lambda: ""), "begins with a scheme"),
        (lambda: Resource("notes://today", silent), r"must have the arguments \[\]"),
        (lambda: ResourceTemplate("notes://{a}{b}", silent, name="n"), "no template"),
        (lambda: TenantDocuments(max_chars=0), "at least 1"),
    ]:
        with pytest.raises(ConfigError, match=why):
            make()
    with ToolRegistry() as registry:
        tools = registry.bind(knowing.tenant("acme"))
        for given, why in [
            ({"prompts": PROMPTS * 2}, "two prompts are named 'summary'"),
            ({"prompts": [summary]}, "a prompt is a PromptTemplate"),
            ({"resources": [summary]}, "resources are a Resource"),
            ({"watch_seconds": 0}, "watch_seconds"),
        ]:
            with pytest.raises(ConfigError, match=why):
                McpServer(tools, **given)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="replay_bytes"):
            McpServer(tools).asgi(replay_bytes=-1)
