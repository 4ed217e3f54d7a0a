"""Getting the demo's documents into their tenants, once."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from llmspell import Document, QuotaLimits, TenantConfig, errors
from llmspell.cli.demo.corpus import COMPILED, MODULES, own_documents, python_documents
from llmspell.cli.demo.questions import OWN, PYTHON

if TYPE_CHECKING:
    from llmspell import Database, Tenant
    from llmspell.cli.demo.payload import CorpusPayload
    from llmspell.tenancy import IngestReport

__all__ = ["Corpus", "corpora", "load"]

# The state of the demo's tenants, so that a second run needn't read the sources again.
MARKER = "demo.json"


@dataclass(frozen=True, slots=True)
class Corpus:
    """What one tenant of the demo holds.

    Args:
        tenant: its id.
        name: its name, by which the demo knows its own tenants.
        description: what a reader should know of it.
        selection: changes when the documents do.
        read: makes the documents.
    """

    tenant: str
    name: str
    description: str
    selection: str
    read: Callable[[], list[Document]]


def corpora(passages: int) -> tuple[Corpus, ...]:
    """The two tenants of the demo.

    Args:
        passages: documents of each tenant, at most.
    """
    python = platform.python_version()
    modules = len({*MODULES, *COMPILED})
    return (
        Corpus(
            PYTHON,
            "Python's standard library (llmspell demo)",
            f"docstrings of {modules} modules of Python {python}: a chosen part",
            f"python {python}, at most {passages}",
            lambda: python_documents(passages),
        ),
        Corpus(
            OWN,
            "llmspell's own docs (llmspell demo)",
            "llmspell's README and the docstrings of its library",
            f"llmspell {version('llmspell')}, at most {passages}",
            lambda: own_documents(passages),
        ),
    )


def load(
    database: Database, corpus: Corpus, ingest: Callable[[Tenant, list[Document]], IngestReport]
) -> tuple[Tenant, CorpusPayload]:
    """Make sure that the tenant of ``corpus`` holds its documents, all of them and no others.

    Args:
        database: where the tenant is.
        corpus: what to load.
        ingest: puts documents into a tenant; not called where all of them are there.

    Raises:
        TenantExists: there is a tenant of that id that the demo didn't make.
    """
    start = perf_counter()
    marks = _Marks(database.path / MARKER)
    room = _room(database, corpus, keep=marks.selection(corpus.tenant) == corpus.selection)
    report = None
    if marks.documents(corpus.tenant) != room.usage().documents.used:
        marks.write(corpus.tenant, corpus.selection, None)
        documents = [_tagged(document, corpus.tenant) for document in corpus.read()]
        report = ingest(room, documents)
        marks.write(corpus.tenant, corpus.selection, room.usage().documents.used)
    return room, {
        "tenant": corpus.tenant,
        "description": corpus.description,
        # Counting opens the room, so that the time includes its index.
        "passages": room.count(),
        "documents": room.usage().documents.used,
        "embedded": report.chunks if report else 0,
        "seconds": perf_counter() - start,
    }


def _room(database: Database, corpus: Corpus, *, keep: bool) -> Tenant:
    """The demo's tenant; made anew where another selection of documents is in it."""
    try:
        room = database.tenant(corpus.tenant)
    except errors.TenantNotFound:
        pass
    else:
        if room.config.name != corpus.name:
            raise errors.TenantExists(
                f"tenant {corpus.tenant!r} is there and isn't the demo's; "
                "give the demo a data directory of its own with --data"
            )
        if keep:
            return room
        room.close()
        database.drop_tenant(corpus.tenant)
    quotas = QuotaLimits(max_api_calls_per_minute=None, max_embeddings_per_day=None)
    return database.create_tenant(TenantConfig(id=corpus.tenant, name=corpus.name, quotas=quotas))


def _tagged(document: Document, tenant: str) -> Document:
    """Name the tenant in the document itself, so that a leak would show."""
    return replace(document, metadata={**document.metadata, "tenant": tenant})


class _Marks:
    """The marker file: per tenant, which selection it holds, and how many documents when whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._marks: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Nobody knows then which documents the demo's tenants hold, so they are made anew.
            self._marks = {}

    def selection(self, tenant: str) -> str | None:
        return self._marks.get(tenant, {}).get("selection")

    def documents(self, tenant: str) -> int | None:
        return self._marks.get(tenant, {}).get("documents")

    def write(self, tenant: str, selection: str, documents: int | None) -> None:
        self._marks[tenant] = {"selection": selection, "documents": documents}
        beside = self._path.with_suffix(".tmp")
        beside.write_text(json.dumps(self._marks), encoding="utf-8")
        os.replace(beside, self._path)
