"""Texts in the full-text engine, each under the row of its record."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import LlmspellError, StorageError, StorageFull
from llmspell.storage.batches import in_batches
from llmspell.storage.lexical.analyzer import ANALYZER_VERSION, Analyzer, engine

__all__ = ["NOTHING", "Scored", "TextIndex", "about_engine"]

#: Bytes that the engine gathers texts in before it writes a segment; the least that it takes.
WRITER_BYTES: Final = 15_000_000

#: Rows that a filter keeps are given to the engine where they are few beside what would be read
#: over; measured, a row costs 4 us as a term of the query and 2.4 us as a hit that is passed over.
FETCHED_BEYOND: Final = 4

#: What the engine calls its files, but for its locks.
ENGINE_FILE: Final = re.compile(r"(meta|\.managed)\.json|[0-9a-f]{32}(\.\d{1,20})?\.[a-z]{1,16}")

#: Of BM25, as the engine has it.
K1: Final = 1.2

#: What it knows its segments by.
_META: Final = "meta.json"

_TEXT: Final = "text"
_ROW: Final = "row"


class Scored(NamedTuple):
    """What a search of words found, best first; of equal scores the older row.

    Args:
        rows: (n,) int64.
        scores: (n,) float64, BM25: above 0, without an upper end.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


NOTHING: Final = Scored(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))


def about_engine() -> dict[str, Any]:
    """What makes the files of an index: those of another make are built anew."""
    return {"engine": "tantivy", "version": engine().__version__, "analyzer": ANALYZER_VERSION}


class TextIndex:
    """An index of the engine in a directory. Searches are thread-safe; one thread changes it.

    It holds neither a thread nor a descriptor, and little memory: its files are mapped.
    """

    __slots__ = ("_counted", "_index", "_schema", "_searcher", "_tantivy", "analyzer", "path")

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
        builder.add_text_field(_TEXT, tokenizer_name="words", index_option="freq")
        builder.add_unsigned_field(_ROW, indexed=True, fast=True)
        self._schema: Any = builder.build()
        with _engine_errors(path, "opening"):
            self._index: Any = tantivy.Index(self._schema, path=str(path))
            self._index.register_tokenizer("words", self.analyzer.native)
            # Else a thread looks at the directory twice a second.
            self._index.config_reader("manual")
            self._see()

    @property
    def documents(self) -> int:
        """Texts held."""
        count: int = self._searcher.num_docs
        return count

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
        with _engine_errors(self.path, "writing"):
            writer = self._index.writer(WRITER_BYTES, 1)
            try:
                if anew:
                    writer.delete_all_documents()
                for row, text in added:
                    document = tantivy.Document()
                    document.add_text(_TEXT, text)
                    document.add_unsigned(_ROW, row)
                    writer.add_document(document)
                for rows in in_batches(removed):
                    # By a query: a term is looked up as a signed number, and never found (0.27).
                    gone = tantivy.Query.term_set_query(self._schema, _ROW, rows)
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
        """Texts that have any of some terms, ranked by BM25 (k1 = 1.2, b = 0.75).

        Args:
            terms: of :class:`Analyzer`; repeated ones count as often.
            limit: so many at most, and fewer only where fewer match.
            allowed: ascending rows; give those alone.
            refused: ascending rows; leave these out.
        """
        searcher = self._searcher
        count = searcher.num_docs
        if not terms or not count or (allowed is not None and not len(allowed)):
            return NOTHING
        tantivy = self._tantivy
        query = tantivy.Query.boolean_query(
            [
                (tantivy.Occur.Should, self._of_term(term, times))
                for term, times in Counter(terms).items()
            ]
        )
        share = 1.0
        if allowed is not None:
            if len(allowed) ** 2 <= limit * count:
                rows = tantivy.Query.term_set_query(self._schema, _ROW, allowed.tolist())
                query = tantivy.Query.boolean_query(
                    [
                        (tantivy.Occur.Must, query),
                        (tantivy.Occur.Must, tantivy.Query.const_score_query(rows, 0.0)),
                    ]
                )
                allowed = None
            else:
                share = min(1.0, len(allowed) / count)
        asked = limit
        if allowed is not None or refused is not None:
            asked = math.ceil(2 * limit / share) + (0 if refused is None else len(refused))
        while True:
            asked = min(asked, count)
            with _engine_errors(self.path, "searching"):
                hits = searcher.search(query, asked, count=False).hits
                rows = searcher.fast_field_values(_ROW, [address for _, address in hits])
            found = np.array(rows, dtype=np.int64)
            scores = np.array([score for score, _ in hits], dtype=np.float64)
            kept = _among(found, allowed, refused)
            if kept.sum() >= limit or len(hits) < asked or asked == count:
                found, scores = found[kept], scores[kept]
                order = np.lexsort((found, -scores))[:limit]
                return Scored(found[order], scores[order])
            asked *= FETCHED_BEYOND

    def most(self, terms: Sequence[str]) -> float:
        """What no text can score more than: each term as often as it counts, in a short text."""
        searcher = self._searcher
        count, total = self._counted, 0.0
        for term, times in Counter(terms).items():
            with _engine_errors(self.path, "searching"):
                holders = min(searcher.doc_freq(_TEXT, term), count)
            total += times * math.log1p((count - holders + 0.5) / (holders + 0.5)) * (K1 + 1)
        return total

    def _see(self) -> None:
        """Let searches see what was committed."""
        self._searcher: Any = self._index.searcher()
        # BM25 counts texts that were removed until their segment is merged, in all of its numbers.
        segments = json.loads((self.path / _META).read_text())["segments"]
        self._counted: int = sum([segment["max_doc"] for segment in segments])

    def _of_term(self, term: str, times: int) -> Any:
        """A term that counts so often: one look at its texts, however often a query says it."""
        query = self._tantivy.Query
        one = query.term_query(self._schema, _TEXT, term, index_option="freq")
        return one if times == 1 else query.boost_query(one, float(times))

    def files(self) -> list[Path]:
        """All that the index consists of, while nobody changes it."""
        with _engine_errors(self.path, "writing"):
            # What merges have replaced goes first.
            writer = self._index.writer(WRITER_BYTES, 1)
            try:
                writer.garbage_collect_files()
            finally:
                writer.wait_merging_threads()
        return sorted(path for path in self.path.iterdir() if ENGINE_FILE.fullmatch(path.name))


def _among(
    rows: NDArray[np.int64], allowed: NDArray[np.int64] | None, refused: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    kept = np.ones(len(rows), dtype=np.bool_)
    if allowed is not None:
        kept &= np.isin(rows, allowed)
    if refused is not None and len(refused):
        kept &= ~np.isin(rows, refused)
    return kept


@contextmanager
def _engine_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise named errors for those of the engine, which have no base of their own."""
    try:
        yield
    except LlmspellError:
        raise
    except Exception as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise StorageFull(f"{path}: the disk is full while {doing}") from error
        raise StorageError(f"{path}: {error} while {doing}") from error
