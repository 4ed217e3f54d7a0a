"""``llmspell index``: bring indexes in from other libraries, and look at snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmspell.cli.exits import Interrupted, WrongUsage
from llmspell.cli.options import JsonOption, PresetOption
from llmspell.cli.output import Output

if TYPE_CHECKING:
    from llmspell.cli.payload import ImportPayload, SnapshotPayload

__all__ = ["app"]

app = typer.Typer(help="Import indexes of other libraries; look at snapshots.")

K = 10


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What to read."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="SNAPSHOT",
            dir_okay=False,
            help="Where the index goes; a file there is replaced.",
        ),
    ],
    format: Annotated[
        Literal["auto", "hnswlib", "faiss", "usearch", "npy"],
        typer.Option(help="What wrote the file."),
    ] = "auto",
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimension; needed for hnswlib alone.")
    ] = None,
    metric: Annotated[
        Literal["ip", "cosine", "l2", "l1"] | None,
        typer.Option(help="How vectors are compared; needed for hnswlib and npy."),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Ids of an npy file's vectors, .npy."
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16", "int8"] | None,
        typer.Option(help="How the index holds vectors; as the file does where it can."),
    ] = None,
    preset: PresetOption = "balanced",
    queries: Annotated[
        int, typer.Option(min=1, help="Vectors whose neighbours are compared with the exact ones.")
    ] = 100,
    as_json: JsonOption = False,
) -> None:
    """Build an index of a file of hnswlib, FAISS, USearch or NumPy, and save it as a snapshot.

    The result is compared with the exact neighbours of some of the file's own vectors.
    """
    from llmspell import IndexParams
    from llmspell.index import migrate

    _require_place(output, [file] if ids is None else [file, ids])
    out = Output(as_json=as_json)
    source = migrate.read(file, format=format, dim=dim, metric=metric, ids=ids)
    held = source.description
    start = perf_counter()
    with _shown_progress(out, held.count) as progress:
        index = source.rebuild(
            dtype=dtype, params=getattr(IndexParams, preset)(), progress=progress
        )
        seconds = perf_counter() - start
        recall = source.recall(index, k=K, queries=queries)
        index.save(output)
    payload: ImportPayload = {
        "file": str(file),
        "format": held.format,
        "kind": held.kind,
        "file_dtype": held.dtype,
        "deleted": held.deleted,
        "vectors": len(index),
        "dim": index.dim,
        "metric": index.metric,
        "dtype": index.dtype,
        "build_seconds": seconds,
        "k": K,
        "queries": min(queries, held.count),
        "recall": recall,
        "snapshot": str(output),
        "bytes": output.stat().st_size,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import import_view

        out.show(import_view(payload))


@app.command("info")
def info(
    snapshot: Annotated[
        Path,
        typer.Argument(
            metavar="SNAPSHOT", exists=True, dir_okay=False, help="What Index.save wrote."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a snapshot whole, and say what is in it."""
    from dataclasses import asdict

    from llmspell import Index

    index = Index.load(snapshot)
    index.verify()
    stats = index.stats()
    payload: SnapshotPayload = {
        "snapshot": str(snapshot),
        "bytes": snapshot.stat().st_size,
        "vectors": len(index),
        "dim": index.dim,
        "metric": index.metric,
        "dtype": index.dtype,
        "tag": index.tag,
        "params": asdict(index.params),
        "stats": {
            "live": stats.live,
            "slots": stats.slots,
            "capacity": stats.capacity,
            "graph_nodes": stats.graph_nodes,
            "edges": stats.edges,
            "max_level": stats.max_level,
            **{f"{part}_bytes": count for part, count in asdict(stats.memory).items()},
        },
    }
    out = Output(as_json=as_json)
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import snapshot_view

        out.show(snapshot_view(payload))


def _require_place(output: Path, inputs: list[Path]) -> None:
    """Refuse what could only fail after the build, or would replace what is read."""
    if not output.parent.is_dir():
        raise WrongUsage(f"--output {output}: there is no directory {output.parent}")
    for path in inputs:
        if output.exists() and output.samefile(path):
            raise WrongUsage(f"--output {output} is a file that is read")


@contextmanager
def _shown_progress(out: Output, count: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while an index is built; gives the callback that moves it.

    Raises:
        Interrupted: Ctrl-C.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=out.progress_console, transient=True) as bar:
            task = bar.add_task("", total=count)
            yield lambda done: bar.update(task, completed=done)
    except KeyboardInterrupt:
        raise Interrupted("stopped; no snapshot was written") from None
