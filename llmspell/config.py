"""Settings: frozen, keyword-only, validated when they are made, printable."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, Self, get_args

from llmspell.errors import ConfigError

__all__ = [
    "QUOTA_NAMES",
    "ElementType",
    "FieldType",
    "IndexParams",
    "IsolationLevel",
    "Metric",
    "QuotaLimits",
    "Schema",
    "TenantConfig",
]

Metric = Literal["ip", "cosine", "l2", "l1", "hamming"]
ElementType = Literal["float32", "float16", "bfloat16", "int8", "binary"]
Quantization = Literal["none", "pq", "sq4"]
FieldType = Literal["string", "int", "float", "bool", "time", "unindexed"]

MAX_TENANT_ID_CHARS = 128
MAX_DIM = 16_384


def _require_cost(name: str, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= MAX_COST:  # type: ignore[operator]
        raise ConfigError(f"{name} must be a number from 0 to {MAX_COST:,}, got {value!r}")


def _require_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} must be an int from {low} to {high}, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexParams:
    """How a vector index is built and searched.

    Args:
        m: links a node gets per upper layer of the graph, 2 to 100 (Malkov and Yashunin 2018,
            arXiv:1603.09320, call it M).
        ef_construction: candidates kept while a vector is linked in, at least ``m``. With
            ``quantization="pq"`` a first graph is linked in two passes, by half of this and by
            three quarters.
        ef_search: candidates kept while searching, where a search doesn't say.
        max_neighbors: links per node on the bottom layer, ``m`` to ``4 * m``; None means ``2 * m``.
        graph_threshold: an index of fewer vectors answers exactly, by a sweep over all of them.
        seed: of the level generator; equal seeds and one thread build equal graphs.
        quantization: ``"pq"`` keeps product-quantised codes of a node's neighbours beside its links
            (Jégou et al. 2011; Gou et al. 2025, arXiv:2411.12229): searches walk by estimates from
            these and order what they find by the vectors. It takes up to 72 bytes more for each of
            the ``max_neighbors`` places of a vector, fewer where the vectors vary in few
            directions, and half a byte a dimension where rows are more than 3.5 times as long as
            that. ``"sq4"`` keeps four bits a dimension of each vector: searches walk by these and
            compare the few that they can't tell apart by the vectors, which are read for nothing
            else. Codes of either kind are for the metrics ip, cosine and l2, and are left out where
            they can't tell near vectors from others.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 100
    max_neighbors: int | None = None
    graph_threshold: int = 2_000
    seed: int = 42
    quantization: Quantization = "none"

    def __post_init__(self) -> None:
        _require_int("m", self.m, 2, 100)
        _require_int("ef_construction", self.ef_construction, self.m, 1 << 20)
        _require_int("ef_search", self.ef_search, 1, 1 << 20)
        if self.max_neighbors is not None:
            _require_int("max_neighbors", self.max_neighbors, self.m, 4 * self.m)
        _require_int("graph_threshold", self.graph_threshold, 0, 1 << 32)
        _require_int("seed", self.seed, 0, (1 << 63) - 1)
        if self.quantization not in ("none", "pq", "sq4"):
            raise ConfigError(
                f"quantization must be 'none', 'pq' or 'sq4', got {self.quantization!r}"
            )

    @classmethod
    def memory_optimized(cls) -> Self:
        """The least memory: save the index and load it with ``mmap="vectors"``.

        Searches walk by four bits a dimension and read the vectors of the last few from the file.
        It is for a hundred dimensions or more and the metrics ip, cosine and l2; an index that
        holds its vectors in memory has its four-bit rows besides.
        """
        return cls(m=16, ef_construction=200, ef_search=100, max_neighbors=32, quantization="sq4")

    @classmethod
    def balanced(cls) -> Self:
        """The default: about 10 to 100 thousand vectors."""
        return cls(m=16, ef_construction=200, ef_search=100, max_neighbors=32)

    @classmethod
    def performance(cls) -> Self:
        """More links, better graph: about 100 thousand to a million vectors."""
        return cls(m=32, ef_construction=400, ef_search=200, max_neighbors=64)

    @classmethod
    def distributed(cls) -> Self:
        """The best graph, for one shard of a set of more than a million vectors."""
        return cls(m=48, ef_construction=500, ef_search=300, max_neighbors=96)

    @classmethod
    def for_scale(cls, n: int) -> Self:
        """Parameters for ``n`` vectors in memory: few links up to 10K, then presets by size.

        They are :meth:`balanced` up to 100K, :meth:`performance` up to 1M, and
        :meth:`distributed`.
        """
        _require_int("n", n, 0, 1 << 32)
        if n <= 10_000:
            return cls(m=8, ef_construction=100, ef_search=50, max_neighbors=16)
        if n <= 100_000:
            return cls.balanced()
        if n <= 1_000_000:
            return cls.performance()
        return cls.distributed()


