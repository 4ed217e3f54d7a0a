"""`estimate_memory`: what an index will take, before there is one."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell import _core
from llmspell.config import ElementType, IndexParams, Metric
from llmspell.errors import InputError
from llmspell.index.arrays import require_count
from llmspell.index.stats import IndexMemory

__all__ = ["MemoryEstimate", "estimate_memory"]

MAX_VECTORS = (1 << 32) - 2
MAX_CODE_GROUPS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that an index will take; see :func:`llmspell.estimate_memory`.

    Attributes:
        built: by part, where all vectors come by one call of ``add``, and searches follow one
            after the other.
        grown: in all, at most, where vectors come little by little: when there is no room left,
            room is made for half as many again.
        peak: for a moment, while an index makes room or learns codes. What the caller holds, the
            vectors above all, is not in it.
    """

    built: IndexMemory
    grown: int
    peak: int

    @property
    def total(self) -> int:
        """What ``built`` is in all."""
        return self.built.total


def estimate_memory(
    n: int,
    dim: int,
    params: IndexParams | None = None,
    *,
    metric: Metric = "cosine",
    dtype: ElementType = "float32",
    code_groups: int | None = None,
) -> MemoryEstimate:
    """Return what an :class:`llmspell.Index` of ``n`` vectors will take, without making one.

    ``total`` is within 5 % of what ``stats().memory.total`` then gives for some thousand vectors or
    more; with ``quantization="pq"`` where ``code_groups`` is known, else at least as much. The
    process takes more: the interpreter, the vectors that the caller holds.

    Args:
        n: vectors, 0 to 2**32 - 2.
        dim, params, metric, dtype: as for :class:`llmspell.Index`.
        code_groups: with ``quantization="pq"`` how many groups a code will have, which depends on
            the vectors: ``stats().code_groups`` of an index of some ten thousand of them says it,
            0 that searches will not go by codes. None counts with 128, the most.

    Raises:
        ConfigError: there is no such index.
        InputError: ``n`` or ``code_groups`` is out of range.
    """
    p = IndexParams() if params is None else params
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MAX_VECTORS:
        raise InputError(f"n must be an int from 0 to {MAX_VECTORS}, got {n!r}")
    groups = MAX_CODE_GROUPS if code_groups is None else code_groups
    if isinstance(groups, bool) or not isinstance(groups, int) or groups not in _CODE_GROUPS:
        raise InputError(
            f"code_groups must be a multiple of 4 from 0 to {MAX_CODE_GROUPS}, got {groups!r}"
        )
    built, grown, peak = _core.estimate_memory(
        count=n,
        dim=require_count("dim", dim),
        metric=metric,
        dtype=dtype,
        m=p.m,
        max_neighbors=2 * p.m if p.max_neighbors is None else p.max_neighbors,
        graph_threshold=p.graph_threshold,
        quantization=p.quantization,
        code_groups=groups,
    )
    return MemoryEstimate(built=IndexMemory(**built), grown=grown, peak=peak)


_CODE_GROUPS = range(0, MAX_CODE_GROUPS + 1, 4)
