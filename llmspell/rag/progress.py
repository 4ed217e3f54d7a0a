"""A progress bar for ingests started from a terminal."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmspell.errors import MissingDependency
from llmspell.tenancy.documents import IngestProgress, Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(console: Console | None = None, *, transient: bool = False) -> Iterator[Progress]:
    """Draw a bar while the block runs; gives the callback that moves it.

    Args:
        console: where; standard error otherwise.
        transient: wipe it out in the end.

    Raises:
        MissingDependency: the extra ``cli`` isn't installed.
    """
    try:
        rich_console = importlib.import_module("rich.console")
        rich_progress = importlib.import_module("rich.progress")
    except ImportError as error:
        raise MissingDependency("cli", "rich") from error
    with rich_progress.Progress(
        rich_progress.TextColumn("{task.fields[current]}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[chunks]:,} chunks"),
        rich_progress.TimeRemainingColumn(),
        console=console or rich_console.Console(stderr=True),
        transient=transient,
    ) as bar:
        task = bar.add_task("", total=None, chunks=0, current="")

        def move(state: IngestProgress) -> None:
            bar.update(
                task,
                completed=state.documents,
                total=state.total,
                chunks=state.chunks,
                current=state.current[-40:],
            )

        yield move