class IsolationLevel(enum.Enum):
    """How far a tenant's data is kept from others in one process.

    Every tenant has its own directory, database and index at every level.
    """

    STRICT = "strict"


#: Fields of :class:`QuotaLimits`, in the order in which the ledger counts them.
QUOTA_NAMES: Final = (
    "max_documents",
    "max_vectors",
    "max_storage_mb",
    "max_dimensions",
    "max_embeddings_per_day",
    "max_tokens_per_day",
    "max_cost_per_month",
    "max_api_calls_per_minute",
    "max_queries_per_second",
)
_DAILY: Final = ("max_embeddings_per_day", "max_tokens_per_day")
MAX_LIMIT: Final = 1 << 40
MAX_DAILY: Final = (1 << 36) - 1  # what the ledger can count of a day
MAX_COST: Final = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class QuotaLimits:
    """What a tenant may use. None means unlimited; the defaults are the production guide's.

    Args:
        max_documents: ingested documents held at one time.
        max_vectors: vectors held at one time.
        max_storage_mb: vectors, texts and metadata held at one time, in MiB.
        max_dimensions: dimension of the vectors.
        max_api_calls_per_minute: operations on the handle; a rate with a burst of one minute's
            worth (GCRA).
        max_queries_per_second: searches; a rate with a burst of one second's worth.
        max_embeddings_per_day: texts embedded, per calendar day in UTC.
        max_tokens_per_day: tokens of language models, per calendar day in UTC.
        max_cost_per_month: money spent, per calendar month in UTC; an int or float of whatever unit
            costs are reported in, up to a million. The ledger counts millionths of it.
        soft: names of the quotas among these that warn and count, but refuse nothing.

    Raises:
        ConfigError: a limit is no number or out of range, or a soft quota is unknown or unlimited.
    """

    max_documents: int | None = 10_000
    max_vectors: int | None = 1_000_000
    max_storage_mb: int | None = 1_024
    max_dimensions: int | None = None
    max_api_calls_per_minute: int | None = 100
    max_queries_per_second: int | None = None
    max_embeddings_per_day: int | None = 50_000
    max_tokens_per_day: int | None = None
    max_cost_per_month: float | None = None
    soft: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in QUOTA_NAMES:
            value = getattr(self, name)
            if value is None:
                continue
            if name == "max_cost_per_month":
                _require_cost(name, value)
            else:
                _require_int(name, value, 0, MAX_DAILY if name in _DAILY else MAX_LIMIT)
        given: object = self.soft
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ConfigError(f"soft must be a set of quota names, got {given!r}")
        try:
            # The catalog keeps it as a list.
            object.__setattr__(self, "soft", frozenset(given))
        except TypeError:
            raise ConfigError(f"soft must be a set of quota names, got {given!r}") from None
        for name in sorted(self.soft, key=repr):
            if name not in QUOTA_NAMES:
                raise ConfigError(f"soft names {name!r}, which is none of {', '.join(QUOTA_NAMES)}")
            if getattr(self, name) is None:
                raise ConfigError(f"soft names {name}, which is unlimited; give it a limit")

    @classmethod
    def unlimited(cls) -> Self:
        """No limit on anything; use is still counted."""
        limits: dict[str, Any] = dict.fromkeys(QUOTA_NAMES)
        return cls(**limits)


