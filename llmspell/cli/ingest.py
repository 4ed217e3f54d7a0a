"""``llmspell ingest``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from llmspell.cli.exits import Interrupted
from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payload import IngestPayload
    from llmspell.tenancy import Progress

__all__ = ["ChunkingName", "ingest", "shown_progress"]


# That of llmspell.rag, which takes long to import.
ChunkingName: TypeAlias = Literal["auto", "tokens", "recursive", "markdown", "code", "semantic"]
"""How documents are split: see :class:`llmspell.Chunking`."""


def ingest(
    tenant: TenantArgument,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", exists=True, help="Files and folders."),
    ],
    data: DataOption,
    change_model: Annotated[
        bool,
        typer.Option("--change-model", help="Replace what another model embedded, by and by."),
    ] = False,
    chunking: Annotated[
        ChunkingName, typer.Option("--chunking", help="Where documents are split.")
    ] = "auto",
    chunk_size: Annotated[int, typer.Option(help="Tokens of a chunk at most.")] = 512,
    chunk_overlap: Annotated[
        int, typer.Option(help="Tokens at most that a chunk repeats of the one before.")
    ] = 64,
    as_json: JsonOption = False,
) -> None:
    """Put files and folders into a tenant.

    Documents are written in batches. What is there already, unchanged, is passed over, so running
    it again after an interruption goes on where it was. Documents that were split otherwise are
    split anew.
    """
    import llmspell
    from llmspell.cli.payload import ingest_payload
    from llmspell.rag import Pipeline

    out = Output(as_json=as_json)
    wanted = llmspell.Chunking(method=chunking, size=chunk_size, overlap=chunk_overlap)
    with llmspell.open(
        existing(data),
        texts=Pipeline(chunking=wanted),
        shared_quotas=shared_quotas(),
        audit=audit_log(),
    ) as database:
        room = database.tenant(tenant)
        with shown_progress(out) as progress:
            report = room.ingest(sources, progress=progress, change_model=change_model)
    payload: IngestPayload = ingest_payload(tenant, report)
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import ingest_view

        out.show(ingest_view(payload))


@contextmanager
def shown_progress(out: Output) -> Iterator[Progress]:
    """A bar on stderr while an ingest runs; gives the callback that moves it.

    Raises:
        Interrupted: Ctrl-C; the message says how to go on.
    """
    from llmspell.rag import progress_bar

    try:
        with progress_bar(out.progress_console, transient=True) as progress:
            yield progress
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; what is written stays, and the same command goes on from there"
        ) from None
