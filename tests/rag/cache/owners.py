"""Tenants, a model and its vectors, in a form tests can predict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmspell.tenancy.ports import CacheOwner, EmbeddingModel
from tests.tenancy.texts import DIM, embed

MODEL = EmbeddingModel("test", "lines", DIM)


def owner(directory: Path, name: str = "acme") -> CacheOwner:
    """A tenant whose room is there."""
    (directory / name).mkdir(exist_ok=True)
    return CacheOwner(name.encode().ljust(16), name, directory / name)


class Model:
    """Embeds, and remembers what; waits for ``gate`` where one is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.entered = threading.Event()
        self.gate: threading.Event | None = None
        self.error: Exception | None = None

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return embed(texts)


def within_seconds(call: Callable[[], object]) -> object:
    """What a call gives; fails where it still waits, which a pool would wait for, too."""
    given: list[object] = []
    thread = threading.Thread(target=lambda: given.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    assert given, "it waits for what it mustn't wait for"
    return given[0]
