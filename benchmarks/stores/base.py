"""What a store must answer for its durable inserts to be measured beside the others."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

import benchmarks.stores
from benchmarks.peers.base import PeerSpec

__all__ = ["FloatMatrix", "Store", "StoreModule", "StoreSetup", "load_store", "parse", "names"]

FloatMatrix = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class StoreSetup:
    """What every store is given alike: an empty folder, dimension and metric of the vectors."""

    dim: int
    metric: str
    scratch: str


class Store(Protocol):
    """One store with one collection, alone in its process."""

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> Any:
        """Records of new ids in the form that the store takes with the least work; not timed."""

    def insert(self, records: Any) -> None:
        """Write what ``prepare`` gave; returns when the store calls it durable. This is timed."""

    def finish(self) -> None:
        """Bring to disk what ``insert`` left waiting; nothing where it leaves nothing."""

    def count(self) -> int:
        """Records that the store holds."""


class StoreModule(Protocol):
    """What a module in benchmarks/stores offers.

    ``DISTRIBUTION`` is the package that holds it, None for what Python has; ``DURABLE`` says by
    which call an insert is made durable.
    """

    DISTRIBUTION: str | None
    DURABLE: str
    VARIANTS: tuple[str, ...]

    def make(self, setup: StoreSetup, variant: str) -> Store:
        """The store with an empty collection."""


def names() -> list[str]:
    """Names of the modules in benchmarks/stores, sorted."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.stores.__path__))
    return sorted(name for name in found if name != "base")


def load_store(name: str) -> StoreModule:
    """The module of a store; importing it imports no foreign library."""
    return cast(StoreModule, importlib.import_module(f"benchmarks.stores.{name}"))


def parse(text: str) -> PeerSpec:
    """Read ``name[:variant]``.

    Raises:
        ValueError: no module of that name, or no such variant.
    """
    name, _, variant = text.strip().partition(":")
    if name not in names():
        raise ValueError(f"no store {name!r}; there are {', '.join(names())}")
    variants = load_store(name).VARIANTS
    if variant and variant not in variants:
        raise ValueError(f"no variant {variant!r} of {name}; there are {', '.join(variants)}")
    return PeerSpec(name, variant or variants[0])
