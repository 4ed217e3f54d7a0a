"""What a library must answer to be measured beside the others."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

import benchmarks.peers

__all__ = ["Peer", "PeerModule", "PeerSpec", "Setup", "load_peer", "peer_names"]

FloatMatrix = NDArray[np.float32]
Search = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every peer is given alike; ``m`` and ``ef_construction`` as in arXiv:1603.09320."""

    dim: int
    metric: str
    m: int
    ef_construction: int
    build_threads: int
    seed: int


class Peer(Protocol):
    """One library in one configuration, alone in its process."""

    def parameters(self) -> Mapping[str, str | int | float | bool]:
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


class PeerModule(Protocol):
    """What a module in benchmarks/peers offers."""

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
        variants = _variants(name)
        if variant and variant not in variants:
            raise ValueError(f"no variant {variant!r} of {name}; there are {', '.join(variants)}")
        return cls(name, variant or variants[0])

    def __str__(self) -> str:
        return f"{self.name}:{self.variant}"


def peer_names() -> list[str]:
    """Names of the modules in benchmarks/peers, sorted."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.peers.__path__))
    return sorted(name for name in found if name != "base")


def load_peer(name: str) -> PeerModule:
    """The module of a peer; importing it imports no foreign library."""
    return cast(PeerModule, importlib.import_module(f"benchmarks.peers.{name}"))


def _variants(name: str) -> tuple[str, ...]:
    return load_peer(name).VARIANTS
