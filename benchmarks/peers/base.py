"""What a library must answer to be measured beside the others."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

import benchmarks.peers

__all__ = [
    "BatchSearch",
    "FilteredSearch",
    "Filters",
    "FloatMatrix",
    "Parameters",
    "Peer",
    "PeerModule",
    "PeerSpec",
    "Search",
    "Setup",
    "Streams",
    "from_threads",
    "load_peer",
    "peer_names",
    "unit",
]

FloatMatrix = NDArray[np.float32]
Search = Callable[[Any], Any]
BatchSearch = Callable[[FloatMatrix], Any]
FilteredSearch = Callable[[Any, Any], Any]
Parameters = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every peer is given alike; ``m`` and ``ef_construction`` as in arXiv:1603.09320.

    ``metric`` is ``ip`` (of unit vectors), ``cosine`` or ``l2``; ``scratch`` is a folder for
    libraries that live in files; ``changing`` says that vectors will be inserted and deleted
    after the build.
    """

    dim: int
    metric: str
    m: int
    ef_construction: int
    build_threads: int
    seed: int
    scratch: str
    changing: bool = False


class Peer(Protocol):
    """One library in one configuration, alone in its process."""

    def parameters(self) -> Parameters:
        """What it was built with, in the library's own words, for the record."""

    def build(self, vectors: FloatMatrix) -> None:
        """Index ``vectors`` (n, dim); their ids are their row numbers."""

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        """One object a query, in the form that the library takes with the least work."""

    def searcher(self, k: int, ef_search: int) -> Search:
        """A function of one prepared query that gives the ``k`` ids found, on one thread.

        Everything that a caller could do once (settings, bound methods) is done here; the
        function is what is timed.
        """

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        """A function of all queries (q, dim) that gives (q, k) ids, on that many threads."""

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        """Write the index into ``folder``; ``vectors`` for files that leave them out."""

    def load(self, folder: Path) -> None:
        """Open, instead of a build, what :meth:`save` wrote in another process."""


@runtime_checkable
class Filters(Protocol):
    """A peer whose searches can be held to a set of allowed ids."""

    def allow(self, allowed: NDArray[np.bool_]) -> Any:
        """The set, (n,) by row number, in the form that the library takes with the least work."""

    def filtered_searcher(self, k: int, ef_search: int) -> FilteredSearch:
        """As :meth:`Peer.searcher`, a function of a prepared query and a set from ``allow``."""


@runtime_checkable
class Streams(Protocol):
    """A peer whose content can be changed; ids go on where those of the build ended."""

    def insert(self, ids: NDArray[np.int64], vectors: FloatMatrix, threads: int) -> None:
        """Add vectors under new ids."""

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Remove vectors, so that searches never return them."""


class PeerModule(Protocol):
    """What a module in benchmarks/peers offers.

    A module whose library is not steered by ``ef_search`` has ``SETTINGS`` too: the whole
    numbers, rising, to be given in its place.
    """

    DISTRIBUTION: str
    VARIANTS: tuple[str, ...]

    def make(self, setup: Setup, variant: str) -> Peer:
        """The library, ready to build."""


@dataclass(frozen=True)
class PeerSpec:
    """A library and one of its variants, written ``name`` or ``name:variant``."""

    name: str
    variant: str

    @classmethod
    def parse(cls, text: str) -> PeerSpec:
        """Read ``name[:variant]``.

        Raises:
            ValueError: no module of that name, or no such variant.
        """
        name, _, variant = text.strip().partition(":")
        if name not in peer_names():
            raise ValueError(f"no peer {name!r}; there are {', '.join(peer_names())}")
        variants = load_peer(name).VARIANTS
        if variant and variant not in variants:
            raise ValueError(f"no variant {variant!r} of {name}; there are {', '.join(variants)}")
        return cls(name, variant or variants[0])

    def settings(self, ef_search: Sequence[int], k: int) -> list[int]:
        """The values of its search parameter to measure: its own, or those of ``ef_search``."""
        own = getattr(load_peer(self.name), "SETTINGS", None)
        return sorted(own) if own is not None else sorted(ef for ef in ef_search if ef >= k)

    def __str__(self) -> str:
        return f"{self.name}:{self.variant}"


def peer_names() -> list[str]:
    """Names of the modules in benchmarks/peers, sorted."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.peers.__path__))
    return sorted(name for name in found if name != "base")


def load_peer(name: str) -> PeerModule:
    """The module of a peer; importing it imports no foreign library."""
    return cast(PeerModule, importlib.import_module(f"benchmarks.peers.{name}"))


def unit(vectors: FloatMatrix, metric: str) -> FloatMatrix:
    """``vectors`` for a library without cosine: of unit length where that is the metric.

    The inner product of unit vectors ranks as cosine does.
    """
    if metric != "cosine":
        return vectors
    lengths: FloatMatrix = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def from_threads(
    search: Search, prepare: Callable[[FloatMatrix], Sequence[Any]], threads: int
) -> BatchSearch:
    """Batches for a library that has no call for them: single searches from Python threads."""
    pool = ThreadPoolExecutor(threads)

    def share(queries: FloatMatrix) -> list[Any]:
        return [search(query) for query in prepare(queries)]

    def search_all(queries: FloatMatrix) -> list[Any]:
        parts = np.array_split(queries, threads)
        return [answer for part in pool.map(share, parts) for answer in part]

    return search_all
