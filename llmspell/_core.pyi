from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Result = TypeVar("_Result", bound=tuple[Any, ...])

class CancelToken:
    def __init__(self) -> None: ...
    def cancel(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...

class Watch:
    def __init__(self, timeout: float | None, token: CancelToken | None) -> None: ...
    def counters(self) -> tuple[int, int, int, int, int, str]: ...

class Pages:
    def next(
        self, size: int, watch: Watch | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

class Index:
    def __init__(
        self,
        *,
        dim: int,
        metric: str,
        dtype: str,
        m: int,
        max_neighbors: int,
        ef_construction: int,
        ef_search: int,
        graph_threshold: int,
        seed: int,
        quantization: str,
    ) -> None: ...
    def add(
        self,
        labels: NDArray[np.uint64],
        vectors: NDArray[np.float32] | NDArray[np.uint8],
        replace: bool,
        threads: int,
    ) -> None: ...
    def remove(self, labels: NDArray[np.uint64]) -> int: ...
    def ids(self) -> NDArray[np.uint64]: ...
    def get(self, labels: NDArray[np.uint64]) -> NDArray[np.float32] | NDArray[np.uint8]: ...
    def search(
        self,
        queries: NDArray[np.float32] | NDArray[np.uint8],
        k: int,
        ef: int,
        threshold: float | None,
        ids: NDArray[np.uint64] | None,
        bits: NDArray[np.uint8] | None,
        threads: int,
        watch: Watch | None = None,
        recall: float = 0.0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def search_stored(
        self,
        stored: NDArray[np.uint64],
        one: bool,
        keep_self: bool,
        k: int,
        ef: int,
        threshold: float | None,
        ids: NDArray[np.uint64] | None,
        bits: NDArray[np.uint8] | None,
        threads: int,
        watch: Watch | None = None,
        recall: float = 0.0,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def calibrate(
        self, k: int, recall: float, threads: int, watch: Watch | None = None
    ) -> None: ...
    def compact(self, watch: Watch | None = None) -> None: ...
    def calibration(self) -> list[dict[str, Any]]: ...
    def adopt(
        self,
        k: int,
        quantized: bool,
        vectors: int,
        changed: float,
        stored_queries: int,
        asked_queries: int,
        points: list[tuple[int, float, float]],
    ) -> None: ...
    def curve_for(self, k: int) -> tuple[int, bool] | None: ...
    def range_search(
        self,
        queries: NDArray[np.float32] | NDArray[np.uint8],
        threshold: float,
        ef: int,
        ids: NDArray[np.uint64] | None,
        bits: NDArray[np.uint8] | None,
        threads: int,
        watch: Watch | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
    def iterate(
        self,
        query: NDArray[np.float32] | NDArray[np.uint8],
        ef: int,
        ids: NDArray[np.uint64] | None,
        bits: NDArray[np.uint8] | None,
    ) -> Pages: ...
    def save(self, path: str | bytes, tag: int) -> None: ...
    @staticmethod
    def load(path: str | bytes, mapped: str) -> tuple[Index, int]: ...
    def verify(self) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def audit(self, sample: int, seed: int, threads: int, repair: bool) -> dict[str, Any]: ...
    def __len__(self) -> int: ...
    def __contains__(self, label: int) -> bool: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def params(self) -> dict[str, Any]: ...

def estimate_memory(
    *,
    count: int,
    dim: int,
    metric: str,
    dtype: str,
    m: int,
    max_neighbors: int,
    graph_threshold: int,
    quantization: str,
    code_groups: int,
) -> tuple[dict[str, int], int, int]: ...
def width_for(points: list[tuple[int, float, float]], recall: float) -> int | None: ...
def check(vectors: NDArray[np.float32], metric: str, dtype: str) -> None: ...
def simd_level() -> str: ...
def simd_levels() -> list[str]: ...
def distance(
    metric: str,
    query: NDArray[np.float32] | NDArray[np.int8] | NDArray[np.uint8],
    row: NDArray[np.float32]
    | NDArray[np.float16]
    | NDArray[np.uint16]
    | NDArray[np.int8]
    | NDArray[np.uint8],
    level: str | None = None,
) -> float: ...
def distances(
    metric: str,
    query: NDArray[np.float32] | NDArray[np.int8] | NDArray[np.uint8],
    rows: NDArray[np.float32]
    | NDArray[np.float16]
    | NDArray[np.uint16]
    | NDArray[np.int8]
    | NDArray[np.uint8],
    level: str | None = None,
) -> NDArray[np.float32]: ...

# Called with (query, k, ef, threads, recall, bits); returns None where that is for Index.search.
def one_search(
    index: Index, result: type[_Result]
) -> Callable[
    [object, int, int | None, int | None, float | None, NDArray[np.uint8] | None], _Result | None
]: ...
