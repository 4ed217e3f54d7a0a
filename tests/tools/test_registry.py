"""Where tools are kept, and found."""

from __future__ import annotations

import datetime
import enum
import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import typing_extensions

from llmspell import Tenant
from llmspell.errors import ClosedError, ConfigError
from llmspell.tools import ToolPolicy, ToolRegistry, tool
from llmspell.tools.registry import ENTRY_POINTS

PACKAGE = """
from llmspell.tools import tool

@tool(trusted=True)
def forecast(place: str) -> str:
    '''Tell the weather.'''
    return f"sun in {place}"

def several():
    return [forecast.with_options(name="wind"), forecast.with_options(name="rain")]

nothing = 3
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that offers tools, as pip would have unpacked it."""
    (tmp_path / "weather_tools.py").write_text(PACKAGE)
    info = tmp_path / "weather_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather-tools\nVersion: 1.0\n")
    lines = ["one = weather_tools:forecast", "two = weather_tools:several"]
    lines += ["broken = weather_tools:nothing", "missing = weather_tools:none"]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "weather_tools", raising=False)


@tool(trusted=True)
def first() -> int:
    """Give one."""
    return 1


@pytest.mark.usefixtures("installed")
def test_tools_of_installed_packages_are_found(tenant: Tenant) -> None:
    with ToolRegistry() as registry:
        assert registry.discover(["one", "two"]) == ["forecast", "wind", "rain"]
        assert registry.bind(tenant).call("rain", {"place": "Rome"}).value == "sun in Rome"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "names, named",
    [
        (["broken"], "'broken' .* gives no tools"),
        (["missing"], "'missing' .* gives no tools: AttributeError"),
        (["none"], "no installed package offers 'none'"),
        (["one", "broken"], "'broken'"),
        (None, "'broken'"),
    ],
)
def test_a_package_whose_tools_can_not_be_had_is_named(names: list[str] | None, named: str) -> None:
    with ToolRegistry() as registry:
        with pytest.raises(ConfigError, match=named):
            registry.discover(names)
        assert len(registry) == 0


def test_a_name_is_taken_once() -> None:
    with ToolRegistry([first]) as registry:
        with pytest.raises(ConfigError, match="there is a tool 'first' already"):
            registry.add(first.with_options(name="second"), first)
        assert "second" not in registry  # all or none
        with pytest.raises(ConfigError, match="two tools are named 'third'"):
            registry.add(first.with_options(name="third"), first.with_options(name="third"))
        registry.remove("first")
        with pytest.raises(ConfigError, match="there is no tool 'first'"):
            registry.remove("first")
        registry.add(first)
        assert [one.spec.name for one in registry] == ["first"]


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    TEA = "tea"


class Order(typing_extensions.TypedDict):
    when: datetime.date


def paint(a: list[Colour | None]) -> None:
    """Do."""


def order(a: Order) -> None:
    """Do."""


def gather(a: frozenset[int] = frozenset()) -> None:
    """Do."""


def plain(a: Word, b: Literal["x"], c: tuple[int, ...], d: dict[str, bytes | None]) -> None:
    """Do."""


@pytest.mark.parametrize(
    "function, named", [(paint, "Colour"), (order, "date"), (gather, "frozenset")]
)
def test_what_no_worker_can_be_sent_is_refused_before_a_model_is_told_of_it(
    function: Any, named: str
) -> None:
    with ToolRegistry([tool(plain)]) as registry:
        with pytest.raises(ConfigError, match=f"takes a {named}"):
            registry.add(tool(function))
        registry.add(tool(function).bind(a=None), tool(name="here", trusted=True)(function))


def test_what_is_no_tool_is_refused() -> None:
    with ToolRegistry() as registry, pytest.raises(ConfigError, match="made by @tool"):
        registry.add(print)  # type: ignore[arg-type]


def test_a_registry_that_is_closed_takes_nothing_and_confines_nothing(
    tenant: Tenant, samples: object
) -> None:
    closed: list[str] = []
    registry = ToolRegistry([first])
    registry.on_close(lambda: closed.append("connection"))
    tools = registry.bind(tenant)
    registry.close()
    registry.close()
    assert closed == ["connection"]
    with pytest.raises(ClosedError):
        registry.add(first)
    with pytest.raises(ClosedError):
        registry.confined(samples.add)  # type: ignore[attr-defined]
    with pytest.raises(ClosedError):
        tools.call("first", {})


def test_wrong_arguments_of_bind_are_named(tenant: Tenant) -> None:
    with ToolRegistry() as registry:
        with pytest.raises(ConfigError, match="tenant must be a handle"):
            registry.bind("acme")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="policy must be"):
            registry.bind(tenant, policy={})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="approve must be"):
            registry.bind(tenant, policy=ToolPolicy(), approve=True)  # type: ignore[arg-type]
