"""`Index`: vectors in, nearest ids out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell import _core
from llmspell.config import ElementType, IndexParams, Metric
from llmspell.errors import InputError
from llmspell.index.arrays import (
    MAX_ID,
    MAX_THREADS,
    IdBitmap,
    as_filter,
    as_ids,
    as_threshold,
    as_vectors,
    require_count,
)
from llmspell.index.audit import IndexAudit, audit_of
from llmspell.index.calibration import RecallCurve, adopt, as_recall, curves_of
from llmspell.index.neighbors import Neighbors, RangeNeighbors, neighbors_type
from llmspell.index.pages import SearchPages
from llmspell.index.stats import IndexStats, stats_of
from llmspell.index.watch import CancelToken, SearchCounters, watching

__all__ = ["Index", "check_rows"]

# Asked once: the system opens a file for it, at every insert.
_PROCESSORS = os.cpu_count() or 1
_MAPPED = {True: "all", False: "none", "vectors": "vectors"}  # by what `load` is asked for


class Index:
    """A vector index in memory: exact while small, an HNSW graph from ``graph_threshold`` on.

    Thread-safe, without the GIL: searches and changes run beside each other. A batch is seen whole
    or not at all. A search waits for single steps of a change, which are short but for those in
    which a batch comes, goes or moves as a whole: they grow with its size.

    Args:
        dim: dimension of the vectors, 1 to 16,384.
        metric: ``"ip"`` (inner product), ``"cosine"``, ``"l2"`` (squared Euclidean distance),
            ``"l1"`` (sum of absolute differences) or ``"hamming"`` (bits that differ).
        dtype: how vectors are held: ``"float32"``, ``"float16"`` or ``"bfloat16"`` (half the
            memory, with 11 bits of precision or with 8 and the range of float32) or ``"int8"`` (a
            quarter; each vector scaled by its own largest component). ``"binary"`` is for vectors
            of bits, under ``"hamming"`` and no other metric, and ``dim`` is their number.
        params: see :class:`llmspell.IndexParams`.

    Raises:
        ConfigError: a setting is out of range, or settings do not go together.
    """

    __slots__ = ("_core", "_dtype", "_neighbors", "_one_search", "_tag")

    def __init__(
        self,
        *,
        dim: int,
        metric: Metric = "cosine",
        dtype: ElementType = "float32",
        params: IndexParams | None = None,
    ) -> None:
        p = IndexParams() if params is None else params
        self._attach(
            _core.Index(
                dim=require_count("dim", dim),
                metric=metric,
                dtype=dtype,
                m=p.m,
                max_neighbors=2 * p.m if p.max_neighbors is None else p.max_neighbors,
                ef_construction=p.ef_construction,
                ef_search=p.ef_search,
                graph_threshold=p.graph_threshold,
                seed=p.seed,
                quantization=p.quantization,
            ),
            tag=0,
        )

    def _attach(self, core: _core.Index, tag: int) -> None:
        self._core = core
        self._dtype = core.dtype
        self._neighbors = neighbors_type(core.metric)
        self._one_search = _core.one_search(core, self._neighbors)
        self._tag = tag

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._core.dim

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""
        return cast(Metric, self._core.metric)

    @property
    def dtype(self) -> ElementType:
        """How vectors are held."""
        return cast(ElementType, self._dtype)

    @property
    def params(self) -> IndexParams:
        """What the index was made with, ``max_neighbors`` filled in."""
        return IndexParams(**self._core.params)

    @property
    def tag(self) -> int:
        """The number that the file it was loaded from was saved with; 0 for a new index."""
        return self._tag

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: object) -> bool:
        return (
            isinstance(id, (int, np.integer)) and 0 <= int(id) <= MAX_ID and int(id) in self._core
        )

    def __repr__(self) -> str:
        return (
            f"Index(dim={self.dim}, metric={self.metric!r}, dtype={self.dtype!r}, len={len(self)})"
        )

    def add(self, ids: ArrayLike, vectors: ArrayLike, *, threads: int | None = None) -> None:
        """Add vectors under new ids, all of them or, on any error, none.

        Args:
            ids: (n,) integers from 0 to 2**63 - 1, or one of them.
            vectors: (n, dim) or (dim,) floats; whole numbers too where ``dtype`` is int8. Where
                it is binary, bool of that shape, or uint8 packed as by :func:`numpy.packbits`,
                (n, ceil(dim / 8)) or (ceil(dim / 8),): the first bit is the highest of the first
                byte, and bits beyond ``dim`` are zero.
            threads: to link with, at most 256; all processors where None. One thread builds the
                same graph each time.

        Raises:
            DuplicateId: an id is in the index, or twice in ``ids``.
            InputError: ``threads`` is below 1, or the index would hold 2**32 - 1 vectors.
            CorruptFile, StorageError: the first change of a mapped index checks its file.
            InvalidId, DtypeError, ShapeError, DimensionMismatch, NonFiniteVector, ZeroVector: see
                :mod:`llmspell.errors`.
        """
        self._insert(ids, vectors, replace=False, threads=threads)

    def upsert(self, ids: ArrayLike, vectors: ArrayLike, *, threads: int | None = None) -> None:
        """Add vectors, in place of those that have the same ids. Else as :meth:`add`.

        A search finds the old vector or the new one, never both or neither. Until the batch is
        complete both take room.
        """
        self._insert(ids, vectors, replace=True, threads=threads)

    def _insert(
        self, ids: ArrayLike, vectors: ArrayLike, *, replace: bool, threads: int | None
    ) -> None:
        rows = as_vectors(vectors, self._dtype, self.dim)
        self._core.add(as_ids(ids), rows, replace, _thread_count(threads))

    def delete(self, ids: ArrayLike) -> int:
        """Remove vectors and return how many there were; ids that aren't there are passed over.

        They are no results from then on. Where it is time to mend links, this call does so before
        it returns, while searches and other changes go on.

        Raises:
            InvalidId, ShapeError: ``ids`` are none.
            CorruptFile, StorageError: the first change of a mapped index checks its file.
        """
        return self._core.remove(as_ids(ids))

    def ids(self) -> NDArray[np.int64]:
        """Return all ids, (n,), ascending. It waits for a step of a change, as a search does."""
        return self._core.ids().view(np.int64)

    def get(self, ids: ArrayLike) -> NDArray[Any]:
        """Return vectors as they are held, (n, dim) float32, or packed bits where they are binary.

        Those are (n, ceil(dim / 8)) uint8; ``numpy.unpackbits(found, axis=1, count=dim)`` unpacks
        them. Floats are normalised under cosine, and rounded where ``dtype`` is not float32.

        Raises:
            IdNotFound: an id isn't in the index.
            InvalidId, ShapeError: ``ids`` are none.
            CorruptFile, StorageError: of a mapped index; see :meth:`load`.
        """
        return self._core.get(as_ids(ids))

    def search(
        self,
        query: ArrayLike,
        k: int = 10,
        *,
        ef_search: int | None = None,
        recall: float | None = None,
        filter: IdBitmap | ArrayLike | None = None,
        threshold: float | None = None,
        threads: int | None = 1,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        counters: SearchCounters | None = None,
    ) -> Neighbors:
        """Return the k nearest vectors of one query or of each of several.

        Args:
            query: (dim,) or (q, dim) floats; bits as for :meth:`add` where they are binary.
            k: how many; fewer come back only where fewer are there, allowed and above
                ``threshold``.
            ef_search: width of the walk; ``params.ef_search`` where it and ``recall`` are None.
            recall: share of the true k nearest that is wanted on average, above 0 and up to 1;
                ``ef_search`` must be None then. The width is chosen by what :meth:`calibrate`
                measures, and this very call measures where nothing is yet, unless it has a
                ``timeout`` or ``cancel``: it is an exact sweep then. So is a recall that a walk
                doesn't reach more cheaply, and any above 0.998, which no sample would show.
            filter: allowed ids: an array of integers, a bool array indexed by id, or an
                :class:`IdBitmap`. It acts inside the search: k allowed ones come back.
            threshold: lowest score wanted.
            threads: for a batch of queries, all processors where None; at most 256 are used.
            timeout: seconds that the call may take, waiting for a change included. A walk by codes
                (``quantization="pq"``) looks at it before and after, all else on the way.
            cancel: gives up the call when it is cancelled, as ``timeout`` does.
            counters: filled in with what the call did.

        Returns:
            Ids (found,) int64 and scores (found,) float32 of one query, best first; (q, k) of
            several, where rows of fewer end with ids -1 and scores of minus infinity.

        Raises:
            InputError: k, ef_search or threads is below 1, threshold is NaN, timeout negative, or
                recall out of range or beside ef_search.
            SearchTimeout, SearchCancelled: nothing is returned, and nothing is changed.
            CorruptFile, StorageError: of a mapped index; see :meth:`load`.
            DtypeError, ShapeError, DimensionMismatch, InvalidId (of ``filter``), NonFiniteVector,
            ZeroVector: see :mod:`llmspell.errors`.
        """
        if (
            (filter is None or type(filter) is IdBitmap)
            and (threshold is None and timeout is None)
            and (cancel is None and counters is None)
        ):
            allowed = None if filter is None else filter.bits
            found = self._one_search(query, k, ef_search, threads, recall, allowed)
            if found is not None:
                return found
        k = require_count("k", k)
        ef = 0 if ef_search is None else require_count("ef_search", ef_search)
        target = 0.0 if recall is None else as_recall(recall, ef_search)
        query = as_vectors(query, self._dtype, self.dim)
        lowest = None if threshold is None else as_threshold(threshold)
        ids, bits = as_filter(filter)
        threads = _thread_count(threads)
        with watching(timeout, cancel, counters) as watch:
            return self._neighbors(
                self._core.search(query, k, ef, lowest, ids, bits, threads, watch, target)
            )

    def search_by_id(
        self,
        ids: ArrayLike,
        k: int = 10,
        *,
        include_self: bool = False,
        ef_search: int | None = None,
        recall: float | None = None,
        filter: IdBitmap | ArrayLike | None = None,
        threshold: float | None = None,
        threads: int | None = 1,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        counters: SearchCounters | None = None,
    ) -> Neighbors:
        """Return the k nearest vectors of one that the index holds, or of each of several.

        Args:
            ids: one id, or (q,) of them; the queries are their vectors as :meth:`get` gives them.
            k: how many, the vector itself not counted unless ``include_self``.
            include_self: leave a vector in its own results. Equal vectors under other ids are
                there always.
            ef_search, recall, filter, threshold, threads, timeout, cancel, counters: as for
                :meth:`search`.

        Raises:
            IdNotFound: an id isn't in the index.
            InputError, InvalidId, ShapeError, SearchTimeout, SearchCancelled: see :meth:`search`.
        """
        k = require_count("k", k)
        ef = 0 if ef_search is None else require_count("ef_search", ef_search)
        target = 0.0 if recall is None else as_recall(recall, ef_search)
        of_ids, bits = as_filter(filter)
        queries, one = as_ids(ids), np.ndim(ids) == 0
        lowest = None if threshold is None else as_threshold(threshold)
        threads = _thread_count(threads)
        with watching(timeout, cancel, counters) as watch:
            return self._neighbors(
                self._core.search_stored(
                    queries,
                    one,
                    bool(include_self),
                    k,
                    ef,
                    lowest,
                    of_ids,
                    bits,
                    threads,
                    watch,
                    target,
                )
            )

    def calibrate(
        self,
        k: int = 10,
        *,
        recall: float = 0.99,
        threads: int | None = 1,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Measure now which widths of a walk give which recall of the k nearest.

        A search with ``recall`` does so where nothing is measured for its ``k`` yet, or half of
        the vectors have changed since. Where a tenth has, one search does it anew; others go on by
        what is known, and aim higher. A search with ``timeout`` or ``cancel`` measures nothing:
        where all have one, call this now and then. It takes seconds at 100,000 vectors, on
        ``threads`` of the call; a change waits for milliseconds of it.

        The queries are the last 1,024 recorded of those searched with, each once, where at least
        256 are there: from the first calibration on one in four is recorded, later one in 64, as
        a copy. Else they are stored vectors, searched for as if they weren't there.

        Args:
            k: the next of 1, 2, 5, 10, 20, 50, ... is measured, and holds for fewer.
            recall: it goes on until this is reached, and 0.99. Above 0.998 nothing can be shown.
            threads: to measure with; all processors where None.
            timeout, cancel: as for :meth:`search`.

        Raises:
            InputError: k or threads is below 1, or recall out of range.
            SearchTimeout, SearchCancelled: what was known before stands.
        """
        k, target = require_count("k", k), as_recall(recall, None)
        with watching(timeout, cancel, None) as watch:
            self._core.calibrate(k, target, _thread_count(threads), watch)

    def calibration(self) -> tuple[RecallCurve, ...]:
        """Return what was measured of the recall of walks; empty before :meth:`calibrate`.

        Below ``graph_threshold`` vectors it stays empty: every search is exact there.
        """
        return curves_of(self._core)

    def adopt_calibration(self, curves: Iterable[RecallCurve]) -> None:
        """Take over what :meth:`calibration` gave of an index of this content and these settings.

        A snapshot holds no calibration: keep the curves beside it, and searches with ``recall``
        measure nothing after loading until they would have anyway. Their ``changed`` counts on.
        Curves of walks that this index doesn't have are passed over.

        Raises:
            InputError: a curve is none that can be measured.
        """
        for curve in curves:
            adopt(self._core, curve)

    def estimated_recall(self, k: int = 10, *, ef_search: int | None = None) -> float | None:
        """Estimate the recall that searches for the k nearest reach now, from :meth:`calibration`.

        It is of searches without a filter, on average over queries like those measured with, and
        costs no search. ``calibration()`` says how much has changed since.

        Args:
            k: of the nearest. The curve of the next of 1, 2, 5, 10, 20, 50, ... tells of it: for
                fewer than that, recall is higher rather than lower.
            ef_search: width of the walk; ``params.ef_search`` where None. A walk is at least
                ``k`` wide.

        Returns:
            1.0 where such searches are sweeps, None where nothing is measured for this k.

        Raises:
            InputError: k or ef_search is below 1.
        """
        k = require_count("k", k)
        width = self.params.ef_search
        if ef_search is not None:
            width = require_count("ef_search", ef_search)
        key = self._core.curve_for(k)
        if key is None:
            return 1.0
        for curve in curves_of(self._core):
            if (curve.k, curve.quantized) == key:
                return curve.recall_at(max(width, k))
        return None

    def range_search(
        self,
        query: ArrayLike,
        threshold: float,
        *,
        ef_search: int | None = None,
        filter: IdBitmap | ArrayLike | None = None,
        threads: int | None = 1,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
        counters: SearchCounters | None = None,
    ) -> RangeNeighbors:
        """Return all vectors with a score of at least ``threshold``, however many they are.

        Below ``graph_threshold`` vectors, under a narrow filter, and where the range holds a good
        part of all, the answer is exact. Else a walk of the graph goes on while it finds vectors
        within the range or among the ``ef_search`` nearest beyond it: it finds about as many of
        them as a search for as many nearest would, and may miss some where the range is made of
        islands. It goes by the stored vectors, with a quantization too.

        Args:
            query: (dim,) or (q, dim) floats or bits, as for :meth:`search`.
            threshold: lowest score wanted; for ``l2`` minus the squared distance, for ``l1`` and
                ``hamming`` minus the distance.
            ef_search: how far beyond the range the walk looks; ``params.ef_search`` where None.
            filter, threads, timeout, cancel, counters: as for :meth:`search`.

        Raises:
            InputError: ef_search or threads is below 1, threshold is NaN, or timeout negative.
            DtypeError, ShapeError, DimensionMismatch, NonFiniteVector, ZeroVector, SearchTimeout,
            SearchCancelled: see :meth:`search`.
        """
        ef = 0 if ef_search is None else require_count("ef_search", ef_search)
        queries = as_vectors(query, self._dtype, self.dim)
        ids, bits = as_filter(filter)
        lowest, threads = as_threshold(threshold), _thread_count(threads)
        with watching(timeout, cancel, counters) as watch:
            found = self._core.range_search(queries, lowest, ef, ids, bits, threads, watch)
        return RangeNeighbors(*found, self._neighbors)

    def iterate(
        self,
        query: ArrayLike,
        page_size: int = 100,
        *,
        ef_search: int | None = None,
        filter: IdBitmap | ArrayLike | None = None,
        timeout: float | None = None,
        cancel: CancelToken | None = None,
    ) -> SearchPages:
        """Return an iterator over pages of the nearest vectors, until all have come.

        A page goes on where the last one stopped, and costs about as much as a search for
        ``page_size``. It goes by the stored vectors, with a quantization too. See
        :class:`llmspell.SearchPages` for what holds when the index changes meanwhile.

        Args:
            query: (dim,) floats or bits, as for :meth:`search`; copied, as ``filter`` is.
            page_size: results of a page.
            ef_search: width of the walk beyond what has come; ``params.ef_search`` where None.
            filter: as for :meth:`search`.
            timeout: seconds for each page. A page that is given up can be asked for again.
            cancel: gives up the page that is asked for, and all that would follow.

        Raises:
            InputError: page_size or ef_search is below 1.
            DtypeError, ShapeError, DimensionMismatch, NonFiniteVector, ZeroVector: see
                :mod:`llmspell.errors`.
            SearchTimeout, SearchCancelled: by the iterator.
        """
        size = require_count("page_size", page_size)
        ef = 0 if ef_search is None else require_count("ef_search", ef_search)
        vector = as_vectors(query, self._dtype, self.dim)
        core = self._core.iterate(vector, ef, *as_filter(filter))
        return SearchPages(core, self._neighbors, size, timeout, cancel)

    def save(self, path: str | os.PathLike[str], *, tag: int = 0) -> None:
        """Write the index to one file, checksummed; an old file is replaced in one step.

        Args:
            path: where to.
            tag: a number of 64 bits of the caller's own, given back by :attr:`tag` after a load.

        Raises:
            StorageError: the file can't be written; an old one is untouched.
            InputError: ``tag`` is no integer, negative or of more than 64 bits.
        """
        if not isinstance(tag, (int, np.integer)) or not 0 <= tag < 1 << 64:
            raise InputError(f"tag must be from 0 to 2**64 - 1, got {tag!r}")
        self._core.save(os.fsencode(path), int(tag))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool | Literal["vectors"] = True) -> Self:
        """Open an index that :meth:`save` wrote.

        The file is mapped, which takes milliseconds, and processes share its pages.
        Its blocks are checked when a search first comes to them, or all of them by
        :meth:`verify`, or before the first change. Changes stay in this process: they don't reach
        the file. It may be replaced or deleted meanwhile, as :meth:`save` replaces it, but must
        not be written to.

        Args:
            path: of the file.
            mmap: what is mapped. ``"vectors"``: the stored vectors, and beside them such codes as
                only changes and filters read; all else is read into memory and checked first. With
                a quantization a search then walks in memory, and takes the vectors that it
                compares in the end from the file, or from the system's cache of it: with ``"pq"``
                by the mapping, with ``"sq4"``, on Linux, by reading them, so that none of them
                comes to lie in the process's memory; one file descriptor stays open for that until
                the first change. All other calls (by id, exact, by range, in pages, calibration)
                go by the mapping. False:
                nothing, the file is read into memory and checked whole. Where the system can't
                map files so, all is read in any case.

        Raises:
            InputError: ``mmap`` is none of these.
            StorageError: the file can't be read.
            CorruptFile: a checksum, a length or a link in it does not hold. Of what is mapped
                searches may raise it as well, for blocks that they are the first to see, and
                StorageError where they read.
            UnsupportedFormat: another version wrote it.
        """
        mapped = _MAPPED.get(mmap) if isinstance(mmap, (bool, str)) else None
        if mapped is None:
            raise InputError(f"mmap must be True, False or 'vectors', got {mmap!r}")
        core, tag = _core.Index.load(os.fsencode(path), mapped)
        index = cls.__new__(cls)
        index._attach(core, tag)
        return index

    def verify(self) -> None:
        """Check all blocks of the file that the index was loaded from, beside searches.

        Raises:
            CorruptFile: a block is damaged, or an id doesn't lead to its vector.
            StorageError: the file can't be read.
        """
        self._core.verify()

    def stats(self) -> IndexStats:
        """Return counts and bytes, of slots, of nodes and links, of each part, and recall curves.

        One pass over the graph's nodes, beside searches; a change waits for it.
        """
        return stats_of(self._core)

    def compact(self, *, timeout: float | None = None, cancel: CancelToken | None = None) -> None:
        """Mend links after deletes and give memory back now, however little there is of it.

        The index does so itself, once one vector in fifty is deleted and a twenty-fourth of the
        memory unused. Links are mended in short steps, beside searches and changes; then rows move
        together, for which both wait. Where it is stopped, what is mended stays so, and the next
        call goes on.

        Args:
            timeout, cancel: as for :meth:`search`. The move, once begun, is done.

        Raises:
            InputError: ``timeout`` is negative.
            SearchTimeout, SearchCancelled: it was stopped.
        """
        with watching(timeout, cancel, None) as watch:
            self._core.compact(watch)

    def audit(
        self,
        *,
        sample: int | None = 1_000,
        repair: bool = False,
        seed: int = 0,
        threads: int | None = 1,
    ) -> IndexAudit:
        """Check the index against itself, and mend what is wrong where asked to.

        The graph's links are read whole; vectors are drawn and looked for by themselves, and for
        up to 200 of these the 10 nearest are compared with an exact sweep. Searches go on
        meanwhile, and changes between a few of those steps. Repairs hold them off: for one more
        pass over the links, and then for a few vectors at a time.

        Args:
            sample: how many vectors to look for; all where None.
            repair: drop bad links, link again what is out of reach, and add links to vectors that
                don't find themselves.
            seed: which vectors are drawn.
            threads: for the searches, at most 256.

        Raises:
            InputError: ``sample`` or ``threads`` is below 1, or ``seed`` out of range.
        """
        count = 0 if sample is None else require_count("sample", sample)
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 64:
            raise InputError(f"seed must be from 0 to 2**64 - 1, got {seed!r}")
        threads = _thread_count(threads)
        return audit_of(self._core, count, repair=bool(repair), seed=seed, threads=threads)


def check_rows(
    vectors: NDArray[np.float32], metric: Metric, dtype: ElementType = "float32"
) -> None:
    """Refuse what an index of this metric and type would refuse, without one.

    Args:
        vectors: (n, dim), contiguous.

    Raises:
        NonFiniteVector, ZeroVector: the message names the row.
        ShapeError: no axis for the rows, or a dimension that no index has.
    """
    _core.check(vectors, metric, dtype)


def _thread_count(threads: int | None) -> int:
    if threads is None:
        return _PROCESSORS
    return min(require_count("threads", threads), MAX_THREADS)
