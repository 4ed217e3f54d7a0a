"""From chunks that were found to the passages of their documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from llmspell.errors import ConfigError
from llmspell.storage import StoredRecord, parse_filter
from llmspell.storage.filters import AllOf, Filter
from llmspell.storage.retriever import Retriever
from llmspell.tenancy.retrieved import Retrieved

__all__ = ["ParentDocument", "with_parents"]

MAX_CHARS: Final = 20_000
MOST_CHARS: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentDocument:
    """Gives in place of a chunk a passage of its document, once for all chunks that lie in it.

    It grows from the chunk by its neighbours on both sides, as long as their characters fit and the
    filter of the search keeps them; what was found lower down and lies in it is no hit of its own.
    Records that are no chunks stay.

    Args:
        around: chunks to add on each side at most; None means the whole document.
        max_chars: of the passage; a chunk that is longer comes as a whole.

    Raises:
        ConfigError: out of range.
    """

    around: int | None = None
    max_chars: int = MAX_CHARS

    def __post_init__(self) -> None:
        for name, least, most in (("around", 0, 1 << 30), ("max_chars", 1, MOST_CHARS)):
            value: object = getattr(self, name)
            if value is None and name == "around":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"{name} must be an int from {least} to {most:,}, got {value!r}")


def with_parents(
    retriever: Retriever,
    settings: ParentDocument,
    hits: Iterable[Retrieved],
    condition: Filter | None,
) -> Iterator[Retrieved]:
    """Hits with their passages, in the order of the hits, each chunk once.

    Args:
        condition: of the search, which chunks around a hit must meet too.
    """
    documents: dict[str, list[StoredRecord]] = {}
    given: set[object] = set()
    for hit in hits:
        if hit.document is None:
            yield hit
            continue
        if hit.id in given:
            continue
        if hit.document not in documents:
            documents[hit.document] = _chunks(retriever, hit.document)
            if condition is not None:
                kept = {one.id for one in _chunks(retriever, hit.document, condition)}
                given.update(one.id for one in documents[hit.document] if one.id not in kept)
        chunks = documents[hit.document]
        places = [place for place, chunk in enumerate(chunks) if chunk.id == hit.id]
        if not places:
            # It was written anew since it was found, and stands for itself.
            yield hit
            continue
        passage = _grown(chunks, places[0], settings, given)
        given.update(chunk.id for chunk in passage)
        yield _joined(hit, passage)


def _chunks(
    retriever: Retriever, document: str, condition: Filter | None = None
) -> list[StoredRecord]:
    of_it = parse_filter({"document": document})
    found = retriever.matching(of_it if condition is None else AllOf((of_it, condition)))
    chunks = [record for record in found if record.is_chunk and record.text is not None]
    return sorted(chunks, key=lambda record: (record.metadata["start"], record.metadata["end"]))


def _grown(
    chunks: Sequence[StoredRecord], place: int, settings: ParentDocument, given: Set[object]
) -> Sequence[StoredRecord]:
    """Chunks around one, up to those that were given already, or aren't to be."""
    first, last = place, place + 1
    room = settings.max_chars - _chars(chunks[place])
    steps = len(chunks) if settings.around is None else settings.around
    for _ in range(min(steps, len(chunks))):
        was = first, last
        for following in (True, False):
            neighbour = last if following else first - 1
            if not 0 <= neighbour < len(chunks) or chunks[neighbour].id in given:
                continue
            if _chars(chunks[neighbour]) <= room:
                room -= _chars(chunks[neighbour])
                first, last = min(first, neighbour), max(last, neighbour + 1)
        if was == (first, last):
            break
    return chunks[first:last]


def _chars(chunk: StoredRecord) -> int:
    return len(chunk.text or "")


def _joined(hit: Retrieved, passage: Sequence[StoredRecord]) -> Retrieved:
    """The hit with the passage in place of its chunk; what two chunks share comes once."""
    start = end = passage[0].metadata["start"]
    parts: list[str] = []
    for chunk in passage:
        text, metadata = chunk.text or "", chunk.metadata
        if metadata["end"] <= end:
            continue
        shared = end - metadata["start"]
        if parts and (shared < 0 or len(text) != metadata["end"] - metadata["start"]):
            # White space, which no chunk has; or a text that isn't as the document has it.
            parts.append("\n")
            shared = 0
        parts.append(text[shared:])
        end = metadata["end"]
    ids = tuple(chunk.id for chunk in passage)
    return replace(hit, text="".join(parts), start=start, end=end, chunks=ids)
