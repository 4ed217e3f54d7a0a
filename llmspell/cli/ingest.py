"""``llmspell ingest``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.exits import Interrupted
from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payloads import IngestPayload
    from llmspell.tenancy import Progress

__all__ = ["ingest", "shown_progress"]


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
    as_json: JsonOption = False,
) -> None:
    """Put files and folders into a tenant.

    Documents are written in batches. What is there already, unchanged, is passed over, so running
    it again after an interruption goes on where it was.
    """
    import llmspell
    from llmspell.cli.payloads import ingest_payload

    out = Output(as_json=as_json)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
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
