"""Evaluation of a filter over the fields of a payload index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyroaring import BitMap64

from llmspell.storage.field import Field
from llmspell.storage.filters import AllOf, AnyOf, Exists, Filter, In, Not, Prefix, Range
from llmspell.storage.kinds import NONE
from llmspell.storage.spans import Span, common, spans_of

__all__ = ["Evaluation"]

_NO_FIELD = Field()


class Evaluation:
    """Answers filters while its fields don't change."""

    __slots__ = ("_all", "_fields")

    def __init__(self, fields: Mapping[str, Field], rows: BitMap64) -> None:
        """``rows`` are all there are."""
        self._fields = fields
        self._all = rows

    def rows(self, condition: Filter) -> BitMap64:
        """Rows that it keeps; not to be changed."""
        match condition:
            case In(name, values):
                found = self._field(name).rows(spans_of(condition))
                return found | self._missing(name) if NONE in values else found
            case Range(name) | Prefix(name):
                return self._field(name).rows(spans_of(condition))
            case Exists(name):
                return self._field(name).present()
            case Not(part):
                return self._all - self.rows(part)
            case AllOf(parts):
                return self._all_of(parts)
            case AnyOf(parts):
                return BitMap64.union(*map(self.rows, parts))

    def _all_of(self, parts: Iterable[Filter]) -> BitMap64:
        """The rarest part first, for there may be nothing left to look for."""
        rest, ranges = self._ranges(parts)
        ordered: list[tuple[int, Filter | tuple[Field, list[Span]]]] = [
            (self._estimate(part), part) for part in rest
        ]
        ordered += [(field.count(spans), (field, spans)) for field, spans in ranges]
        ordered.sort(key=lambda pair: pair[0])
        found: BitMap64 | None = None
        for _, part in ordered:
            if found is not None and not found:
                break
            if isinstance(part, tuple):
                kept = part[0].rows(part[1])
            elif isinstance(part, Not):
                found = (self._all if found is None else found) - self.rows(part.part)
                continue
            else:
                kept = self.rows(part)
            found = kept if found is None else found & kept
        return BitMap64(self._all) if found is None else found

    def _ranges(
        self, parts: Iterable[Filter]
    ) -> tuple[list[Filter], list[tuple[Field, list[Span]]]]:
        """Parts, without the ranges of fields of one value a row: these are one range together."""
        rest: list[Filter] = []
        ranges: dict[str, list[Span]] = {}
        for part in parts:
            if isinstance(part, AllOf):
                inner, of_fields = self._flat(part)
                rest += inner
                more: Iterable[Range] = of_fields
            elif isinstance(part, Range) and not self._field(part.field).has_several:
                more = (part,)
            else:
                rest.append(part)
                continue
            for one in more:
                spans = spans_of(one)
                known = ranges.get(one.field)
                ranges[one.field] = spans if known is None else common(known, spans)
        return rest, [(self._field(name), spans) for name, spans in ranges.items()]

    def _flat(self, nested: AllOf) -> tuple[list[Filter], list[Range]]:
        rest: list[Filter] = []
        ranges: list[Range] = []
        for part in nested.parts:
            if isinstance(part, AllOf):
                inner, of_fields = self._flat(part)
                rest += inner
                ranges += of_fields
            elif isinstance(part, Range) and not self._field(part.field).has_several:
                ranges.append(part)
            else:
                rest.append(part)
        return rest, ranges

    def _estimate(self, condition: Filter) -> int:
        match condition:
            case In(name, values):
                found = self._field(name).count(spans_of(condition))
                return found + len(self._missing(name)) if NONE in values else found
            case Range(name) | Prefix(name):
                return self._field(name).count(spans_of(condition))
            case Exists(name):
                return len(self._field(name).present())
            case Not():
                return len(self._all)
            case AllOf(parts):
                return min(map(self._estimate, parts), default=len(self._all))
            case AnyOf(parts):
                return sum(map(self._estimate, parts))

    def _missing(self, name: str) -> BitMap64:
        return self._all - self._field(name).present()

    def _field(self, name: str) -> Field:
        return self._fields.get(name, _NO_FIELD)
