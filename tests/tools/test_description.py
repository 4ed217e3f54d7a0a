"""What a model is told of a tool, and what it may send."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal, get_type_hints

import jsonschema
import pydantic
import pytest
import typing_extensions
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmspell.errors import ConfigError, InvalidArguments, LevelMismatch
from llmspell.security import SecurityLevel, SecurityRequirements
from llmspell.tools import Tool, ToolContext, ToolOptions, tool
from llmspell.tools.options import OptionValues


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclasses.dataclass
class Address:
    street: str
    number: int


@tool(trusted=True)
def order(
    what: str,
    count: int = 1,
    size: Size = Size.SMALL,
    *,
    colour: Literal["red", "blue"] | None = None,
    to: Address | None = None,
    on: datetime.date | None = None,
) -> str:
    """Order something.

    It is sent by post, which takes a day.

    Args:
        what: name of the article,
            in one line.
        count: how many.
    """
    return f"{count} {what} {size.value} {colour} {to} {on}"


def test_a_function_and_its_docstring_say_what_a_model_is_told() -> None:
    spec = order.spec
    assert spec.name == "order"
    assert spec.description == "Order something.\n\nIt is sent by post, which takes a day."
    assert spec.parameters["required"] == ["what"]
    properties = spec.parameters["properties"]
    assert properties["what"] == {
        "type": "string",
        "description": "name of the article, in one line.",
    }
    assert properties["count"] == {"type": "integer", "description": "how many.", "default": 1}
    assert properties["size"]["default"] == "small"
    jsonschema.Draft202012Validator.check_schema(spec.parameters)


@pytest.mark.parametrize(
    "doc",
    [
        "Do.\n\nParameters\n----------\nx : int\n    A number.",
        "Do.\n\n:param x: A number.",
        "Do.\n\nArgs:\n    x (int): A number.",
    ],
)
def test_the_common_styles_of_docstrings_are_read(doc: str) -> None:
    def function(x: int) -> int:
        return x

    function.__doc__ = doc
    spec = tool(trusted=True)(function).spec
    assert spec.description == "Do."
    assert spec.parameters["properties"]["x"]["description"] == "A number."


def test_arguments_come_as_the_types_that_the_function_takes() -> None:
    found = order.validate(
        {"what": "tea", "size": "large", "to": {"street": "a", "number": 4}, "on": "2026-02-03"}
    )
    assert found["size"] is Size.LARGE
    assert found["on"] == datetime.date(2026, 2, 3)
    assert "count" not in found  # the function has its default
    assert order.validate('{"what": "tea"}') == {"what": "tea"}


@pytest.mark.parametrize(
    "given, named",
    [
        ({}, "what: Field required"),
        ({"what": 1}, "what: .* got 1"),
        ({"what": "tea", "count": "many"}, "count: .* got 'many'"),
        ({"what": "tea", "colour": "green"}, "colour: Input should be 'red' or 'blue'"),
        ({"what": "tea", "to": {"street": "a"}}, "to.number: Field required"),
        ({"what": "tea", "price": 3}, "price: Extra inputs"),
        (
            {"what": "tea", "to": {"street": "a", "number": 1, "zip": 2}},
            "to.zip: Unexpected keyword",
        ),
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        (None, "valid dictionary"),
        ({"what": "x" * 10_000, "count": "y" * 10_000}, "y…"),
        ("[" * 100_000, "Invalid JSON"),
    ],
)
def test_each_mistake_is_named(given: Any, named: str) -> None:
    with pytest.raises(InvalidArguments, match=named) as caught:
        order.validate(given)
    assert len(str(caught.value)) < 1_000


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["what", "count", "colour", "x"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    )
)
@example({"what": "tea", "count": 2.0**63})
def test_what_the_schema_takes_is_taken(arguments: dict[str, Any]) -> None:
    """The model of it is the schema itself, judged by another library."""
    is_valid = jsonschema.Draft202012Validator(order.spec.parameters).is_valid(arguments)
    try:
        order.validate(arguments)
    except InvalidArguments:
        # By the schema 2.0**63 is an integer; a float beyond 64 bits isn't taken for one.
        count = arguments.get("count")
        assert not is_valid or (isinstance(count, float) and abs(count) >= 2**63)
    # Beyond the schema some are taken that mean the same, such as "3" for 3.


def plain(a: str, b: int, c: float, d: bool = True) -> None:
    """Take what is plain."""


def plain_by_pydantic(
    a: Annotated[str, ""], b: Annotated[int, ""], c: Annotated[float, ""], d: bool = True
) -> None:
    """Take what is plain."""


PLAIN: Final = tool(trusted=True)(plain)
BY_PYDANTIC: Final = tool(trusted=True)(plain_by_pydantic)
_VALUES: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=3)
    | st.sampled_from(["", "x", "1", "1_0", "2.0", "yes", "nan", "\ud800", [1], {}, Size.SMALL])
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), _VALUES))
def test_plain_arguments_are_described_and_checked_as_pydantic_would(
    arguments: dict[str, Any],
) -> None:
    def found(by: Tool) -> str:
        try:
            return repr(by.validate(arguments))
        except InvalidArguments as error:
            return str(error)

    assert PLAIN.spec.parameters == BY_PYDANTIC.spec.parameters
    assert found(PLAIN) == found(BY_PYDANTIC)


def test_an_argument_may_have_another_name_for_the_model() -> None:
    def function(from_: Annotated[str, pydantic.Field(alias="from")] = "here") -> str:
        """Do.

        Args:
            from_: a place.
        """
        return from_

    made = tool(trusted=True)(function)
    assert made.spec.parameters["properties"] == {
        "from": {"type": "string", "description": "a place.", "default": "here"}
    }
    assert made.validate({"from": "there"}) == {"from_": "there"}


def test_a_fixed_argument_leaves_the_schema() -> None:
    fixed = order.bind(count=3)
    assert "count" not in fixed.spec.parameters["properties"]
    assert fixed.validate({"what": "tea"}) == {"what": "tea", "count": 3}
    with pytest.raises(InvalidArguments, match="count: Extra"):
        fixed.validate({"what": "tea", "count": 1})
    assert "count" in order.spec.parameters["properties"]
    with pytest.raises(ConfigError, match="no argument 'price'"):
        order.bind(price=1)


def test_a_check_looks_at_arguments_that_fit_and_may_change_them() -> None:
    def few(arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("count", 1) > 9:
            raise InvalidArguments("count: at most 9")
        return {**arguments, "what": arguments["what"].lower()}

    checked = order.checked(few)
    assert checked.validate({"what": "TEA"})["what"] == "tea"
    with pytest.raises(InvalidArguments, match="at most 9"):
        checked.validate({"what": "tea", "count": 10})


def test_the_context_is_no_argument_of_a_model() -> None:
    def function(x: int, context: ToolContext) -> int:
        """Do."""
        return x

    assert list(tool(trusted=True)(function).spec.parameters["properties"]) == ["x"]
    with pytest.raises(ConfigError, match="can't be given the context"):
        tool(function)


def test_a_class_is_no_function() -> None:
    with pytest.raises(ConfigError, match=r"derive it from llmspell\.tools\.Tool"):

        @tool(trusted=True)
        class Counter:
            """Count."""


def test_a_class_is_a_tool_with_state() -> None:
    class WordCount(Tool):
        """Count words, of all calls together."""

        options = ToolOptions(trusted=True, cost=0.5)

        def __init__(self) -> None:
            self.count = 0

        def run(self, text: str) -> int:
            self.count += len(text.split())
            return self.count

    spec = WordCount().spec
    assert (spec.name, spec.cost, spec.is_confined) == ("word_count", 0.5, False)
    assert spec.description == "Count words, of all calls together."
    assert list(spec.parameters["properties"]) == ["text"]


def test_a_tool_is_still_the_function() -> None:
    assert order("tea", 2) == "2 tea small None None None"
    assert order.__name__ == "order"


def no_type(x) -> None:  # type: ignore[no-untyped-def]
    """Do."""


def many(*x: int) -> None:
    """Do."""


def unresolved(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do."""


