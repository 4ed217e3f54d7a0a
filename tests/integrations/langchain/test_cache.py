from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.integrations.langchain import LlmspellByteStore, LlmspellCache


@pytest.fixture
def cache(tenant: Tenant) -> Iterator[LlmspellCache]:
    made = LlmspellCache(tenant)
    set_llm_cache(made)
    yield made
    set_llm_cache(None)


def test_a_model_is_asked_once(cache: LlmspellCache) -> None:
    model = FakeListLLM(responses=["first", "second"])
    assert [model.invoke("a"), model.invoke("a"), model.invoke("b")] == ["first", "first", "second"]
    chat = GenericFakeChatModel(messages=iter([AIMessage("hello"), AIMessage("again")]))
    assert [chat.invoke("a").content, chat.invoke("a").content] == ["hello", "hello"]


def test_answers_of_all_kinds_come_back(cache: LlmspellCache) -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    answers = [
        Generation(text="a", generation_info={"at": datetime(2024, 5, 1), "t": (1, b"\xff")}),
        GenerationChunk(text="b"),
        ChatGeneration(message=AIMessage("c", tool_calls=[call], usage_metadata=usage)),
        ChatGenerationChunk(message=AIMessageChunk(["d", {"type": "text", "text": "e"}])),
    ]
    cache.update("prompt \ud800", "model", answers)
    found = cache.lookup("prompt \ud800", "model")
    assert found == answers
    assert list(map(type, found)) == list(map(type, answers))


def test_an_answer_that_is_no_data_is_not_kept(
    cache: LlmspellCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.update("p", "m", [Generation(text="a", generation_info={"o": object()})])
    assert cache.lookup("p", "m") is None
    assert "not kept" in caplog.text


def test_answers_belong_to_a_tenant_a_name_and_a_model(database: Database, tenant: Tenant) -> None:
    other = database.create_tenant(TenantConfig(id="other"))
    cache, named = LlmspellCache(tenant), LlmspellCache(tenant, name="named")
    cache.update("p", "m", [Generation(text="a")])
    assert cache.lookup("p", "m2") is None
    assert LlmspellCache(other).lookup("p", "m") is None
    named.update("p", "m", [Generation(text="b")])
    named.clear()
    assert named.lookup("p", "m") is None and cache.lookup("p", "m") == [Generation(text="a")]
    database.drop_tenant("other")


def test_answers_grow_old(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LlmspellCache(tenant, ttl=60)
    cache.update("p", "m", [Generation(text="a")])
    assert cache.lookup("p", "m") is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert cache.lookup("p", "m") is None
    with pytest.raises(errors.ConfigError):
        LlmspellCache(tenant, ttl=0)


def test_what_another_hand_wrote_is_damage_that_is_named(tenant: Tenant) -> None:
    cache = LlmspellCache(tenant)
    cache.update("p", "m", [Generation(text="a")])
    (item,) = tenant.state.scan(("langchain", "cache")).items
    for wrong in (5, [None, "{"], [None, '[["Os",1,2]]'], [None, '[["ChatGeneration",1,2]]']):
        tenant.state.set(item.key, wrong)
        with pytest.raises(errors.CorruptFile, match="cache"):
            cache.lookup("p", "m")


def test_every_look_is_charged(database: Database) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=2)
    tenant = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    cache = LlmspellCache(tenant)
    cache.lookup("p", "m")
    cache.lookup("p", "m")
    with pytest.raises(errors.QuotaExceeded):
        cache.lookup("p", "m")
    database.drop_tenant("poor")


def test_keys_of_a_store_come_in_order_however_many_they_are(tenant: Tenant) -> None:
    store, other = LlmspellByteStore(tenant), LlmspellByteStore(tenant, name="other")
    other.mset([("x", b"y")])
    names = [f"k{i:03}" for i in range(250)]
    store.mset([(name, name.encode()) for name in reversed(names)])
    assert list(store.yield_keys()) == names
    assert list(store.yield_keys(prefix="k01")) == names[10:20]
    store.mdelete(names)
    assert list(store.yield_keys()) == [] and list(other.yield_keys()) == ["x"]
    with pytest.raises(errors.InputError):
        store.mset([("fine", b""), ("", b"")])
    assert store.mget(["fine"]) == [None]
