"""Draw docs/images/demo.svg from a real first run of ``llmspell demo``.

    python docs/images/make_demo.py [DATA]

DATA is the data directory, by default the one that ``llmspell demo`` takes; empty, so that the run
is a first one. The picture leaves out some of the ten questions and what to type next.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from llmspell.cli.demo import view
from llmspell.cli.demo.command import run
from llmspell.cli.output import Output
from llmspell.cli.paths import default_data_directory
from llmspell.cli.render import FAINT

TARGET = Path(__file__).with_name("demo.svg")
QUESTIONS_SHOWN = (2, 3, 5, 6, 8)


def main() -> None:
    """Run the demo and write the picture."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else default_data_directory()
    found = run(Output(as_json=True), data)
    console = Console(record=True, width=80, file=io.StringIO(), highlight=False)
    console.print(view.opening(found["version"], data))
    for corpus in found["corpora"]:
        console.print(view.corpus(corpus))
    console.print(
        view.questions(
            found["open_seconds"],
            found["first_search_seconds"],
            loads_model=not found["first_run"],
        )
    )
    for number in QUESTIONS_SHOWN:
        console.print(view.answer(found["answers"][number]))
    left_out = len(found["answers"]) - len(QUESTIONS_SHOWN)
    console.print(f"  … and {left_out} more", style=FAINT)
    console.print(view.latency(found["latency"]))
    console.print(view.refusals(found["refusals"]))
    console.print(view.isolation(found["isolation"]))
    console.save_svg(str(TARGET), title="llmspell demo", theme=MONOKAI)


if __name__ == "__main__":
    main()
