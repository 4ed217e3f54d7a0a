"""What both models ask on the wire, and read from it, by the official clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmspell import errors
from llmspell.providers import (
    AnthropicChat,
    ChatModel,
    ChatRequest,
    ChatResponse,
    ConnectionSettings,
    Message,
    OpenAIChat,
    OutputSchema,
    Price,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolDefinition,
    Usage,
)
from llmspell.security import SecretRef, SecretStore
from llmspell.testing import Call, Reply, ScriptedChatServer
from tests.providers.models import ADD, KINDS, ask, kinds, scripted, streamed


def _close_after(model: ChatModel, request: ChatRequest) -> list[StreamEvent]:
    async def run() -> list[StreamEvent]:
        try:
            return await streamed(model, request)
        finally:
            await model.aclose()  # type: ignore[attr-defined]

    return asyncio.run(run())


@kinds
def test_an_answer_has_text_usage_and_cost(kind: str) -> None:
    reply = Reply("Fine.", input_tokens=100, output_tokens=20, cached_tokens=40)
    price = Price(input=1.0, output=10.0, cached=0.5)
    with scripted(kind, reply, price=price) as (model, server):
        answer = model.complete(ask(temperature=0.0, stop=("END",), max_tokens=77))
        (asked,) = server.asked
    usage = Usage(100, 20, 40)
    assert answer == ChatResponse("Fine.", (), "stop", usage, kind, "m-1", price.cost(usage))
    assert answer.cost == pytest.approx((60 * 1.0 + 40 * 0.5 + 20 * 10.0) / 1e6)
    assert asked.texts == ["How are you?"]
    limits = {asked.body.get("max_tokens"), asked.body.get("max_completion_tokens")}
    assert 77 in limits and asked.body["temperature"] == 0.0
    assert ["END"] in (asked.body.get("stop"), asked.body.get("stop_sequences"))
    keys = (asked.headers.get("authorization"), asked.headers.get("x-api-key"))
    assert keys in (("Bearer sk-x", None), (None, "sk-x"))


@kinds
def test_calls_of_tools_come_with_their_arguments_and_take_their_results(kind: str) -> None:
    calls = [Call("add", {"a": 1}), Call("add", {"a": 2})]
    with scripted(kind, [Reply("Let me see.", calls), "3"]) as (model, server):
        first = model.complete(ask(tools=(ADD,), tool_choice="required"))
        assert first.finish == "tool_calls" and first.text == "Let me see."
        assert [call.parsed() for call in first.tool_calls] == [{"a": 1}, {"a": 2}]
        results = [Message.tool(call.id, f"sum {call.id}") for call in first.tool_calls]
        messages = (Message.system("Be brief."), Message.user("go"), first.message, *results)
        last = model.complete(ChatRequest(messages=messages, tools=(ADD,)))
        assert last.text == "3" and last.finish == "stop"
        second = server.asked[1]
    said = [f"sum {call.id}" for call in first.tool_calls]
    assert second.texts[-2:] == said
    roles = [message["role"] for message in second.body["messages"]]
    assert roles in (["user", "assistant", "user"], ["system", "user", "assistant", "tool", "tool"])
    assert "Be brief." in json.dumps(second.body)


@kinds
def test_a_stream_gives_texts_and_then_the_whole_answer(kind: str) -> None:
    reply = Reply("The answer, piece by piece.", [Call("add", {"a": 7})], input_tokens=9)
    with scripted(kind, reply) as (model, _):
        *texts, whole = _close_after(model, ask(tools=(ADD,)))
    assert len(texts) > 2 and all(isinstance(event, TextDelta) for event in texts)
    assert isinstance(whole, ChatResponse)
    assert "".join(event.text for event in texts if isinstance(event, TextDelta)) == whole.text
    assert whole.text == reply.text and whole.finish == "tool_calls"
    assert whole.tool_calls[0].parsed() == {"a": 7} and whole.usage.input_tokens == 9


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_a_model_thought_goes_back_to_it_as_it_was(is_stream: bool) -> None:
    reply = Reply(
        "", [Call("add", {"a": 1})], thought="I had better add. \U0001f600", redacted_thought="x9=="
    )
    with scripted("anthropic", [reply, "1"], thinking=1_024) as (model, server):
        request = ask(tools=(ADD,), temperature=0.5, max_tokens=2_000)

        async def answered() -> ChatResponse:
            if not is_stream:
                return await model.acomplete(request)
            *_, last = await streamed(model, request)
            assert isinstance(last, ChatResponse)
            return last

        async def main() -> None:
            said = (await answered()).message
            result = Message.tool(said.tool_calls[0].id, "1")
            messages = (*request.messages, said, result)
            await model.acomplete(ChatRequest(messages=messages, tools=(ADD,), max_tokens=2_000))
            await model.aclose()

        asyncio.run(main())
        first, second = (asked.body for asked in server.asked)
    assert first["thinking"] == {"type": "enabled", "budget_tokens": 1_024}
    assert "temperature" not in first
    signature = hashlib.sha256(reply.thought.encode()).hexdigest()
    assert second["messages"][1]["content"] == [
        {"type": "thinking", "thinking": reply.thought, "signature": signature},
        {"type": "redacted_thinking", "data": "x9=="},
        {"type": "tool_use", "id": "toolu_0", "name": "add", "input": {"a": 1}},
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"max_tokens": 1_024},
        {"max_tokens": 9_000, "tools": (ADD,), "tool_choice": "required"},
        {"max_tokens": 9_000, "output": OutputSchema({"type": "object"})},
    ],
)
def test_a_model_does_not_think_where_its_provider_would_refuse_it(given: Any) -> None:
    with scripted("anthropic", "x", thinking=1_024) as (model, server):
        model.complete(ask(temperature=0.5, **given))
        (asked,) = server.asked
    assert "thinking" not in asked.body and asked.body["temperature"] == 0.5
    with pytest.raises(errors.ConfigError):
        AnthropicChat("m", api_key="k", thinking=1_000)


@kinds
def test_an_output_schema_gives_json(kind: str) -> None:
    schema = OutputSchema({"type": "object", "properties": {"n": {"type": "integer"}}})
    reply = Reply("", [Call("answer", {"n": 3})]) if kind == "anthropic" else Reply('{"n": 3}')
    with scripted(kind, reply) as (model, server):
        answer = model.complete(ask(output=schema))
        (asked,) = server.asked
    assert json.loads(answer.text) == {"n": 3} and answer.finish == "stop"
    assert answer.tool_calls == ()
    assert '"integer"' in json.dumps(asked.body)


@kinds
def test_an_output_is_told_from_a_tool_of_its_name(kind: str) -> None:
    schema = OutputSchema({"type": "object"})
    tools = [ToolDefinition(name, "Do.", {"type": "object"}) for name in ("answer", "answer_2")]
    given = Call("answer_3", {"n": 3}) if kind == "anthropic" else None
    replies = [
        Reply("", [Call("answer", {"a": 1})]),
        Reply("" if given else '{"n": 3}', [given] if given else []),
    ]
    with scripted(kind, replies) as (model, server):
        first, second = (model.complete(ask(output=schema, tools=tools)) for _ in range(2))
        sent = [one.get("name") or one["function"]["name"] for one in server.asked[0].body["tools"]]
    assert [one.name for one in first.tool_calls] == ["answer"]
    assert (second.tool_calls, json.loads(second.text)) == ((), {"n": 3})
    assert len(set(sent)) == len(sent)


def test_blank_texts_are_no_blocks() -> None:
    call = ToolCall("toolu_1", "add", "{}")
    spoken = (Message.user("go"), Message.assistant("\n\n", (call,)), Message.tool("toolu_1", "3"))
    with scripted("anthropic", "ok") as (model, server):
        model.complete(ChatRequest(messages=spoken, tools=(ADD,)))
        _, said, _ = server.asked[0].body["messages"]
    assert [block["type"] for block in said["content"]] == ["tool_use"]


@kinds
@pytest.mark.parametrize("finish", ["stop", "length", "refused"])
def test_the_reason_of_the_end_is_told(kind: str, finish: str) -> None:
    with scripted(kind, Reply("so far", finish=finish)) as (model, _):  # type: ignore[arg-type]
        assert model.complete(ask()).finish == finish


@kinds
def test_calls_of_one_loop_share_connections_and_threads_may_call_at_once(kind: str) -> None:
    with scripted(kind, lambda asked: asked.texts[-1]) as (model, server):
        with ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda n: model.complete(ask(str(n))).text, range(24)))
        assert texts == [str(number) for number in range(24)]
        assert server.connections <= 8


@kinds
def test_connections_are_renewed_after_their_lifetime(kind: str) -> None:
    young = ConnectionSettings(lifetime=1e-6)
    with scripted(kind, "x", connections=young) as (model, server):
        for _ in range(3):
            model.complete(ask())
        assert server.connections == 3


def test_a_model_outlives_the_event_loops_that_used_it() -> None:
    async def once() -> str:
        answer = await model.acomplete(ask())
        await model._clients._current[asyncio.get_running_loop()].sdk.close()
        return answer.text

    with scripted("openai", "x") as (model, _):
        assert [asyncio.run(once()) for _ in range(3)] == ["x"] * 3
        assert len(model._clients._current) <= 1


def test_a_closed_model_and_a_running_loop_are_told() -> None:
    with scripted("openai", "x") as (model, _):

        async def inside() -> None:
            with pytest.raises(errors.InputError, match="await the async form"):
                model.complete(ask())

        asyncio.run(inside())
        model.close()
        with pytest.raises(errors.ClosedError):
            model.complete(ask())


@pytest.mark.parametrize("given", ["NaN", "1e999", r'"\ud800"', "[" * 50_000 + "]" * 50_000])
@kinds
def test_arguments_that_no_request_can_hold_are_answered_all_the_same(
    kind: str, given: str
) -> None:
    said = ToolCall("toolu_1", "add", f'{{"a": {given}}}')
    spoken = (Message.user("go"), Message.assistant("", (said,)), Message.tool("toolu_1", "no"))
    with scripted(kind, "ok") as (model, _):
        assert model.complete(ChatRequest(messages=spoken, tools=(ADD,))).text == "ok"
    if given.startswith("["):
        with pytest.raises(errors.InputError):
            said.parsed()


@kinds
def test_halves_of_surrogate_pairs_are_replaced_on_both_ways(kind: str) -> None:
    with scripted(kind, Reply("one \ud83d half")) as (model, server):
        assert model.complete(ask("\ude00 a whole \U0001f600")).text == "one \ufffd half"
        assert server.asked[0].texts == ["\ufffd a whole \U0001f600"]


@kinds
def test_a_key_by_reference_is_read_for_each_call(kind: str) -> None:
    environ = {"SOME_API_KEY": "sk-old"}
    store = SecretStore(environ=environ, ttl=0)
    given = {"api_key": SecretRef("name", "some"), "secrets": store}
    with ScriptedChatServer("x") as server, KINDS[kind](server, **given) as model:
        model.complete(ask())
        environ["SOME_API_KEY"] = "sk-new"
        _close_after(model, ask())
        del environ["SOME_API_KEY"]
    with ScriptedChatServer("x") as unasked, KINDS[kind](unasked, **given) as model:
        with pytest.raises(errors.SecretNotFound):
            model.complete(ask())
        assert unasked.asked == []
    first, second = (asked.headers for asked in server.asked)
    assert (
        first.get("x-api-key", first.get("authorization", "")).removeprefix("Bearer ") == "sk-old"
    )
    assert "sk-new" in str(second) and "sk-old" not in str(second)
    assert "of each call" not in str(first)


def test_the_key_is_never_shown() -> None:
    model = OpenAIChat("m", api_key="sk-very-secret")
    assert "secret" not in repr(model) + repr(vars(model))


def test_no_sdk_is_imported_before_the_first_call() -> None:
    program = """
import sys
from llmspell.providers import AnthropicChat, OpenAIChat
OpenAIChat("m", api_key="k"), AnthropicChat("m", api_key="k")
print([name for name in ("openai", "anthropic", "httpx2", "pydantic") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