class Schema(dict[str, FieldType]):
    """Types of metadata fields by dotted path; validated, and never changed.

    It is a dict, so that what walks over settings (``dataclasses.asdict``, msgpack) takes it.
    """

    __slots__ = ()

    def __init__(
        self, types: Mapping[str, FieldType] | Iterable[tuple[str, FieldType]] = ()
    ) -> None:
        """Raises :class:`ConfigError` for a path or a type that there can't be."""
        try:
            super().__init__(types)
        except (TypeError, ValueError):
            raise ConfigError(f"schema must map field paths to types, got {types!r}") from None
        for path, declared in self.items():
            if not isinstance(path, str) or not all(path.split(".")) or path.startswith("$"):
                raise ConfigError(
                    f"schema: a field is a dotted path such as 'author.name', got {path!r}"
                )
            if declared not in get_args(FieldType):
                raise ConfigError(
                    f"schema[{path!r}] must be one of {', '.join(get_args(FieldType))}, "
                    f"got {declared!r}"
                )

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[Schema], tuple[dict[str, FieldType]]]:
        return type(self), (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a Schema can't be changed; make another from dict(schema)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


@dataclass(frozen=True, kw_only=True, slots=True)
class TenantConfig:
    """What a tenant is created with.

    Args:
        id: 1 to 128 characters of any script; it never becomes a path.
        name: for people; the id where empty.
        quotas: what the tenant may use.
        dim: dimension of its vectors; None takes that of the first vectors written.
        metric: how vectors are compared: ip, cosine or l2.
        index: parameters of its vector index.
        isolation_level: see :class:`IsolationLevel`.
        schema: types of metadata fields, by dotted path: ``"string"``, ``"int"``, ``"float"`` (a
            whole number too), ``"bool"``, ``"time"`` (ISO 8601 strings become times) or
            ``"unindexed"`` (kept, but no filter sees it). Fields that it doesn't name take values
            of any kind.
    """

    id: str
    name: str = ""
    quotas: QuotaLimits = QuotaLimits()
    dim: int | None = None
    metric: Metric = "cosine"
    index: IndexParams = IndexParams()
    isolation_level: IsolationLevel = IsolationLevel.STRICT
    schema: Mapping[str, FieldType] = field(default_factory=Schema)

    def __post_init__(self) -> None:
        if type(self.schema) is not Schema:
            object.__setattr__(self, "schema", Schema(self.schema))
        if not isinstance(self.id, str) or not 1 <= len(self.id) <= MAX_TENANT_ID_CHARS:
            raise ConfigError(
                f"id must be a str of 1 to {MAX_TENANT_ID_CHARS} characters, got {self.id!r}"
            )
        _require(self, "name", str)
        for named in ("id", "name"):
            text: str = getattr(self, named)
            if "\0" in text or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
                raise ConfigError(f"{named} must not hold NUL or unpaired surrogates, got {text!r}")
        _require(self, "quotas", QuotaLimits)
        _require(self, "index", IndexParams)
        _require(self, "isolation_level", IsolationLevel)
        if self.dim is not None:
            _require_int("dim", self.dim, 1, MAX_DIM)
        require_metric(self.metric)


def _require(config: TenantConfig, field: str, kind: type) -> None:
    value = getattr(config, field)
    if not isinstance(value, kind):
        raise ConfigError(f"{field} must be of type {kind.__name__}, got {value!r}")


def require_metric(metric: str) -> None:
    """Raise :class:`ConfigError` unless tenants may have ``metric``."""
    if metric not in ("ip", "cosine", "l2"):
        raise ConfigError(f"a tenant's metric must be 'ip', 'cosine' or 'l2', got {metric!r}")
