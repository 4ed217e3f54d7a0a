"""Structured output: validated, and mended by the model where it isn't as it should be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pydantic
import pytest

from llmspell import Tenant, errors
from llmspell.agents import Agent, AgentLimits
from tests.agents.script import Script, say


@dataclass
class City:
    name: str
    people: int


class Renamed(pydantic.BaseModel):
    """Of a name that Python keeps for itself."""

    since: str = pydantic.Field(alias="from")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    on: date


class Reckoned(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    each: Decimal
    kept: int = pydantic.Field(exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> Decimal:
        return 2 * self.each


class Hidden(pydantic.BaseModel):
    word: pydantic.SecretStr


class Tree(pydantic.BaseModel):
    name: str
    below: list[Tree] = []


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["name", "people"],
}
GOOD = '{"name": "Bern", "people": 134000}'


def run(agent: Agent, **named: Any) -> Any:
    return asyncio.run(agent.run("Which city?", **named))


def test_data_of_a_type_comes_out(acme: Tenant) -> None:
    model = Script(say(GOOD))
    assert run(Agent(model, tenant=acme, output=City)).output == City("Bern", 134_000)
    assert model.schema(0)["required"] == ["name", "people"]


def test_data_by_a_schema_comes_out(acme: Tenant) -> None:
    model = Script(say(GOOD))
    out = run(Agent(model, tenant=acme, output=SCHEMA)).output
    assert out == {"name": "Bern", "people": 134_000}


@pytest.mark.parametrize("output", [list[City], {"type": "array", "items": SCHEMA}])
def test_data_that_is_no_object_is_asked_for_within_one(acme: Tenant, output: Any) -> None:
    model = Script(say(f"[{GOOD}]"), say(f'{{"value": [{GOOD}]}}'))
    (city,) = run(Agent(model, tenant=acme, output=output)).output
    assert city in (City("Bern", 134_000), {"name": "Bern", "people": 134_000})
    assert model.schema(0)["required"] == ["value"]
    assert "'value'" in model.told(1)[-1]


def test_fences_around_the_json_are_no_mistake(acme: Tenant) -> None:
    for fenced in (f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```", f"\n {GOOD}\n"):
        assert run(Agent(Script(say(fenced)), tenant=acme, output=City)).output.name == "Bern"


@pytest.mark.parametrize("output", [City, SCHEMA])
@pytest.mark.parametrize(
    "bad, why", [("Bern", "JSON"), ('{"name": "Bern"}', "people"), ('{"people": -1}', "name")]
)
def test_the_model_is_told_what_is_wrong_and_mends_it(
    acme: Tenant, output: Any, bad: str, why: str
) -> None:
    model = Script(say(bad), say(GOOD))
    assert run(Agent(model, tenant=acme, output=output)).output is not None
    told = model.told(1)
    assert told[-2] == bad
    assert why in told[-1]


def test_it_is_asked_no_more_often_than_it_may(acme: Tenant) -> None:
    agent = Agent(
        Script(*[say("no")] * 3), tenant=acme, output=City, limits=AgentLimits(max_repairs=2)
    )
    with pytest.raises(errors.OutputInvalid) as caught:
        run(agent, run_id="r")
    assert caught.value.text == "no"
    with pytest.raises(errors.OutputInvalid):
        asyncio.run(agent.resume("r"))
    model = Script(say(GOOD))
    more = Agent(model, tenant=acme, output=City, limits=AgentLimits(max_repairs=3))
    assert asyncio.run(more.resume("r")).output.name == "Bern"
    assert "can't be used" in model.told(0)[-1]


def test_a_run_that_has_ended_gives_its_output_again(acme: Tenant) -> None:
    agent = Agent(Script(say(GOOD)), tenant=acme, output=City)
    assert run(agent, run_id="one").output == City("Bern", 134_000)
    assert run(agent, run_id="one").output == City("Bern", 134_000)
    assert asyncio.run(agent.resume("one")).usage.tokens == 20


@pytest.mark.parametrize(
    "output, text, value",
    [
        (Renamed, '{"from": "Bern"}', Renamed(**{"from": "Bern"})),
        (Strict, '{"on": "2026-01-31"}', Strict(on=date(2026, 1, 31))),
        (list[Strict], '{"value": [{"on": "2026-01-31"}]}', [Strict(on=date(2026, 1, 31))]),
        (
            Reckoned,
            '{"each": "0.10", "kept": 3}',
            Reckoned(each=Decimal("0.10"), kept=3),
        ),
        (Hidden, '{"word": "hush"}', Hidden(word=pydantic.SecretStr("hush"))),
        (Tree, '{"name": "a", "below": [{"name": "b"}]}', Tree(name="a", below=[Tree(name="b")])),
    ],
    ids=["renamed", "strict", "strict within", "reckoned", "hidden", "of itself"],
)
def test_a_type_that_is_told_otherwise_than_it_is_read_comes_out_as_the_model_said_it(
    acme: Tenant, output: Any, text: str, value: Any
) -> None:
    model = Script(say(text))
    agent = Agent(model, tenant=acme, output=output)
    assert run(agent, run_id="one").output == value
    assert run(agent, run_id="one").output == value, "read from the transcript"
    assert model.schema(0)["type"] == "object", "as providers want it of the root"


def test_a_schema_that_refers_out_of_it_fetches_nothing(acme: Tenant) -> None:
    output = {"type": "object", "properties": {"name": {"$ref": "http://127.0.0.1:1/x"}}}
    with pytest.raises(errors.ConfigError, match="refers out of it"):
        run(Agent(Script(say(GOOD)), tenant=acme, output=output))


@pytest.mark.parametrize("named", ["$defs", "definitions"])
def test_parts_of_a_schema_that_is_wrapped_are_where_references_lead(
    acme: Tenant, named: str
) -> None:
    part = {"$ref": f"#/{named}/City"}
    for output, good in [
        ({"type": "array", "items": part, named: {"City": SCHEMA}}, f'{{"value": [{GOOD}]}}'),
        ({**part, named: {"City": SCHEMA}}, GOOD),
    ]:
        model = Script(say(good))
        assert run(Agent(model, tenant=acme, output=output)).output
        told = model.schema(0)
        assert told["type"] == "object"
        jsonschema.validate(json.loads(good), told)


@pytest.mark.parametrize("output", [7, {"type": "nothing"}, {"$defs": 7}])
def test_what_no_schema_describes_is_refused(acme: Tenant, output: Any) -> None:
    with pytest.raises(errors.ConfigError, match="output"):
        run(Agent(Script(say("x")), tenant=acme, output=output))
