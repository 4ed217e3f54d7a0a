"""Texts in the full-text engine, each under the row of its record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.storage.batches import in_batches
from llmspell.storage.lexical.analyzer import ANALYZER_VERSION, Analyzer, engine
from llmspell.storage.lexical.engine_errors import engine_errors
from llmspell.storage.lexical.text_searcher import LENGTH, ROW, TEXT, Scored, TextSearcher

__all__ = ["TextIndex", "about_engine"]

#: Bytes that the engine gathers texts in before it writes a segment; the least that it takes.
WRITER_BYTES: Final = 15_000_000

#: Fewer removed texts are left to the engine, which merges small segments by itself.
WORN_FROM: Final = 256

#: Share by which the mean length of a text, and so no score by more, may be off for removed texts.
MOST_DRIFT: Final = 0.1

#: What the engine calls its files, but for its locks.
ENGINE_FILE: Final = re.compile(r"(meta|\.managed)\.json|[0-9a-f]{32}(\.\d{1,20})?\.[a-z]{1,16}")


def about_engine() -> dict[str, Any]:
    """What makes the files of an index: those of another make are built anew."""
    return {"engine": "tantivy", "version": engine().__version__, "analyzer": ANALYZER_VERSION}


class TextIndex:
    """An index of the engine in a directory. Searches are thread-safe; one thread changes it.

    It holds neither a thread nor a descriptor, and little memory: its files are mapped.
    """

    __slots__ = ("_index", "_schema", "_searcher", "_tantivy", "analyzer", "path")

    def __init__(self, path: Path) -> None:
        """Open what lies in the directory, or make an empty one.

        Raises:
            MissingDependency: the extra ``lexical`` isn't installed.
            StorageError: it can't be opened.
        """
        tantivy = self._tantivy = engine()
        self.analyzer = Analyzer()
        self.path = path
        builder = tantivy.SchemaBuilder()
        builder.add_text_field(TEXT, tokenizer_name="words", index_option="freq")
        builder.add_unsigned_field(ROW, indexed=True, fast=True)
        builder.add_unsigned_field(LENGTH, fast=True)
        self._schema: Any = builder.build()
        with engine_errors(path, "opening"):
            self._index: Any = tantivy.Index(self._schema, path=str(path))
            self._index.register_tokenizer("words", self.analyzer.native)
            # Else a thread looks at the directory twice a second.
            self._index.config_reader("manual")
            self._see()

    @property
    def documents(self) -> int:
        """Texts held."""
        return self._searcher.documents

    def is_worn(self, text_of: Callable[[int], str | None]) -> bool:
        """Whether texts that were removed outnumber those that live, or move their scores.

        They take space and time, and count in the mean length of a text, which BM25 divides by.

        Args:
            text_of: gives the text of a row; None where it is gone since the last change.
        """
        searcher = self._searcher
        if searcher.removed > max(searcher.documents, WORN_FROM):
            return True

        def terms_of(row: int) -> Sequence[str]:
            text = text_of(row)
            return () if text is None else self.analyzer.terms(text)

        return searcher.drift(terms_of) > MOST_DRIFT

    def apply(
        self, added: Iterable[tuple[int, str]], removed: Iterable[int], *, anew: bool = False
    ) -> None:
        """Add texts by row, and remove rows; searches see all of it at once, at the end.

        Args:
            anew: empty the index first.

        Raises:
            StorageError: nothing is seen of it, and the index is of no use any more.
        """
        tantivy = self._tantivy
        with engine_errors(self.path, "writing"):
            writer = self._index.writer(WRITER_BYTES, 1)
            try:
                if anew:
                    writer.delete_all_documents()
                for row, text in added:
                    document = tantivy.Document()
                    document.add_text(TEXT, text)
                    document.add_unsigned(ROW, row)
                    document.add_unsigned(LENGTH, self.analyzer.count(text))
                    writer.add_document(document)
                for rows in in_batches(removed):
                    # By a query: a term is looked up as a signed number, and never found (0.27).
                    gone = tantivy.Query.term_set_query(self._schema, ROW, rows)
                    writer.delete_documents_by_query(gone)
                writer.commit()
            finally:
                # Its threads and its memory go with it.
                writer.wait_merging_threads()
            self._index.reload()
            self._see()

    def search(
        self,
        terms: Sequence[str],
        limit: int,
        *,
        allowed: NDArray[np.int64] | None = None,
        refused: NDArray[np.int64] | None = None,
    ) -> Scored:
        """As :meth:`TextSearcher.search`."""
        return self._searcher.search(terms, limit, allowed=allowed, refused=refused)

    def most(self, terms: Sequence[str]) -> float:
        """As :meth:`TextSearcher.most`."""
        return self._searcher.most(terms)

    def _see(self) -> None:
        """Let searches see what was committed."""
        self._searcher = TextSearcher(self.path, self._schema, self._index.searcher())

    def files(self) -> list[Path]:
        """All that the index consists of, while nobody changes it."""
        with engine_errors(self.path, "writing"):
            # What merges have replaced goes first.
            writer = self._index.writer(WRITER_BYTES, 1)
            try:
                writer.garbage_collect_files()
            finally:
                writer.wait_merging_threads()
        return sorted(path for path in self.path.iterdir() if ENGINE_FILE.fullmatch(path.name))
