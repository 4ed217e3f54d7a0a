"""Filters keep what LlamaIndex's own function keeps, on all values that metadata may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from llmspell import Database, QuotaLimits, TenantConfig, errors
from llmspell.integrations import SCHEMA
from llmspell.integrations.llamaindex import LlmspellVectorStore
from llmspell.integrations.llamaindex.filters import narrowed

HELD: list[Any] = [
    *(0, 1, -1, 2.5, 1.0, True, False, None, "", "a", "b", "ab", "1", float("inf")),
    *([], [1], ["a", "b"], (1, "a"), {"b": 1}, [1.0, "ab"]),
]
NODES = [
    *(TextNode(id_=f"{i:02}", metadata={"a": v}, embedding=[1.0, 0.0]) for i, v in enumerate(HELD)),
    TextNode(id_="bare", embedding=[1.0, 0.0]),
    TextNode(id_="dotted", metadata={"a.b": 1, "$x": 2}, embedding=[1.0, 0.0]),
]
VALUES = st.sampled_from([0, 1, 2.5, "", "a", "ab", "1", None]) | st.lists(
    st.sampled_from(["a", "b", "ab", "1"]), max_size=2
)


def make(key: str, operator: FilterOperator, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, operator=operator, value=value)


SINGLE = st.builds(
    make, st.sampled_from(["a", "a.b", "$x", "zz"]), st.sampled_from(FilterOperator), VALUES
)


@pytest.fixture(scope="module")
def store(database: Database) -> Iterator[LlmspellVectorStore]:
    config = TenantConfig(id="nodes", quotas=QuotaLimits.unlimited(), schema=SCHEMA)
    made = LlmspellVectorStore(database.create_tenant(config))
    made.add(NODES)
    yield made
    database.drop_tenant("nodes")


def by_theirs(one: MetadataFilter) -> set[str]:
    kept = set()
    for node in NODES:
        keeps = build_metadata_filter_fn(
            lambda _, n=node: n.metadata, MetadataFilters(filters=[one])
        )
        try:
            if keeps(""):
                kept.add(node.node_id)
        except TypeError:
            continue
    return kept


@settings(max_examples=100, deadline=None)
@given(st.lists(SINGLE, min_size=1, max_size=3), st.sampled_from(FilterCondition))
def test_filters_keep_what_llamaindex_keeps(
    store: LlmspellVectorStore, singles: list[MetadataFilter], condition: FilterCondition
) -> None:
    everything = {node.node_id for node in NODES}
    sets = [by_theirs(one) for one in singles]
    expected = {
        FilterCondition.AND: set.intersection(*sets),
        FilterCondition.OR: set.union(*sets),
        FilterCondition.NOT: everything - set.union(*sets),
    }[condition]
    filters = MetadataFilters(filters=singles, condition=condition)
    # Filters of filters, which their function doesn't take.
    nested = MetadataFilters(filters=[MetadataFilters(filters=[filters])])
    for one in (filters, nested):
        try:
            found = {node.node_id for node in store.get_nodes(filters=one)}
        except errors.InputError:
            assert not all(map(makes_sense, singles))
        else:
            assert found == expected


def makes_sense(one: MetadataFilter) -> bool:
    match one.operator:
        case FilterOperator.TEXT_MATCH | FilterOperator.TEXT_MATCH_INSENSITIVE:
            return isinstance(one.value, str)
        case FilterOperator.IN | FilterOperator.NIN | FilterOperator.ANY | FilterOperator.ALL:
            return isinstance(one.value, (list, str))
        case FilterOperator.GT | FilterOperator.GTE | FilterOperator.LT | FilterOperator.LTE:
            return isinstance(one.value, (int, float, str))
    return True


def test_a_filter_is_answered_by_the_index_where_it_can_be() -> None:
    def narrow(*filters: Any, condition: FilterCondition = FilterCondition.AND) -> Any:
        found = narrowed(MetadataFilters(filters=list(filters), condition=condition), {})
        return found and found["$or"][0]

    equal, above = make("s", FilterOperator.EQ, "x"), make("n", FilterOperator.GT, 5)
    text = make("s", FilterOperator.CONTAINS, "x")
    above_5 = {"$or": [{"n": {"$gt": 5}}, {"n": {"$in": [True, False]}}]}
    assert narrow(equal, above, text) == {"$and": [{"s": {"$in": ["x"]}}, above_5]}
    either = {"$or": [{"s": {"$in": ["x"]}}, above_5]}
    assert narrow(equal, above, condition=FilterCondition.OR) == either
    assert narrow(equal, text, condition=FilterCondition.OR) is None
    assert narrow(equal, condition=FilterCondition.NOT) is None
    assert narrow(make("s", FilterOperator.LT, "x")) == {"$and": [{"s": {"$lt": "x"}}]}
