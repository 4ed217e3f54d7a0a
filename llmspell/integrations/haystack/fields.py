"""What a document store can tell of the metadata of its documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmspell.integrations.haystack.framework import Document
from llmspell.tenancy import Record

__all__ = ["FieldQueries"]


class FieldQueries:
    """Each reads the documents that match, page by page; nothing is kept between calls.

    A field may be called by its name, or with ``meta.`` before it.
    """

    def _matching(
        self, filters: Mapping[str, Any] | None, *, vectors: bool = False
    ) -> Iterable[tuple[Record, Document]]:
        raise NotImplementedError

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents match."""
        return sum(1 for _ in self._matching(filters))

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """How many values each field has among the documents that match; None doesn't count."""
        seen: dict[str, set[Any]] = {_name(field): set() for field in metadata_fields}
        for _, document in self._matching(filters):
            for name, values in seen.items():
                value = document.meta.get(name)
                if value is not None:
                    values.add(_hashable(value))
        return {name: len(values) for name, values in seen.items()}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Each field with its "type": keyword, int, float or boolean, of the last value met."""
        kinds: dict[str, str] = {}
        for _, document in self._matching(None):
            for name, value in document.meta.items():
                if isinstance(value, bool):
                    kinds[name] = "boolean"
                elif isinstance(value, (int, float)):
                    kinds[name] = type(value).__name__
                elif value is not None:
                    kinds[name] = "keyword"
        return {name: {"type": kind} for name, kind in kinds.items()}

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value of a field, "min" and "max".

        Both are None where it has none, or values that have no order.
        """
        name = _name(metadata_field)
        values: list[Any] = [
            value
            for _, document in self._matching(None)
            if isinstance(value := document.meta.get(name), (int, float, str))
        ]
        try:
            return {"min": min(values, default=None), "max": max(values, default=None)}
        except TypeError:
            return {"min": None, "max": None}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """A page of the values of a field, in the order of their texts, and how many there are.

        Args:
            search_term: is in the text of a value, whatever its case.
            from_: where the page begins.
            size: values of a page, at most.
            filters: documents whose values these are; all where None.
        """
        name = _name(metadata_field)
        values: dict[tuple[str, Any], Any] = {}
        for _, document in self._matching(filters):
            value = document.meta.get(name)
            if value is not None and (search_term or "").lower() in str(value).lower():
                values.setdefault((type(value).__name__, _hashable(value)), value)
        ordered = sorted(values, key=lambda key: (str(values[key]), key[0]))
        return [values[key] for key in ordered[from_ : from_ + size]], len(ordered)


def _name(field: str) -> str:
    return field.removeprefix("meta.")


def _hashable(value: Any) -> Any:
    """Something that is equal where values are, and can be in a set."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(map(_hashable, value))
    if isinstance(value, dict):
        return "dict", frozenset((_hashable(k), _hashable(v)) for k, v in value.items())
    return frozenset(value) if isinstance(value, set) else value
