"""Table of ``frameworks``: what each of them takes for the same."""

from __future__ import annotations

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
    """Import, agent, tool and retrieval, ours beside the best and the worst of the others."""
    rows = [("import of agents, tools and retrieval", _beside(result["import_ms"], 1_000))]
    for case, what in (("agent", "an agent is made"), ("tool", "a tool is called")):
        spent = {name: of[case] for name, of in result["us"].items() if case in of}
        rows.append((what, _beside(spent, 1)))
    return rows


def _beside(spent: dict[str, dict[str, float]], unit: float) -> str:
    return "; ".join(f"{_NAMES[name]} {_time(unit * one['median'])}" for name, one in spent.items())


def _beyond(found: dict[str, Any]) -> list[str]:
    """What a retrieval takes more than the search in it, which is the same for all of them."""
    (alone,) = (of["engine"]["median"] for of in found.values() if "engine" in of)
    spent = [of.get("retrieval") for of in found.values()]
    return ["" if one is None else _time(one["median"] - alone) for one in spent]


def _ms(one: dict[str, float]) -> str:
    return _time(1_000 * one["median"])


def _time(us: float) -> str:
    return f"{us:,.1f} µs" if us < 1_000 else f"{us / 1_000:,.1f} ms"
