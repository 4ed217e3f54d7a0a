"""``llmspell bench``: a quick look at the index on vectors at hand; benchmarks/ goes deeper."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmspell.cli.demo.questions import PYTHON
from llmspell.cli.exits import NothingHere, WrongUsage
from llmspell.cli.options import DataOption, JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import existing, shared_quotas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmspell.cli.payload import BenchPayload

__all__ = ["bench"]

QUERIES = 200  # at most; a fifth of a tenant's vectors where that is less
LEAST = 25
SEED = 7


def bench(
    data: DataOption,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--data-set",
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Folder with base.f16.npy and queries.f16.npy (inner product).",
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Tenant whose vectors are taken, without --data-set.")
    ] = PYTHON,
    k: Annotated[int, typer.Option("-k", min=1, help="Neighbours looked for.")] = 10,
    ef_search: Annotated[int, typer.Option(min=1, help="Candidates kept while searching.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Build an index, search it, and compare with the exact answers."""
    if folder is not None:
        source, (base, queries) = folder.name, _from_folder(folder)
    else:
        source, (base, queries) = f"tenant {tenant}", _from_tenant(existing(data), tenant)
    payload = _measure(source, base, queries, k=k, ef_search=ef_search)
    out = Output(as_json=as_json)
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import bench_view

        out.show(bench_view(payload))


def _from_folder(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    names = ("base.f16.npy", "queries.f16.npy")
    for name in names:
        if not (folder / name).is_file():
            raise WrongUsage(f"{folder} has no {name}")
    base, queries = (np.load(folder / name).astype(np.float32) for name in names)
    return base, queries[:QUERIES]


def _from_tenant(data: Path, tenant: str) -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    import llmspell

    with llmspell.open(data, shared_quotas=shared_quotas()) as database:
        room = database.tenant(tenant)
        count = room.usage().vectors.used
        if count < LEAST:
            raise NothingHere(
                f"tenant {tenant!r} has {count} vectors, a benchmark takes at least {LEAST}"
            )
        # A search for as many as there are gives every id.
        everything = room.search(np.ones(room.dim or 1, dtype=np.float32), count)
        vectors = np.stack([record.vector for record in room.get([hit.id for hit in everything])])
    chosen = np.random.default_rng(SEED).permutation(count)
    held_out = min(QUERIES, count // 5)
    return vectors[chosen[held_out:]], vectors[chosen[:held_out]]


def _measure(
    source: str, base: NDArray[Any], queries: NDArray[Any], *, k: int, ef_search: int
) -> BenchPayload:
    import numpy as np

    from llmspell import Index, IndexParams, _core
    from llmspell.cli.machine import cpu_name

    count, dim = base.shape
    ids = np.arange(count)
    graph = Index(dim=dim, metric="ip", params=IndexParams(graph_threshold=0))
    start = perf_counter()
    graph.add(ids, base)
    build = perf_counter() - start
    exact = Index(dim=dim, metric="ip", params=IndexParams(graph_threshold=count + 1))
    exact.add(ids, base)
    truth, exact_times = _search_all(exact, queries, k, ef_search)
    found, times = _search_all(graph, queries, k, ef_search)
    hits = sum(len(set(a) & set(b)) for a, b in zip(truth, found, strict=True))
    p50, p99 = np.percentile(times, (50, 99)) * 1e6
    return {
        "source": source,
        "vectors": count,
        "dim": dim,
        "metric": "ip",
        "queries": len(queries),
        "k": k,
        "ef_search": ef_search,
        "simd_level": _core.simd_level(),
        "cpu": cpu_name(),
        "build_seconds": build,
        "search_p50_us": float(p50),
        "search_p99_us": float(p99),
        "exact_p50_us": float(np.median(exact_times) * 1e6),
        "recall": hits / sum(len(row) for row in truth),
    }


def _search_all(
    index: Any, queries: NDArray[Any], k: int, ef_search: int
) -> tuple[list[list[int]], list[float]]:
    index.search(queries[0], k, ef_search=ef_search)  # the first call warms the caches
    rows, times = [], []
    for query in queries:
        start = perf_counter()
        ids, _ = index.search(query, k, ef_search=ef_search)
        times.append(perf_counter() - start)
        rows.append(ids.tolist())
    return rows, times
