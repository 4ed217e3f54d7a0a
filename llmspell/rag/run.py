"""One ingest under way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from llmspell.errors import MissingDependency, SandboxUnavailable
from llmspell.rag.memory import Hold
from llmspell.rag.seen import Seen
from llmspell.rag.sources import Skipped
from llmspell.tenancy.documents import Document, IngestProgress, Progress, SplitDocument
from llmspell.tenancy.ports import IngestTarget

__all__ = ["Loaded", "Run", "Split", "Unchanged", "Waiting"]

# Extras that files of some types need, and others don't.
_OF_TYPES: Final = ("code", "documents")
_STAGES: Final = ("load", "split", "embed", "write")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document that isn't there as it is, with its text as it is split.

    Args:
        is_known: it is there otherwise.
    """

    document: Document
    content_hash: bytes
    is_known: bool


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A document that is there as it is."""

    id: str


@dataclass(slots=True)
class Split:
    """A document that waits for its vectors."""

    document: SplitDocument
    replaces: bool
    hold: Hold | None = None

    def release(self) -> None:
        """Give back the memory that it holds."""
        if self.hold is not None:
            self.hold.release()


class Waiting:
    """Split documents that wait for their vectors, in order.

    Attributes:
        chunks: of all of them; one without any counts as one, for it takes memory too.
    """

    __slots__ = ("_splits", "chunks")

    def __init__(self) -> None:
        self._splits: list[Split] = []
        self.chunks = 0

    def add(self, split: Split) -> None:
        """One more waits."""
        self._splits.append(split)
        self.chunks += _weight(split)

    def take(self, *, keep: int = 0) -> list[Split]:
        """All but the last ``keep``, which wait on."""
        taken = self._splits[: len(self._splits) - keep]
        del self._splits[: len(taken)]
        self.chunks = sum(map(_weight, self._splits))
        return taken

    def release(self) -> None:
        """Give back the memory that they hold."""
        for split in self.take():
            split.release()


def _weight(split: Split) -> int:
    return max(len(split.document.chunks), 1)


@dataclass(slots=True)
class Run:
    """The tally of one ingest."""

    room: IngestTarget
    progress: Progress | None
    total: int | None
    is_of_one: bool = False
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    chunks: int = 0
    kept: int = 0
    done: int = 0
    skipped: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a ``with``, less that of the stages within it."""
        start, before = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            within = sum(self.seconds.values()) - before
            self.seconds[name] += time.perf_counter() - start - within

    def ends_with(self, error: MissingDependency | SandboxUnavailable) -> bool:
        """Whether what is missing is raised, in place of passing over the item."""
        is_for_all = isinstance(error, MissingDependency) and error.extra not in _OF_TYPES
        return self.is_of_one or is_for_all

    def skip(self, item: Skipped) -> None:
        self.skipped.append(str(item))
        self.finished(item.source)

    def finished(self, document_id: str) -> None:
        """One more item of the source is settled."""
        self.done += 1
        if self.progress is not None:
            state = IngestProgress(
                documents=self.done, total=self.total, chunks=self.chunks, current=document_id
            )
            self.progress(state)
