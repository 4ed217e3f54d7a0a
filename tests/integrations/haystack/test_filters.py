from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from haystack.dataclasses import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.errors import FilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import Database, QuotaLimits, TenantConfig
from llmspell.integrations import SCHEMA
from llmspell.integrations.haystack import LlmspellDocumentStore
from llmspell.integrations.haystack.filters import narrowed

HELD: list[Any] = [
    *(0, 1, -1, 2.5, 1.0, True, False, None, "", "a", "b", "1", 1 << 70, float("inf")),
    *(
        "2024-05-01",
        "2024-05-01T00:00:00",
        "2024-05-01T00:00:00+00:00",
        "2024-05-01T02:00:00+02:00",
    ),
    *(datetime(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC), Decimal(1), Decimal("2.5")),
    *([], [1], ["a", 1], (1,), {"b": 1}, {"b": None}, [{"b": 1}], {"b": {"c": 2}}, b"a"),
]
FIELDS = ["meta.a", "a", "meta.a.b", "meta.a.b.c", "meta.zz", "id", "content", "score", "meta"]
VALUES = st.sampled_from(HELD) | st.lists(st.sampled_from(HELD), max_size=3)
COMPARISONS = st.fixed_dictionaries(
    {
        "field": st.sampled_from(FIELDS),
        "operator": st.sampled_from(["==", "!=", ">", ">=", "<", "<=", "in", "not in"]),
        "value": VALUES,
    }
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.fixed_dictionaries(
        {
            "operator": st.sampled_from(["AND", "OR", "NOT"]),
            "conditions": st.lists(inner, max_size=3),
        }
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def stores(database: Database) -> Iterator[tuple[LlmspellDocumentStore, InMemoryDocumentStore]]:
    documents = [
        Document(id=f"{i:03}", content=None if i % 3 else f"text {i}", meta={"a": value})
        for i, value in enumerate(HELD)
    ]
    documents += [Document(id="x", meta={"a.b": 1}), Document(id="y", meta={}, score=0.5)]
    config = TenantConfig(id="filters", quotas=QuotaLimits.unlimited(), schema=SCHEMA, dim=2)
    database.create_tenant(config)
    ours, theirs = LlmspellDocumentStore(database, "filters"), InMemoryDocumentStore()
    ours.write_documents(documents)
    theirs.write_documents(documents)
    yield ours, theirs
    theirs.shutdown()
    database.drop_tenant("filters")


def outcome(
    store: LlmspellDocumentStore | InMemoryDocumentStore, filters: dict[str, Any]
) -> list[str] | type[Exception]:
    try:
        return sorted(one.id for one in store.filter_documents(filters))
    except (FilterError, TypeError, ValueError) as error:
        return type(error)


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_filters_keep_what_haystacks_own_store_keeps(
    stores: tuple[LlmspellDocumentStore, InMemoryDocumentStore], filters: dict[str, Any]
) -> None:
    ours, theirs = (outcome(store, filters) for store in stores)
    # Theirs raises where any document can't be compared, ours where one that may match can't, or
    # none could be.
    if isinstance(ours, type):
        assert ours is FilterError
        assert isinstance(theirs, type) or has_bound_without_order(filters)
    elif isinstance(theirs, list):
        assert ours == theirs


def has_bound_without_order(filters: dict[str, Any]) -> bool:
    if "field" in filters:
        takes_list = "in" in filters["operator"]
        is_range = filters["operator"][0] in "<>"
        return (takes_list and not isinstance(filters["value"], list)) or (
            is_range and isinstance(filters["value"], (list, str))
        )
    return any(map(has_bound_without_order, filters["conditions"]))


def test_a_filter_is_answered_by_the_index_where_it_can_be() -> None:
    def by(field: str, operator: str, value: Any) -> dict[str, Any]:
        return {"field": field, "operator": operator, "value": value}

    def narrow(filters: dict[str, Any]) -> Any:
        found = narrowed(filters, {})
        return found and found["$or"][0]

    assert narrow(by("meta.a.b", "==", "x")) == {"a.b": {"$in": ["x"]}}
    assert narrow(by("meta.n", "in", [2, "x"])) == {"n": {"$in": [2, "x"]}}
    assert narrow(by("meta.n", ">", 2)) == {
        "$or": [{"n": {"$gt": 2}}, {"n": {"$in": [True, False]}}]
    }
    either = {"operator": "OR", "conditions": [by("meta.n", "==", 5), by("meta.s", "==", "x")]}
    assert narrow(either) == {"$or": [{"n": {"$in": [5]}}, {"s": {"$in": ["x"]}}]}
    both = {"operator": "AND", "conditions": [by("meta.n", "==", 5), by("meta.s", "!=", "x")]}
    assert narrow(both) == {"$and": [{"n": {"$in": [5]}}]}
    for left in (by("content", "==", "x"), by("meta.s", "==", "2024-05-01"), by("meta.s", "!=", 1)):
        assert narrow(left) is None
        assert narrow({"operator": "OR", "conditions": [by("meta.n", "==", 5), left]}) is None
    assert narrowed(by("meta.n", "==", 1), {"n": "int"}) is None


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.a", "operator": "~", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": {}},
        {"operator": "AND", "conditions": ["a"]},
        {"field": 1, "operator": "==", "value": 1},
        {"field": "meta.a", "operator": "in", "value": "abc"},
        {"field": "meta.a", "operator": "<", "value": "soon"},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_without_a_document(
    stores: tuple[LlmspellDocumentStore, InMemoryDocumentStore], filters: dict[str, Any]
) -> None:
    for call in (stores[0].filter_documents, stores[0].delete_by_filter):
        with pytest.raises(FilterError):
            call(filters)
