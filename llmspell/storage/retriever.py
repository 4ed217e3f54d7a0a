"""Candidates of a search by meaning, by words or by both, with their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import CorruptFile
from llmspell.observability import Stages, now_ns
from llmspell.storage.filters import Filter
from llmspell.storage.finder import ATTEMPTS
from llmspell.storage.lexical import Analyzer, LexicalView, Scored
from llmspell.storage.record import StoredRecord
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views

__all__ = ["Candidates", "Retriever", "Sought"]


class Sought(NamedTuple):
    """What one query looks for.

    Args:
        vector: (dim,); None where it isn't looked for by meaning.
        terms: None where it isn't looked for by words.
        depth: candidates of each kind.
        condition: what they must meet.
        is_strong: whether to look for what other processes wrote.
    """

    vector: NDArray[np.float32] | None
    terms: list[str] | None
    depth: int
    condition: Filter | None
    ef_search: int | None
    recall: float | None
    is_strong: bool


class Candidates(NamedTuple):
    """What was found, by row; each mapping has the best first.

    Args:
        records: of all of them.
        dense: scores by meaning, as a search gives them.
        lexical: scores by words, BM25.
        most_lexical: what no text can score more than by the words; 0 where none was found.
    """

    records: dict[int, StoredRecord]
    dense: dict[int, float]
    lexical: dict[int, float]
    most_lexical: float = 0.0


class Retriever:
    """Asks the views of a room, and reads from its store what they find. Thread-safe."""

    __slots__ = ("_alone", "_stages", "_store", "_views")

    def __init__(
        self,
        store: TenantStore,
        views: Views,
        alone: Callable[[], AbstractContextManager[None]],
        stages: Stages,
    ) -> None:
        """Ask an open room; arguments as :class:`Finder` takes them."""
        self._store = store
        self._views = views
        self._alone = alone
        self._stages = stages

    def find(self, sought: Sought) -> Candidates:
        """Find candidates; where a write beside it moved them, look again, at last between writes.

        Raises:
            CorruptFile: records that a view has are missing.
            MissingDependency: words are looked for without the extra ``lexical``.
        """
        views = self._views
        if sought.is_strong:
            views.current()
        for _ in range(ATTEMPTS):
            epoch = views.epoch
            found = self._find(sought)
            if found is not None and (sought.condition is None or epoch == views.epoch):
                return found
            views.catch_up()
        with self._alone():
            views.catch_up()
            found = self._find(sought)
        if found is None:
            raise CorruptFile("records that a view has are missing; scrub the tenant to see which")
        return found

    def terms(self, text: str) -> list[str]:
        """Terms of a query, as the lexical index has them."""
        return self._views.ask_words(lambda view: view.terms(text))

    def analyzer(self) -> Analyzer:
        """What made the terms of the lexical index; of use also when the room has closed."""
        return self._views.ask_words(lambda view: view.analyzer)

    def vectors(self, rows: Sequence[int]) -> list[NDArray[np.float32] | None]:
        """Vectors of some rows; None where one has gone."""
        return self._store.vectors(rows)

    def matching(self, condition: Filter) -> list[StoredRecord]:
        """Records that a filter keeps, in the order in which they were written."""
        rows = self._views.matching(condition).tolist()
        raws = zip(rows, self._store.fetch(rows), strict=True)
        return [StoredRecord(row, raw) for row, raw in raws if raw is not None]

    def _find(self, sought: Sought) -> Candidates | None:
        """None where a record has gone."""
        stages = self._stages
        dense = self._by_meaning(sought)
        lexical = self._by_words(sought)
        started = now_ns()
        rows = list(dict.fromkeys([*dense, *lexical]))
        raws = self._store.fetch(rows)
        if not all(raws):
            return None
        now_us = self._views.now_us()
        records = {}
        for row, raw in zip(rows, raws, strict=True):
            record = StoredRecord(row, raw or b"")
            if record.expires_us > now_us:
                records[row] = record
        stages.fetch.record_since(started)
        return Candidates(
            records,
            {row: score for row, score in dense.items() if row in records},
            {row: score for row, score in lexical.items() if row in records},
            self._most(sought.terms) if lexical and sought.terms else 0.0,
        )

    def _most(self, terms: list[str]) -> float:
        return self._views.ask_words(lambda view: view.most(terms))

    def _by_meaning(self, sought: Sought) -> dict[int, float]:
        if sought.vector is None:
            return {}
        while (index := self._views.index) is not None:
            allowed = None
            if sought.condition is not None:
                allowed = self._views.allowed(sought.condition)
            started = now_ns()
            try:
                rows, scores = index.search(
                    sought.vector,
                    sought.depth,
                    ef_search=sought.ef_search,
                    recall=sought.recall,
                    filter=allowed,
                )
            except CorruptFile as error:
                self._views.mend(index, error)
                continue
            self._stages.search.record_since(started)
            return dict(zip(rows.tolist(), scores.tolist(), strict=True))
        return {}

    def _by_words(self, sought: Sought) -> dict[int, float]:
        terms = sought.terms
        if terms is None:
            return {}

        def search(view: LexicalView) -> Scored:
            allowed = None
            if sought.condition is not None:
                allowed = self._views.matching(sought.condition)
            expired = self._views.expired
            refused = np.array(expired, dtype=np.int64) if expired else None
            started = now_ns()
            found = view.search(terms, sought.depth, allowed=allowed, refused=refused)
            self._stages.lexical.record_since(started)
            return found

        found = self._views.ask_words(search)
        return dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))
