"""The command ``llmspell demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.options import DataOption, JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import shared_quotas

if TYPE_CHECKING:
    from pathlib import Path

    from llmspell.cli.demo.payload import DemoPayload
    from llmspell.tenancy import IngestReport

__all__ = ["demo", "run"]

# The modules of Python 3.11 have 3,811; other versions don't take much longer.
PASSAGES = 4_000


def demo(
    data: DataOption,
    passages: Annotated[
        int,
        typer.Option(
            min=1, help="Documents of each tenant, at most; fewer make the first run quicker."
        ),
    ] = PASSAGES,
    as_json: JsonOption = False,
) -> None:
    """Show the main job, end to end: no key, no network.

    It works on text that every machine with Python has.
    The first run embeds a part of the standard library's documentation in about a minute; later
    runs start from disk.
    """
    out = Output(as_json=as_json)
    out.result(run(out, data, passages))


def run(out: Output, data: Path, passages: int = PASSAGES) -> DemoPayload:
    """Run the demo, showing each step on ``out`` as it is done."""
    from importlib.metadata import version
    from time import perf_counter

    import llmspell
    from llmspell.cli.demo import loading, steps, view
    from llmspell.cli.demo.questions import PYTHON, QUESTIONS
    from llmspell.cli.ingest import shown_progress

    def ingest(room: llmspell.Tenant, documents: list[llmspell.Document]) -> IngestReport:
        with shown_progress(out) as progress:
            return room.ingest(documents, progress=progress)

    out.show(view.opening(version("llmspell"), data))
    start = perf_counter()
    with llmspell.open(data, shared_quotas=shared_quotas()) as database:
        open_seconds = perf_counter() - start
        corpora = []
        rooms = {}
        for corpus in loading.corpora(passages):
            rooms[corpus.tenant], loaded = loading.load(database, corpus, ingest)
            corpora.append(loaded)
            out.show(view.corpus(loaded))
        first_run = any(corpus["embedded"] for corpus in corpora)
        search_seconds = steps.first_search(rooms[PYTHON])
        out.show(view.questions(open_seconds, search_seconds, loads_model=not first_run))
        answers = []
        for question in QUESTIONS:
            room = rooms[question.tenant]
            answers.append(steps.answer(question, room, database.instruments.stages))
            out.show(view.answer(answers[-1]))
        latency = steps.latencies(answers)
        out.show(view.latency(latency))
        refused = steps.refusals(database)
        out.show(view.refusals(refused))
        isolation = steps.check_isolation(rooms, answers)
        out.show(view.isolation(isolation))
    commands = steps.next_commands(data)
    out.show(view.next_commands(commands))
    return {
        "version": version("llmspell"),
        "data": str(data),
        "first_run": first_run,
        "open_seconds": open_seconds,
        "first_search_seconds": search_seconds,
        "corpora": corpora,
        "answers": answers,
        "latency": latency,
        "refusals": refused,
        "isolation": isolation,
        "next": commands,
    }