def no_data(x: Tool) -> None:
    """Do."""


def undescribed(x: int) -> None:
    pass


async def in_turn(x: int) -> AsyncIterator[int]:
    """Do."""
    yield x


class Holder:
    def method(self, x: int) -> None:
        """Do."""


@pytest.mark.parametrize(
    "function, named",
    [
        (no_type, "'x' has no type"),
        (many, "can't be given by name"),
        (unresolved, "can't be resolved"),
        (no_data, "types that JSON Schema describes"),
        (undescribed, "give it a docstring"),
        (in_turn, "return a list"),
        (Holder.method, "is a method"),
        (functools.partial(undescribed), "by bind"),
    ],
)
def test_what_no_model_could_call_is_refused(function: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _ = tool(trusted=True)(function).spec


@dataclasses.dataclass
class Band:
    low: float = -math.inf
    high: Annotated[float, pydantic.Field(le=math.inf)] = 1.0


def within(default: Band, most: float = math.inf, raw: bytes = b"\xff") -> None:
    """Do."""


def noted(
    a: Annotated[int, "how many"],
    b: Annotated[int, pydantic.Field(ge=1), typing_extensions.Doc("how few")] = 1,
    c: Annotated[str, pydantic.Field(description="which")] = "",
    d: Annotated[int, "not this"] = 2,
) -> None:
    """Do.

    Args:
        d: but this.
    """


def test_what_an_argument_is_may_be_said_at_its_type() -> None:
    properties = tool(trusted=True)(noted).spec.parameters["properties"]
    said = {name: about["description"] for name, about in properties.items()}
    assert said == {"a": "how many", "b": "how few", "c": "which", "d": "but this."}
    assert properties["b"]["minimum"] == 1


def test_what_json_has_no_number_for_is_in_no_schema() -> None:
    made = tool(trusted=True)(within)
    json.dumps(made.spec.parameters, allow_nan=False)
    assert set(made.spec.parameters["properties"]) == {"default", "most", "raw"}
    assert made.validate({"default": {}}) == {"default": Band()}


@pytest.mark.parametrize(
    "options, error, named",
    [
        ({"level": "none"}, ConfigError, "there is no level 'none'"),
        ({"timeout": 0, "trusted": True}, ConfigError, "timeout must be"),
        ({"timeout": 6}, ConfigError, "at most 5, as the requirements say"),
        ({"timeout": float("inf"), "trusted": True}, ConfigError, "timeout must be"),
        ({"cost": -1}, ConfigError, "cost must be"),
        ({"max_concurrent": 0}, ConfigError, "max_concurrent must be"),
        ({"preload": "json"}, ConfigError, "preload is one str"),
        ({"trusted": 1}, ConfigError, "trusted must be"),
        (
            {"trusted": True, "requirements": SecurityRequirements.safe()},
            ConfigError,
            "no requirements are enforced",
        ),
        (
            {"level": SecurityLevel.SAFE, "requirements": SecurityRequirements.restricted()},
            LevelMismatch,
            "declared safe",
        ),
    ],
)
def test_options_that_can_not_be_are_refused(
    options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        ToolOptions(**options)


def test_other_options_make_another_tool() -> None:
    cheap = order.with_options(name="cheap_order", cost=0.1)
    assert (cheap.spec.name, cheap.spec.cost, order.spec.cost) == ("cheap_order", 0.1, 0.0)
    confined = ToolOptions(trusted=True).with_changes(trusted=False)
    assert confined.level is SecurityLevel.SAFE
    with pytest.raises(ConfigError, match="no option 'price'"):
        order.with_options(price=1)
    with pytest.raises(ConfigError, match=r"no option 'needs_aproval' .*needs_approval"):
        tool(needs_aproval=True)(order)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="a tool's name is"):
        _ = order.with_options(name="no name").spec


def test_type_checkers_see_the_options_that_there_are() -> None:
    assert get_type_hints(OptionValues) == get_type_hints(ToolOptions)
