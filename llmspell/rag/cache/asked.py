"""One call of the cache: what it asked for, and what was found or made of it so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmspell.rag.cache.compartment import Compartment
from llmspell.rag.cache.entry import Made
from llmspell.tenancy.ports import EmbeddingModel

__all__ = ["Asked"]


class Asked:
    """Texts whose vectors are wanted, by their keys.

    Attributes:
        compartment: of the entries.
        model: that embeds what isn't there.
        task: what the texts are for.
        oldest_us: microseconds since 1970; what was made before isn't used.
        missing: places of each key that wasn't in memory.
        made: what has been found or made of these.
        names: of what is missing, on a server of several hosts.
        since: flights that had landed before it was looked for anywhere, memory included.
        out: (n, dim) float32; places that ``missing`` doesn't name are filled.
    """

    __slots__ = (
        "compartment",
        "made",
        "missing",
        "model",
        "names",
        "oldest_us",
        "out",
        "since",
        "task",
        "texts",
    )

    def __init__(
        self,
        compartment: Compartment,
        model: EmbeddingModel,
        task: str,
        texts: Sequence[str],
        oldest_us: int,
        since: int,
    ) -> None:
        self.compartment = compartment
        self.model = model
        self.task = task
        self.texts = texts
        self.oldest_us = oldest_us
        self.missing: dict[bytes, list[int]] = {}
        self.made: dict[bytes, Made] = {}
        self.names: dict[bytes, bytes] = {}
        self.since = since
        self.out = np.empty((len(texts), model.dim), dtype=np.float32)

    def wanted(self) -> list[bytes]:
        """Keys of which there is nothing yet."""
        return [key for key in self.missing if key not in self.made]

    def texts_of(self, keys: Sequence[bytes]) -> list[str]:
        """The text of each key."""
        return [self.texts[self.missing[key][0]] for key in keys]

    def answer(self) -> NDArray[np.float32]:
        """All vectors, when nothing is wanted any more."""
        for key, places in self.missing.items():
            vector = self.made[key].vector
            for place in places:  # one by one: mostly it is one, and a list costs ten times more
                self.out[place] = vector
        return self.out
