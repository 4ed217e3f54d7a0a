"""The handle to a tenant: the only way to its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from llmspell._hot import SearchOvertaken
from llmspell.errors import ClosedError, CorruptFile, QuotaExceeded, TenantSuspended
from llmspell.index import Index, as_recall
from llmspell.observability import is_traced
from llmspell.quota import Usage
from llmspell.state import State
from llmspell.storage import Found, Room
from llmspell.tenancy.copy_calls import CopyCalls
from llmspell.tenancy.current import begin
from llmspell.tenancy.document_calls import DocumentCalls
from llmspell.tenancy.documents import IngestReport
from llmspell.tenancy.execute import Ingest, RunAgent, Search, TenantOperation, execute
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.operation import OPERATION_LEASE_S, Allowance, Operation
from llmspell.tenancy.record_calls import RecordCalls
from llmspell.tenancy.retrieve_calls import RetrieveCalls
from llmspell.tenancy.retrieving import Retrieve, retrieve
from llmspell.tenancy.searching import Consistency, Question, search
from llmspell.tenancy.tenant_handle import API_CALLS, until_the_end

__all__ = ["Tenant"]

_R = TypeVar("_R")


class Tenant(RecordCalls, RetrieveCalls, DocumentCalls, CopyCalls):
    """A handle to one tenant's room, made by :class:`llmspell.Database`. Thread-safe.

    Every operation on data is charged as one API call, a batch search as one for each query,
    before anything else is done. The room opens with the first of them. Where the program has set a
    tracer provider of OpenTelemetry, each call is a span ``tenant NAME``, an operation too.

    All operations raise:
        ClosedError: this handle or its database is closed.
        FlushFailed: writes that were acknowledged before couldn't be committed; nothing was done.
        DatabaseLocked: a write waited for that of another process longer than ``lock_timeout``.
        LedgerUnavailable: quotas are shared by hosts, and their server can't be asked.
        QuotaExceeded: nothing was done.
        StorageError: see :mod:`llmspell.errors`.
        TenantNotFound: the tenant was dropped, also where one of the same id was made since.
        UseAfterFork: the handle was made before ``fork()``.
    """

    __slots__ = ()

    @property
    @until_the_end
    def dim(self) -> int | None:
        """Dimension of its vectors; None until the first ones are written. Opens the room."""
        room = self._enter()
        # It is charged to nothing, and so nothing else tells that another process dropped it.
        self._residence.check()
        return room.dim or self.config.dim

    @overload
    def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Hits: ...
    @overload
    def search(
        self,
        query: ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any: ...
    def search(
        self,
        query: str | ArrayLike | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any:
        """Find the k nearest records, best first.

        Args:
            query: a text or a (dim,) vector; a list of texts or a (q, dim) array for a batch.
            k: fewer come back only where fewer match.
            filter: metadata that hits must have, as ``{"lang": "en", "year": {"$gte": 2020}}``.
            threshold: least score of a hit.
            ef_search: candidates kept in the walk over the graph; the tenant's where it and
                ``recall`` are None.
            recall: share of the true k nearest that is wanted on average, above 0 and up to 1,
                in place of ``ef_search``: see :meth:`llmspell.Index.search`. The first such search
                measures the index where :meth:`calibrate` hasn't, which takes seconds.
            consistency: ``"strong"`` sees every write that was acknowledged before the call, in
                whatever process; ``"eventual"`` doesn't look for those of other processes.

        Returns:
            :class:`llmspell.Hits`; for a batch a list of q of them.

        Raises:
            DimensionMismatch, DtypeError, NonFiniteVector, ShapeError, ZeroVector: the query.
            EmbedderMismatch: documents were embedded by another model than a text would be.
            EmbeddingError, MissingDependency: a text can't be embedded.
            FilterError: the message names the bad part.
            InputError: a text is blank, k or ef_search is below 1, or recall out of range or
                beside ef_search.
        """
        try:
            door = self._door
            if (
                door is not None
                and (filter is None and type(query) is np.ndarray and query.ndim == 1)
                and (consistency == "strong" or consistency == "eventual")
            ):
                if recall is not None:
                    recall = as_recall(recall, ef_search)
                is_strong = consistency == "strong"
                if not is_traced():
                    return door.search(self, query, k, ef_search, recall, threshold, is_strong)
                with self._span("search"):
                    return door.search(self, query, k, ef_search, recall, threshold, is_strong)
            asked = Question(k, filter, threshold, ef_search, recall, consistency)
            return self._search(query, asked)
        except SearchOvertaken as overtaken:
            # The room was closed to make room for other tenants, or its index is damaged.
            self._mend(*overtaken.args)
            asked = Question(k, None, threshold, ef_search, recall, consistency)
            return self._search(query, asked, is_charged=True)
        except ClosedError:
            self._residence.check()
            raise
        except (QuotaExceeded, TenantSuspended) as refusal:
            self._residence.refused("search", refusal)
            raise

    @until_the_end
    def _search(self, query: Any, asked: Question, *, is_charged: bool = False) -> Any:
        with self._instruments.search.timed():
            return search(self, self._enter(), query, asked, is_charged=is_charged)

    def _mend(self, error: Exception, index: Index | None) -> None:
        self._residence.check()
        room = self._room
        if isinstance(error, CorruptFile):
            if index is None:
                raise error
            if room is not None:
                room.views.mend(index, error)

    @until_the_end
    def _read_again(self, *given: Any) -> Found:
        """Read what was found in a room that has closed since; it may be open again."""
        return self._enter().finder.read(*given)

    @until_the_end
    def _retrieve(self, asked: Retrieve) -> Any:
        with self._instruments.retrieve.timed():
            return retrieve(self, self._enter(), asked)

    @until_the_end
    def calibrate(self, k: int = 10, *, recall: float = 0.99) -> None:
        """Measure now what a search with ``recall`` would measure: see :meth:`Index.calibrate`.

        It takes seconds at 100,000 vectors. What it finds is kept with the tenant's snapshots, and
        measured again when much has changed.

        Raises:
            InputError: k is below 1, or recall out of range.
        """
        room = self._room or self._enter()
        self._charge(API_CALLS, 1)
        room.calibrate(k, recall=recall)

    @until_the_end
    def estimated_recall(self, k: int = 10, *, ef_search: int | None = None) -> float | None:
        """Estimate the recall that searches reach now: see :meth:`Index.estimated_recall`.

        Returns:
            1.0 where searches are exact, None where nothing is measured for this k.

        Raises:
            InputError: k or ef_search is below 1.
        """
        room = self._room or self._enter()
        self._charge(API_CALLS, 1)
        index = room.index
        return 1.0 if index is None else index.estimated_recall(k, ef_search=ef_search)

    @property
    def state(self) -> State:
        """Durable values and lists under keys, in the tenant's own room."""
        return State(self._state)

    def operation(
        self,
        *,
        tokens: int = 0,
        embeddings: int = 0,
        cost: float = 0.0,
        api_calls: int = 1,
        lease: float = OPERATION_LEASE_S,
    ) -> AbstractContextManager[Operation[Tenant]]:
        """Do in a ``with`` what isn't a call of this handle, such as asking a language model.

        What it may use is reserved first, all or nothing. Inside, :func:`current_operation` gives
        the :class:`Operation`, to which is reported what was used. At the end the rest is given
        back: of what wasn't reported all is kept, or nothing where the block raised. Calls of this
        handle inside are charged by themselves.

        Args:
            tokens: of language models.
            embeddings: texts that it embeds itself.
            cost: money, in the unit of ``max_cost_per_month``.
            api_calls: that it counts as, 1 or more; kept in any case.
            lease: seconds for which the reservation holds, one day at most; the operation can
                renew it. One that is late is charged anew at its end, as far as it still fits.

        Raises:
            InputError: an amount is below zero or no number.
            QuotaExceeded: nothing was charged, and the block didn't run.
        """
        allowance = Allowance(tokens, embeddings, cost, api_calls, lease)
        return begin(self, allowance, self._instruments.operation)

    @overload
    def execute(self, operation: Ingest) -> IngestReport: ...
    @overload
    def execute(self, operation: RunAgent[_R]) -> _R: ...
    @overload
    def execute(self, operation: Search | Retrieve) -> Any: ...
    def execute(self, operation: TenantOperation) -> Any:
        """Run an operation that is an object, from a queue or a request; gives its result.

        An ingest or a search is charged as the call that it stands for, an agent as
        :meth:`operation`.

        Raises:
            InputError: it is none of them, or its agent is async.
            QuotaExceeded: nothing was done.
        """
        return execute(self, operation)

    @until_the_end
    def flush(self) -> None:
        """Return when every write that was acknowledged is committed; free of charge.

        Of this process, through whatever handle. With durability "sync" there is nothing to do.

        Raises:
            FlushFailed: ``__cause__`` says why; nothing is lost, and the next occasion tries again.
        """
        self._enter()
        self._residence.flush()

    def usage(self) -> Usage:
        """Use and limit of every quota; free of charge, and without opening the room.

        Raises:
            LedgerUnavailable: quotas are shared, and their server can't be asked.
        """
        with self._span("usage"):
            return self._residence.usage()

    def close(self) -> None:
        """Close this handle, and the room with the last one; does nothing the second time."""
        with self._span("close"):
            self._residence.leave(self)

    @until_the_end
    def _state(self, call: Callable[[Room], _R]) -> _R:
        with self._instruments.state.timed():
            room = self._room or self._enter()
            self._charge(API_CALLS, 1)
            return call(room)
