"""How the demo looks on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llmspell.cli.paths import shown
from llmspell.cli.render import ACCENT, FAINT, duration, plain_table, snippet

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmspell.cli.demo.payload import (
        AnswerPayload,
        CorpusPayload,
        IsolationPayload,
        LatencyPayload,
        RefusalPayload,
    )

__all__ = [
    "answer",
    "corpus",
    "isolation",
    "latency",
    "next_commands",
    "opening",
    "questions",
    "refusals",
]


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def opening(version: str, data: Path) -> RenderableType:
    """Title, and where the data lies."""
    return Group(
        Text.assemble((f"llmspell {version}", f"bold {ACCENT}"), "  the main job, end to end"),
        Text(f"Data directory: {shown(data)}", style=FAINT, overflow="fold"),
        _heading("1. Documents, one room per tenant"),
    )


def corpus(payload: CorpusPayload) -> RenderableType:
    """One tenant's documents, and whether they were embedded now or came from disk."""
    seconds = payload["seconds"]
    if payload["embedded"]:
        rate = payload["embedded"] / seconds
        how = f"Embedded and stored in {duration(seconds)}, {rate:.0f} passages a second."
    else:
        how = f"From disk in {duration(seconds)}; nothing was embedded again."
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=8, style=ACCENT, overflow="fold")
    row.add_column()
    row.add_row(
        Text(payload["tenant"]),
        Text(f"{payload['documents']:,} documents, {payload['passages']:,} passages"),
    )
    row.add_row("", Text(payload["description"], style=FAINT))
    row.add_row("", Text(how))
    return _indented(row)


def questions(open_seconds: float, search_seconds: float, *, loads_model: bool) -> RenderableType:
    """Heading of the answers."""
    included = ", loading the model included" if loads_model else ""
    return Group(
        _indented(
            Text(
                f"Database open in {duration(open_seconds)}; "
                f"first search {duration(search_seconds)}{included}.",
                style=FAINT,
            )
        ),
        _heading("2. Ten questions"),
    )


def answer(payload: AnswerPayload) -> RenderableType:
    """One question with its best hits: score, name, one line of text."""
    hits = Table.grid(padding=(0, 2, 0, 0), expand=True)
    hits.add_column(justify="right", width=7, style=FAINT)
    hits.add_column(width=30, overflow="ellipsis", no_wrap=True, style=ACCENT)
    hits.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    for hit in payload["hits"]:
        name = str(hit["metadata"]["document"])
        hits.add_row(f"{hit['score']:.3f}", Text(name), Text(snippet(hit["text"])))
    asked = Table.grid(expand=True, padding=(0, 2, 0, 0))
    asked.add_column(ratio=1)
    asked.add_column(justify="right", no_wrap=True, style=FAINT)
    stages = payload["seconds"]
    total = stages["embed"] + stages["search"] + stages["fetch"]
    asked.add_row(
        Text(payload["question"], style="bold"), f"{payload['tenant']}, {duration(total)}"
    )
    return _indented(asked, hits)


def latency(rows: Sequence[LatencyPayload]) -> RenderableType:
    """Latency of every stage."""
    table = plain_table(
        "stage", ("median", {"justify": "right"}), ("slowest", {"justify": "right"}), "what it is"
    )
    meaning = {
        "embed": "question to vector, MiniLM int8 on the CPU",
        "search": "vector to ids, in the index",
        "fetch": "ids to texts and metadata, in LMDB",
    }
    for row in rows:
        stage = row["stage"]
        table.add_row(stage, duration(row["median"]), duration(row["slowest"]), meaning[stage])
    return Group(_heading("3. Where the time went"), _indented(table))


def refusals(rows: Sequence[RefusalPayload]) -> RenderableType:
    """Each refusal with all that its error carries."""
    table = plain_table("quota", "limit", "used", "requested", "retry_after")
    for row in rows:
        wait = row["retry_after"]
        table.add_row(
            Text(row["quota"], style="red"),
            str(row["limit"]),
            str(row["used"]),
            str(row["requested"]),
            "None" if wait is None else duration(wait),
        )
    tried = [Text(f"{row['attempt']}: QuotaExceeded") for row in rows]
    return Group(_heading("4. Quotas refuse before anything is done"), _indented(*tried, table))


def isolation(payload: IsolationPayload) -> RenderableType:
    """What one tenant saw of the other."""
    return Group(
        _heading("5. One tenant can't see another"),
        _indented(
            Text(
                f"{payload['searches']} searches, each question in both rooms: "
                f"{payload['foreign_hits']} of {payload['hits']} hits are the other tenant's"
            ),
            Text(
                f"{payload['lookups']} look-ups of the other's ids: "
                f"{payload['foreign_found']} found, {payload['lookups'] - payload['foreign_found']}"
                " IdNotFound"
            ),
        ),
    )


def next_commands(commands: Sequence[str]) -> RenderableType:
    """What to type next."""
    lines = [Text(command, style=ACCENT, overflow="fold") for command in commands]
    return Group(_heading("What to type next"), _indented(*lines))


def _indented(*parts: RenderableType) -> Padding:
    return Padding(Group(*parts), (0, 0, 0, 2), expand=False)
