"""What goes into a model and what comes out of it, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import InputError, InvalidEmbedding

__all__ = ["as_texts", "unit_rows"]


def as_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        InputError: one str in place of a sequence, something that is no str, or no valid Unicode.
    """
    if isinstance(texts, (str, bytes)):
        raise InputError("texts must be a sequence of str, got one text; wrap it in a list")
    found = list(texts)
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"text {position} must be a str, got {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"text {position} isn't valid Unicode: {error.reason}") from error
    return found


def unit_rows(rows: object, *, count: int, dim: int, model: str) -> NDArray[np.float32]:
    """Vectors of a model as (count, dim) float32 unit rows.

    Raises:
        InvalidEmbedding: another number or length of vectors, NaN, infinity, a vector of zeros, or
            no numbers.
    """
    try:
        wide = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidEmbedding(
            f"{model} gave no {count} equally long vectors of numbers"
        ) from error
    if not count and not wide.size:
        return np.empty((0, dim), dtype=np.float32)
    if wide.ndim != 2 or len(wide) != count:
        raise InvalidEmbedding(f"{model} gave an array {wide.shape} for {count} texts")
    if wide.shape[1] != dim:
        raise InvalidEmbedding(
            f"{model} gave vectors of {wide.shape[1]} dimensions where {dim} were expected; give "
            "the model's own as dim"
        )
    if not np.isfinite(wide).all():
        raise InvalidEmbedding(f"{model} gave NaN or infinity in a vector")
    # By the largest part first: the square of a part may be beyond float64.
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    if not largest.all():
        raise InvalidEmbedding(f"{model} gave a vector of zeros, which has no direction")
    wide = wide / largest
    unit: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
