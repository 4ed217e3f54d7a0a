"""OpenAI's format, as OpenAI's own models and the servers of others have it."""

from __future__ import annotations

import pytest

from llmspell.providers import OpenAIChat, ToolCall
from llmspell.providers.wire_openai import OpenAIStream, openai_response
from tests.providers.models import ask


@pytest.mark.parametrize(
    "url, is_new",
    [
        (None, True),
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1/", True),
        ("https://acme.openai.azure.com/openai/v1/", True),
        ("http://localhost:11434/v1", False),
        ("https://api.openai.com.evil.test/v1", False),
    ],
)
def test_openais_own_models_are_given_the_newer_name_of_the_bound(
    url: str | None, is_new: bool
) -> None:
    sent = OpenAIChat("m", api_key="k", base_url=url)._given(ask(), stream=False)
    assert ("max_completion_tokens" in sent, "max_tokens" in sent) == (is_new, not is_new)


def test_a_refusal_is_told_in_a_stream_as_in_a_whole_response() -> None:
    stream = OpenAIStream(provider="p", model_id="m", price=None)
    for delta, finish in (({"refusal": "I can't"}, None), ({"refusal": "."}, "stop")):
        stream.add({"choices": [{"delta": delta, "finish_reason": finish}]})
    body = {"choices": [{"message": {"refusal": "I can't."}, "finish_reason": "stop"}]}
    whole = openai_response(body, provider="p", model_id="m", price=None)
    assert stream.response() == whole
    assert (whole.text, whole.finish) == ("I can't.", "refused")


def test_a_call_without_an_id_or_arguments_is_a_call() -> None:
    calls = [
        {"function": {"name": "look"}},
        {"id": None, "function": {"name": "x", "arguments": None}},
    ]
    body = {"choices": [{"message": {"content": None, "tool_calls": calls}}]}
    answer = openai_response(body, provider="p", model_id="m", price=None)
    assert answer.tool_calls == (ToolCall("", "look", ""), ToolCall("", "x", ""))
    assert (answer.finish, answer.tool_calls[0].parsed()) == ("tool_calls", {})


@pytest.mark.parametrize("ids", [("a", "b"), ("",)])
def test_calls_in_a_stream_without_numbers_or_ids_are_told_apart(ids: tuple[str, ...]) -> None:
    stream = OpenAIStream(provider="p", model_id="m", price=None)
    for one in ids:
        head = {"id": one, "function": {"name": "add", "arguments": '{"a":'}}
        stream.add({"choices": [{"delta": {"tool_calls": [head]}}]})
        stream.add({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "1}"}}]}}]})
    stream.add({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    calls = stream.response().tool_calls
    assert calls == tuple(ToolCall(one, "add", '{"a":1}') for one in ids)
