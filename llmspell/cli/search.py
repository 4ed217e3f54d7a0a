"""``llmspell search``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from llmspell.cli.exits import WrongUsage
from llmspell.cli.options import DataOption, JsonOption, TenantArgument
from llmspell.cli.output import Output
from llmspell.cli.paths import audit_log, existing, shared_quotas

if TYPE_CHECKING:
    from llmspell.cli.payload import HitPayload, SearchPayload

__all__ = ["SearchMode", "search"]


SearchMode: TypeAlias = Literal["dense", "lexical", "hybrid"]
"""What is asked: see :meth:`llmspell.Tenant.retrieve`."""


def search(
    tenant: TenantArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in words.")],
    data: DataOption,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="JSON", help='Metadata that hits must have: \'{"lang": "en"}\'.'
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score of a hit; higher is better.")
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(min=1, help="Candidates kept in the graph search.")
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            max=1, help="Share of the true nearest that is wanted, in place of --ef-search."
        ),
    ] = None,
    mode: Annotated[
        SearchMode,
        typer.Option(help="By meaning, by words (BM25), or by both."),
    ] = "dense",
    as_json: JsonOption = False,
) -> None:
    """Search a tenant's texts by meaning, by words, or by both."""
    from time import perf_counter

    import llmspell
    from llmspell.cli.payload import hit_payload, retrieved_payload

    out = Output(as_json=as_json)
    wanted = _parse_filter(where)
    with llmspell.open(
        existing(data), shared_quotas=shared_quotas(), audit=audit_log()
    ) as database:
        room = database.tenant(tenant)
        start = perf_counter()
        asked: dict[str, Any] = {
            **{"filter": wanted, "threshold": threshold},
            **{"ef_search": ef_search, "recall": recall},
        }
        found: list[HitPayload]
        if mode == "dense":
            found = [hit_payload(hit) for hit in room.search(query, k, **asked)]
        else:
            hits = room.retrieve(query, k, mode=mode, **asked)
            found = [retrieved_payload(hit) for hit in hits]
        seconds = perf_counter() - start
    payload: SearchPayload = {
        "tenant": tenant,
        "query": query,
        "k": k,
        "seconds": seconds,
        "mode": mode,
        "hits": found,
    }
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import hits_view

        out.show(hits_view(payload["hits"]))


def _parse_filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except ValueError as error:
        such_as = '{"lang": "en"}'
        raise WrongUsage(
            f"--filter must be JSON such as {such_as!r}, got {text!r}: {error}"
        ) from None
    if not isinstance(parsed, dict):
        raise WrongUsage(f"--filter must be a JSON object, got {text!r}")
    return parsed
