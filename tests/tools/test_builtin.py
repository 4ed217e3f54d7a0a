"""The tools that come with llmspell, called as a model calls them."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import Document, Tenant, TenantConfig
from llmspell.security import ProgramRule, Sandbox, SecurityLevel
from llmspell.tools import FunctionTool, TenantTools, ToolRegistry, builtin
from llmspell.tools.builtin import command_tool, memory_tools, web_tools
from tests.tenancy.texts import Lines

NAMES = [name for name in builtin.__all__ if isinstance(getattr(builtin, name), FunctionTool)]


@pytest.fixture(scope="module")
def shared(sandbox: Sandbox) -> Iterator[ToolRegistry]:
    with ToolRegistry([getattr(builtin, name) for name in NAMES], sandbox=sandbox) as made:
        yield made


@pytest.fixture
def tools(shared: ToolRegistry, tenant: Tenant) -> TenantTools:
    return shared.bind(tenant)


def test_each_can_be_described(tools: TenantTools) -> None:
    assert {spec.name for spec in tools.specs()} == set(NAMES)
    assert set(NAMES) <= set(dir(builtin))


def test_each_is_confined_and_safe_but_for_those_that_need_a_clock_or_the_tenant(
    tools: TenantTools,
) -> None:
    specs = tools.specs()
    assert {spec.level for spec in specs} == {SecurityLevel.SAFE}
    trusted = {spec.name for spec in specs if not spec.is_confined}
    assert trusted == {"current_time", "date_difference", "shift_date", "search_knowledge"}
    remember, run = memory_tools("helper")[0], command_tool({"ls": ProgramRule()})
    assert (remember.spec.level, run.spec.level) == (SecurityLevel.SAFE, SecurityLevel.PRIVILEGED)
    assert run.spec.is_confined
    (fetch, _), (anywhere, _) = web_tools(["a.test"]), web_tools(["*"])
    assert fetch.spec.level is SecurityLevel.RESTRICTED
    assert anywhere.spec.level is SecurityLevel.PRIVILEGED


@pytest.mark.usefixtures("confines")
@pytest.mark.parametrize(
    "name, arguments, value",
    [
        ("calculator", {"expression": "2 * (3 + 4) ** 2"}, 98),
        ("calculator", {"expression": " -7 // 2 + max(1, 2.5) "}, -1.5),
        ("calculator", {"expression": "round(sqrt(2), 3)"}, 1.414),
        (
            "text_statistics",
            {"text": "a bé\nc"},
            {"characters": 6, "words": 3, "lines": 2, "bytes": 7},
        ),
        ("hash_text", {"text": "", "algorithm": "md5"}, "d41d8cd98f00b204e9800998ecf8427e"),
        ("encode_text", {"text": "<ä>", "encoding": "url"}, "%3C%C3%A4%3E"),
        ("decode_text", {"text": "w6Q", "encoding": "base64"}, "ä"),
        ("query_data", {"text": '[{"a": 1}, {"a": 3}]', "query": "[?a > `1`].a"}, [3]),
        ("query_data", {"text": "a,b\n1,x\n", "format": "csv"}, [{"a": "1", "b": "x"}]),
        (
            "query_data",
            {"text": "a: [1, 2026-01-02]\n3: x\n2026-01-03: y", "format": "yaml"},
            {"a": [1, "2026-01-02"], "3": "x", "2026-01-03": "y"},
        ),
        (
            "query_data",
            {"text": f"\ufeffa,b\n1,{'x' * 200_000}\n", "format": "csv", "query": "[].a"},
            ["1"],
        ),
        ("query_data", {"text": '{"a": 1}\n[2]\n', "format": "jsonl"}, [{"a": 1}, [2]]),
        ("query_data", {"text": '["a\u2028b"]\r\n[]', "format": "jsonl"}, [["a\u2028b"], []]),
        (
            "render_template",
            {"template": "{{ a }}{% if b %}!{% endif %}", "values": {"a": 1, "b": 1}},
            "1!",
        ),
        (
            "render_template",
            {
                "template": "{{ a|default('é') }}{{ b|striptags }}{{ b|pprint|length }}",
                "values": {"b": "<b>x</b>"},
            },
            "éx10",
        ),
        (
            "html_to_markdown",
            {"html": "<h2>T</h2><script>x</script><p>a <i>b</i></p>"},
            "## T\n\na *b*",
        ),
        (
            "diff_texts",
            {"before": "a\nb\n", "after": "a\nc\n"},
            {
                "is_equal": False,
                "added": 1,
                "removed": 1,
                "diff": "--- before\n+++ after\n@@ -1,2 +1,2 @@\n a\n-b\n+c",
            },
        ),
    ],
)
def test_what_runs_confined(
    tools: TenantTools, name: str, arguments: dict[str, Any], value: object
) -> None:
    result = tools.call(name, arguments)
    assert result.fault is None
    assert result.value == value


@pytest.mark.usefixtures("confines")
@pytest.mark.parametrize(
    "name, arguments, error",
    [
        ("query_data", {"text": "{"}, "JSONDecodeError"),
        ("query_data", {"text": "1", "query": "[?"}, "IncompleteExpressionError"),
        (
            "query_data",
            {"text": "!!python/object/apply:os.getpid []", "format": "yaml"},
            "ConstructorError",
        ),
        ("render_template", {"template": "{{ a }}", "values": {}}, "UndefinedError"),
        (
            "render_template",
            {"template": "{{ ''.__class__.__mro__ }}", "values": {}},
            "SecurityError",
        ),
        ("decode_text", {"text": "ü", "encoding": "base64"}, "ValueError"),
    ],
)
def test_what_can_not_be_done_fails_by_name(
    tools: TenantTools, name: str, arguments: dict[str, Any], error: str
) -> None:
    fault = tools.call(name, arguments).fault
    assert fault is not None
    assert fault.error == error


def test_a_table_that_is_asked_in_this_process_leaves_its_bounds_for_others() -> None:
    before = csv.field_size_limit()
    long = "x" * (before + 1)
    try:
        assert builtin.query_data("a\n1", "[0].a", "csv") == "1"
        assert csv.field_size_limit() == before
        assert builtin.query_data(f"a\n{long}", "[0].a", "csv") == long
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "(1).bit_length()",
        "9 ** 9 ** 9",
        "factorial(10 ** 6)",
        "round(1, 0 - 10 ** 9)",
        "[1]",
        "x",
        "1 if 1 else 2",
        "True",
        "(-8) ** 0.5",
        "1 +",
        "max(1, key=2)",
        "1" * 2_000,
    ],
)
def test_what_is_no_arithmetic_or_too_much_is_refused(expression: str) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        builtin.calculator(expression)


ARITHMETIC = st.recursive(
    st.integers(-99, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({' '.join(t)})"),
    max_leaves=8,
)


@settings(deadline=None)
@given(ARITHMETIC)
def test_arithmetic_is_that_of_python(expression: str) -> None:
    assert builtin.calculator(expression) == eval(expression)


@settings(deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["base64", "base64url", "hex", "url", "html"]),
)
def test_a_text_is_decoded_as_it_was_encoded(text: str, encoding: Any) -> None:
    assert builtin.decode_text(builtin.encode_text(text, encoding), encoding) == text


def test_dates_and_times() -> None:
    assert builtin.date_difference("2026-03-01", "2026-02-27T12:00:00+00:00") == {
        "days": -1.5,
        "seconds": -129_600.0,
    }
    told = builtin.shift_date("2026-03-28T12:00:00+01:00", days=1, timezone="Europe/Berlin")
    assert told == {
        "iso": "2026-03-29T13:00:00+02:00",
        "weekday": "Sunday",
        "week": 13,
        "unix": 1_774_782_000,
    }
    assert builtin.current_time("Asia/Tokyo")["iso"].endswith("+09:00")
    for zone in ("Nowhere", "../../etc/passwd", ""):
        with pytest.raises(ValueError, match="there is no time zone"):
            builtin.current_time(zone)


def test_knowledge_is_that_of_the_tenant(shared: ToolRegistry, tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "texts", texts=Lines()) as database:
        for name in ("acme", "other"):
            tenant = database.create_tenant(TenantConfig(id=name))
            tenant.ingest(Document("d", f"tea of {name}\nbread of {name}"))
        acme = database.tenant("acme")
        before = acme.usage().embeddings.used
        found = shared.bind(acme).call("search_knowledge", {"query": "tea of acme", "limit": 1})
        assert [hit["text"] for hit in found.value] == ["tea of acme"]
        assert acme.usage().embeddings.used == before + 1
        found = shared.bind(acme).call("search_knowledge", {"query": "bread", "limit": 50})
        assert {hit["text"] for hit in found.value} == {"tea of acme", "bread of acme"}


@pytest.mark.parametrize(
    "mode, texts", [("lexical", {"tea of one"}), ("hybrid", {"tea of one", "bread of one"})]
)
def test_knowledge_is_searched_by_words_and_in_part_where_the_tool_is_made_so(
    tmp_path: Path, mode: str, texts: set[str]
) -> None:
    made = builtin.search_knowledge.bind(mode=mode, filter={"team": "sales"})
    assert set(made.spec.parameters["properties"]) == {"query", "limit"}
    with (
        llmspell.open(tmp_path / "texts", texts=Lines()) as database,
        ToolRegistry([made]) as registry,
    ):
        acme = database.create_tenant(TenantConfig(id="acme"))
        acme.ingest(Document("a", "tea of one\nbread of one", metadata={"team": "sales"}))
        acme.ingest(Document("b", "teas of two", metadata={"team": "law"}))
        found = registry.bind(acme).call("search_knowledge", {"query": "teas"})
    assert {hit["text"] for hit in found.value} == texts
    assert found.value[0]["metadata"]["document"] == "a"


def test_knowledge_is_searched_by_async_handles_too(shared: ToolRegistry, tmp_path: Path) -> None:
    async def main() -> Any:
        async with llmspell.open(tmp_path / "texts", texts=Lines()) as database:
            acme = await database.create_tenant(TenantConfig(id="acme"))
            await acme.ingest(Document("d", "tea\nbread"))
            found = await shared.bind(acme).acall("search_knowledge", {"query": "tea"})
            return found.value

    assert asyncio.run(main())[0]["text"] == "tea"
