"""From what callers pass to the arrays that the native index takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.errors import DimensionMismatch, DtypeError, InputError, InvalidId, ShapeError

__all__ = [
    "MAX_ID",
    "MAX_THREADS",
    "IdBitmap",
    "as_filter",
    "as_ids",
    "as_threshold",
    "as_vectors",
    "require_count",
]

MAX_ID = 2**63 - 1
MAX_THREADS = 256  # the core uses no more

_FLOAT32 = np.dtype(np.float32)  # NumPy has one; another that equals it is converted


class IdBitmap:
    """Allowed ids as bits: bit ``i % 8``, lowest first, of byte ``i // 8`` allows id ``i``.

    Args:
        bits: (n,) uint8, for example from ``np.packbits(mask, bitorder="little")``; copied
            only where it isn't contiguous, and not to be changed during a search.

    Raises:
        DtypeError, ShapeError: ``bits`` is something else.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8:
            raise DtypeError(f"expected a uint8 array of bits, got {_kind(bits)}")
        if bits.ndim != 1:
            raise ShapeError(f"expected bits of shape (n,), got {bits.shape}")
        self._bits: NDArray[np.uint8] = np.ascontiguousarray(bits)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """What it was made of, contiguous."""
        return self._bits


def as_ids(ids: ArrayLike) -> NDArray[np.uint64]:
    """Return ids as (n,) contiguous uint64.

    Raises:
        InvalidId: an id is no integer, or negative, or above 2**63 - 1.
        ShapeError: ``ids`` has more than one axis.
    """
    if type(ids) is range and ids and ids.step > 0 and ids[0] >= 0 and ids[-1] <= MAX_ID:
        # Its ends tell of all of them.
        return np.arange(ids[0], ids[-1] + 1, ids.step, dtype=np.uint64)
    array = np.asarray(ids)
    if array.size == 0:
        array = array.astype(np.uint64)
    if array.dtype.kind not in "iu":
        raise InvalidId(f"expected integer ids, got {_kind(ids)}")
    if array.ndim > 1:
        raise ShapeError(f"expected ids of shape (n,), got {array.shape}")
    array = np.atleast_1d(array)
    if array.size and (array.min() < 0 or array.max() > MAX_ID):
        raise InvalidId(f"ids must be from 0 to 2**63 - 1, got {array.min()} to {array.max()}")
    return np.require(array, np.uint64, ["C", "A"])


def as_vectors(vectors: ArrayLike, dtype: str, dim: int) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Return vectors as the native index of ``dtype`` takes them; no copy where they are that.

    That is packed bits for binary, see :func:`_as_bits`, and else contiguous float32 of their own
    shape: float16, float64 and the bfloat16 of ml_dtypes are converted, and integers are taken by
    an index of ``dtype`` int8.

    Raises:
        DtypeError: complex, text, or integers for a float index.
        ShapeError: rows of unequal length.
    """
    if (
        type(vectors) is np.ndarray
        and vectors.dtype is _FLOAT32
        and vectors.flags.c_contiguous
        and vectors.flags.aligned
        and dtype != "binary"
    ):
        return vectors
    try:
        array = np.asarray(vectors)
    except ValueError as error:
        raise ShapeError(f"expected rows of equal length: {error}") from error
    if dtype == "binary":
        return _as_bits(array, dim)
    allowed = "fiu" if dtype == "int8" else "f"
    # Whole numbers in a list are no statement about a type; those in an array are.
    if (
        array.dtype.kind not in allowed
        and array.dtype.name != "bfloat16"
        and (isinstance(vectors, np.ndarray) or array.dtype.kind not in "iu")
    ):
        raise DtypeError(f"expected float vectors, got {_kind(vectors)}")
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the index
        return np.require(array, np.float32, ["C", "A"])


def _as_bits(array: NDArray[Any], dim: int) -> NDArray[np.uint8]:
    """Return bits as contiguous uint8, each vector in ``ceil(dim / 8)`` bytes.

    A bool array (dim,) or (n, dim) is packed; one of uint8 is taken as packed by
    ``numpy.packbits``: the first bit is the highest of the first byte.
    """
    if array.dtype == np.uint8:
        return np.asarray(array, order="C")
    if array.dtype != np.bool_:
        raise DtypeError(f"expected bits, as bool or packed in uint8, got {_kind(array)}")
    if array.ndim not in (1, 2):
        raise ShapeError(f"expected bits of shape (dim,) or (n, dim), got {array.ndim} axes")
    if array.shape[-1] != dim:
        raise DimensionMismatch(
            f"expected vectors of dimension {dim}, got {array.shape[-1]}",
            expected=dim,
            actual=array.shape[-1],
        )
    return np.packbits(array, axis=-1)


def as_filter(
    allowed: IdBitmap | ArrayLike | None,
) -> tuple[NDArray[np.uint64] | None, NDArray[np.uint8] | None]:
    """Return (ids, bits) of a filter, one of them or both None."""
    if allowed is None:
        return None, None
    if isinstance(allowed, IdBitmap):
        return None, allowed.bits
    array = np.asarray(allowed)
    if array.dtype == np.bool_ and array.size:
        if array.ndim != 1:
            raise ShapeError(f"expected a mask of shape (n,), got {array.shape}")
        return None, np.packbits(array, bitorder="little")
    return as_ids(array), None


def require_count(name: str, value: int) -> int:
    """Return ``value`` if it is an integer from 1 to ``MAX_ID``.

    Raises:
        InputError: it isn't.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, np.integer))
        or not 1 <= value <= MAX_ID
    ):
        raise InputError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def as_threshold(value: float) -> float:
    """Return a score to compare with.

    Raises:
        InputError: it is NaN or no number.
    """
    if not isinstance(value, (int, float, np.integer, np.floating)) or value != value:
        raise InputError(f"threshold must be a number, got {value!r}")
    return float(value)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return type(value).__name__
