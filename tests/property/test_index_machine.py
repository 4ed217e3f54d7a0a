"""`Index` against a dict and NumPy: any sequence of changes, searches, saves and loads.

What holds: no deleted id is returned; min(k, live allowed) results come back, best first, with the
scores that the model computes from the vectors as held; every live vector finds itself, a copy of
it or, where rounding makes them equal, another as near; a flat index gives the model's answer
exactly, up to the order of ties; a range holds those in range; pages repeat nothing, hold nothing
that is deleted and, by their end, all that was there throughout. The graphs here are small enough
to be exact as well.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import ArrayLike, NDArray

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric, Quantization
from tests.index.vectors import ALL_METRICS, METRICS, TYPES, scores_of

DIM, BITS = 5, 9
IDS = st.integers(0, 60)
QUANTIZATIONS: dict[str, Quantization] = {"coded": "pq", "rounded": "sq4"}
BATCHES = st.lists(IDS, min_size=1, max_size=20, unique=True)
SEEDS = st.integers(0, 2**32 - 1)


class IndexMachine(RuleBasedStateMachine):
    metric: ClassVar[Metric]
    dtype: ClassVar[ElementType]
    graph: ClassVar[bool]
    quantization: ClassVar[Quantization]
    dim: ClassVar[int]

    @initialize()
    def start(self) -> None:
        params = IndexParams(
            m=4,
            ef_construction=64,
            graph_threshold=0 if self.graph else 1 << 30,
            quantization=self.quantization,
        )
        self.index = Index(dim=self.dim, metric=self.metric, dtype=self.dtype, params=params)
        self.model: dict[int, NDArray[Any]] = {}
        self.folder = Path(tempfile.mkdtemp())
        self.tag = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def _vectors(self, n: int, seed: int) -> NDArray[Any]:
        # Few values, so that copies, ties and, under int8, equal codes of unequal vectors occur.
        random = np.random.default_rng(seed)
        if self.dtype == "binary":
            return np.packbits(random.random((n, self.dim)) < 0.5, axis=1)
        vectors = random.integers(-3, 4, (n, self.dim)) + random.choice([0.0, 0.25], (n, 1))
        vectors[np.abs(vectors).max(axis=1) == 0, 0] = 1.0
        return vectors.astype(np.float32)

    @rule(ids=BATCHES, seed=SEEDS, threads=st.sampled_from([1, 3]))
    def add(self, ids: list[int], seed: int, threads: int) -> None:
        vectors = self._vectors(len(ids), seed)
        if self.model.keys() & set(ids):
            with pytest.raises(errors.DuplicateId):
                self.index.add(ids, vectors, threads=threads)
            return
        self.index.add(ids, vectors, threads=threads)
        self._put(ids)

    @rule(ids=BATCHES, seed=SEEDS)
    def upsert(self, ids: list[int], seed: int) -> None:
        self.index.upsert(ids, self._vectors(len(ids), seed))
        self._put(ids)

    def _put(self, ids: list[int]) -> None:
        # As held: what rounding and normalising do is for the tests of `get`.
        self.model.update(zip(ids, self.index.get(ids), strict=True))

    @rule(ids=BATCHES, seed=SEEDS)
    def refuse_what_no_vector_holds(self, ids: list[int], seed: int) -> None:
        vectors = self._vectors(len(ids), seed)
        binary = self.dtype == "binary"
        vectors[-1, -1] = 1 if binary else np.nan  # the last bit lies beyond dim
        with pytest.raises(errors.InputError if binary else errors.NonFiniteVector):
            self.index.upsert(ids, vectors)

    @rule(ids=st.lists(IDS, max_size=30))
    def delete(self, ids: list[int]) -> None:
        there = self.model.keys() & set(ids)
        assert self.index.delete(ids) == len(there)
        for id in there:
            del self.model[id]
        self._not_due(there)

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert self.index.stats().slots == self.index.stats().capacity == len(self.model)

    @rule()
    def delete_everything(self) -> None:
        assert self.index.delete(list(self.model)) == len(self.model)
        self._not_due(set(self.model))
        self.model = {}

    def _not_due(self, gone: set[int]) -> None:
        if hasattr(self, "pages"):
            self.due -= gone

    @rule(seed=SEEDS, k=st.integers(1, 80), ef=st.sampled_from([None, 1, 200]))
    def search(self, seed: int, k: int, ef: int | None) -> None:
        query = self._vectors(1, seed)[0]
        ids, scores = self.index.search(query, k, ef_search=ef)
        self._check(query, ids, scores, k, sorted(self.model), wide=ef != 1)

    @rule(
        seed=SEEDS, k=st.integers(1, 80), mask_seed=SEEDS, kept=st.floats(0, 1), mask=st.booleans()
    )
    def search_filtered(self, seed: int, k: int, mask_seed: int, kept: float, mask: bool) -> None:
        query = self._vectors(1, seed)[0]
        bits = np.random.default_rng(mask_seed).random(61) < kept
        allowed = np.flatnonzero(bits)
        ids, scores = self.index.search(query, k, filter=bits if mask else allowed)
        self._check(query, ids, scores, k, sorted(self.model.keys() & set(allowed.tolist())))

    @rule(id=IDS, k=st.integers(1, 80), include_self=st.booleans())
    def search_by_id(self, id: int, k: int, include_self: bool) -> None:
        if id not in self.model:
            with pytest.raises(errors.IdNotFound):
                self.index.search_by_id(id, k)
            return
        ids, scores = self.index.search_by_id(id, k, include_self=include_self)
        eligible = [other for other in sorted(self.model) if include_self or other != id]
        self._check(self.model[id], ids, scores, k, eligible)

    @rule(seed=SEEDS, threshold=st.floats(-40, 40), kept=st.floats(0, 1))
    def range_search(self, seed: int, threshold: float, kept: float) -> None:
        query = self._vectors(1, seed)[0]
        allowed = np.random.default_rng(seed).random(61) < kept
        every = self.index.search(query, 80, filter=allowed)
        found = self.index.range_search(query, threshold, filter=allowed)
        assert (found.scores >= np.float32(threshold)).all()
        assert (np.diff(found.scores) <= 0).all()
        # Equal but for the last bits, by which one on the border may be in or out.
        scores = dict(zip(every.ids.tolist(), every.scores.tolist(), strict=True))
        self._close(found.scores, [scores[id] for id in found.ids.tolist()])
        inside = every.ids[every.scores > threshold + 1e-4]
        assert set(inside.tolist()) <= set(found.ids.tolist())

    @rule(seed=SEEDS, size=st.integers(1, 30), kept=st.none() | st.floats(0, 1))
    def iterate(self, seed: int, size: int, kept: float | None) -> None:
        allowed = np.random.default_rng(seed).random(61) < (1 if kept is None else kept)
        query = self._vectors(1, seed)[0]
        self.pages = self.index.iterate(query, size, filter=None if kept is None else allowed)
        self.came: list[int] = []
        # What has to come in the end: allowed, and there all the time.
        self.due = {id for id in self.model if allowed[id]}
        self.may_come = set(np.flatnonzero(allowed).tolist())

    @rule(most=st.integers(1, 5))
    def next_pages(self, most: int) -> None:
        if not hasattr(self, "pages"):
            return
        for _ in range(most):
            page = next(self.pages, None)
            if page is None:
                assert self.due <= set(self.came)
                return
            ids = page.ids.tolist()
            assert set(ids) <= self.model.keys() & self.may_come
            assert (np.diff(page.scores) <= 0).all()
            self.came += ids
            assert len(self.came) == len(set(self.came))

    @rule(seed=SEEDS, k=st.integers(1, 80), threshold=st.floats(-40, 40))
    def search_above(self, seed: int, k: int, threshold: float) -> None:
        query = self._vectors(1, seed)[0]
        every = self.index.search(query, k)
        above = self.index.search(query, k, threshold=threshold)
        enough = every.scores >= np.float32(threshold)
        assert above.ids.tolist() == every.ids[enough].tolist()

    def _check(
        self,
        query: NDArray[Any],
        ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        k: int,
        allowed: list[int],
        *,
        wide: bool = True,
    ) -> None:
        assert len(set(ids.tolist())) == len(ids) == min(k, len(allowed))
        assert set(ids.tolist()) <= set(allowed)
        assert (np.diff(scores) <= 0).all()
        if not allowed:
            return
        exact = dict(zip(allowed, self._exact(query[None], allowed)[0], strict=True))
        self._close(scores, [exact[int(id)] for id in ids])
        if not self.graph or wide:
            best = sorted(exact.values(), reverse=True)[: len(ids)]
            self._close(scores, best)

    def _close(self, actual: NDArray[np.float32], desired: ArrayLike) -> None:
        # int8 rounds the query to its own 127 steps too.
        rtol, atol = (0.02, 0.25) if self.dtype == "int8" else (1e-5, 2e-5)
        np.testing.assert_allclose(actual, np.asarray(desired, float), rtol=rtol, atol=atol)

    def _exact(self, queries: NDArray[Any], ids: list[int]) -> NDArray[np.float64]:
        rows = np.array([self.model[id] for id in ids])
        if self.metric != "cosine":
            return scores_of(self.metric, queries, rows)
        # Rows were normalised before they were rounded, and are not once more.
        return scores_of("ip", queries / np.linalg.norm(queries, axis=1, keepdims=True), rows)

    @rule(change_tag=st.booleans())
    def save_and_load(self, change_tag: bool) -> None:
        self.tag += change_tag
        self.index.save(self.folder / "index", tag=self.tag)
        self.index = Index.load(self.folder / "index")
        if hasattr(self, "pages"):
            del self.pages  # they are those of the other index
        assert self.index.tag == self.tag

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "model"):
            return
        ids = sorted(self.model)
        assert len(self.index) == len(ids)
        assert all(id in self.index for id in ids)
        if not ids:
            return
        held = np.array([self.model[id] for id in ids])
        np.testing.assert_array_equal(self.index.get(ids), held)
        found = self.index.search(held, 1)
        # Not always its own: under ip a longer vector may be nearer.
        best = self._exact(held, ids).max(axis=1)
        self._close(found.scores[:, 0], best)


def _machine(metric_: Metric, dtype_: ElementType, kind: str) -> type[IndexMachine]:
    class Machine(IndexMachine):
        metric = metric_
        dtype = dtype_
        graph = kind != "flat"
        quantization = QUANTIZATIONS.get(kind, "none")
        dim = BITS if dtype_ == "binary" else DIM

    return Machine


CASES = [
    *itertools.product(ALL_METRICS, TYPES, ("flat", "graph")),
    *itertools.product(METRICS, TYPES, ("coded", "rounded")),
    *itertools.product(("hamming",), ("binary",), ("flat", "graph")),
]


@pytest.mark.parametrize(("metric", "dtype", "kind"), CASES)
def test_index_does_what_a_dict_and_numpy_do(metric: Metric, dtype: ElementType, kind: str) -> None:
    case = _machine(metric, dtype, kind).TestCase
    case.settings = settings(
        max_examples=12,
        derandomize=True,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    case("runTest").runTest()
