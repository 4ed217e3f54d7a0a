"""What the pipeline asks of an embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder", "Task"]

Task: TypeAlias = Literal["passage", "query"]
"""What a text is: one to be found, or one to find others with. Many models tell them apart."""


class Embedder(Protocol):
    """Turns texts into unit vectors. Implementations are thread-safe.

    Attributes:
        provider: who computes them: ``local``, a service, or the host of one; with ``model_id`` it
            tells vectors that compare from those that don't. It holds no secret.
        model_id: names weights, precision and pooling; vectors of different ids don't compare.
        dim: length of a vector.
        tokenizer: a ``tokenizers.Tokenizer`` that counts as the model does, without truncation or
            padding; None where there is none to be had, as for many services.
        max_tokens: the longest text that is embedded whole, the model's own marks included.
    """

    @property
    def provider(self) -> str: ...

    @property
    def model_id(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def max_tokens(self) -> int: ...

    def embed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: any number of them; an empty text gives the vector of nothing but the marks.
            task: what the texts are. A model that tells them apart marks them itself.
            truncate: cut texts of more than ``max_tokens`` at the end instead of refusing them.

        Returns:
            A (len(texts), dim) float32 array of unit rows, in the order of ``texts``.

        Raises:
            InputError: ``texts`` isn't a sequence of str.
            TextTooLong: a text is too long and ``truncate`` is False.
            EmbeddingError: the model failed.
        """
        ...

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        """As :meth:`embed`, without holding up the event loop."""
        ...
