"""Table of ``frameworks``: what each of them takes for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from benchmarks.tables.markdown import markdown
from benchmarks.toolkits.base import CASES

__all__ = ["frameworks_summary", "frameworks_table"]

_NAMES: Final = {
    "llmspell": "llmspell",
    "langchain": "LangChain",
    "llamaindex": "LlamaIndex",
    "pydantic_ai": "Pydantic AI",
}
_SHORT: Final = {
    "agent": "an agent is made",
    "tool, made": "a tool is made and called",
    "tool": "a tool is called",
    "tool, confined": "a tool is called where the kernel confines it",
    "cache": "a query is embedded from a cache",
}


def frameworks_table(result: dict[str, Any]) -> list[str]:
    """A row for each case, a column for each framework."""
    found: dict[str, Any] = result["us"]
    rows = [
        ("import, in a fresh process", *map(_ms, result["import_ms"].values())),
        (
            "import, an agent is made, and it has answered, in a fresh process",
            *map(_ms, result["first_ms"].values()),
        ),
    ]
    for case, what in CASES.items():
        spent = [of.get(case) for of in found.values()]
        if any(spent):
            rows.append((what, *("" if one is None else _time(one["median"]) for one in spent)))
        if case == "engine" and any(spent):
            rows.append(("retrieval, beyond that index alone", *_beyond(found)))
    versions = ", ".join(
        f"{name} {version}" for of in result["versions"].values() for name, version in of.items()
    )
    head = ("what", *(_NAMES[name] for name in found))
    notes = [
        "",
        "Medians over the rounds. Models answer by a script and embeddings are looked up. An empty"
        " cell: the framework has no such thing.",
        "",
        f"Versions: {versions}.",
    ]
    return [*markdown(head, rows), *notes]


def frameworks_summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Import, agent, tool, cache and retrieval, each beside those of the others."""
    found: dict[str, Any] = result["us"]
    rows = [("import of agents, tools and retrieval", _beside(_ms, result["import_ms"]))]
    for case, what in _SHORT.items():
        spent = {name: of[case] for name, of in found.items() if case in of}
        if spent:
            rows.append((what, _beside(lambda one: _time(one["median"]), spent)))
    beyond = [(name, one) for name, one in zip(found, _beyond(found), strict=True) if one]
    if beyond:
        rows.append(("a retrieval, beyond its index", _joined(beyond)))
    return rows


def _beside(told: Callable[[dict[str, float]], str], spent: dict[str, dict[str, float]]) -> str:
    return _joined((name, told(one)) for name, one in spent.items())


def _joined(told: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{_NAMES[name]} {time}" for name, time in told)


def _beyond(found: dict[str, Any]) -> list[str]:
    """What a retrieval takes more than the search in it, which is the same for all of them."""
    alone = next((of["engine"]["median"] for of in found.values() if "engine" in of), None)
    spent = [of.get("retrieval") for of in found.values()]
    return ["" if None in (one, alone) else _time(one["median"] - alone) for one in spent]


def _ms(one: dict[str, float]) -> str:
    return _time(1_000 * one["median"])


def _time(us: float) -> str:
    return f"{us:,.1f} µs" if us < 1_000 else f"{us / 1_000:,.1f} ms"
