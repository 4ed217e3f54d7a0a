"""The filter language, and the payload index that answers it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.errors import FilterError
from llmspell.storage.filters import parse
from llmspell.storage.payload import PayloadIndex

ROWS: list[dict[str, Any]] = [
    {"lang": "en", "year": 2020, "author": {"name": "Ada", "age": 36}},
    {"lang": "de", "year": 2021.5, "tags": ["a", "b"]},
    {"lang": "en", "year": None, "ok": True},
    {"year": "2020", "ok": False, "tags": []},
    {},
    {"ok": 1, "author": {"name": "Bob"}, "parts": [{"n": 1}, {"n": 2}]},
]


@pytest.fixture(scope="module")
def payload() -> PayloadIndex:
    index = PayloadIndex()
    for row, metadata in enumerate(ROWS):
        index.add(row, metadata)
    return index


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"lang": "en"}, [0, 2]),
        ({"lang": {"$eq": "de"}}, [1]),
        ({"lang": {"$ne": "en"}}, [1, 3, 4, 5]),
        ({"lang": {"$in": ["en", "de", "fr"]}}, [0, 1, 2]),
        ({"lang": {"$nin": ["en", "de"]}}, [3, 4, 5]),
        ({"lang": {"$in": []}}, []),
        ({"year": 2020}, [0]),
        ({"year": "2020"}, [3]),
        ({"year": {"$gt": 2020}}, [1]),
        ({"year": {"$gte": 2020, "$lt": 2021.5}}, [0]),
        ({"year": {"$lte": 2021.5}}, [0, 1]),
        ({"year": {"$gte": "2"}}, [3]),
        ({"year": None}, [2, 4, 5]),
        ({"year": {"$exists": True}}, [0, 1, 2, 3]),
        ({"year": {"$exists": False}}, [4, 5]),
        ({"ok": True}, [2]),
        ({"ok": 1}, [5]),
        ({"ok": False}, [3]),
        ({"author.name": "Ada"}, [0]),
        ({"author.age": {"$lt": 40}}, [0]),
        ({"author": {"$exists": True}}, [0, 5]),
        ({"tags": "b"}, [1]),
        ({"tags": {"$exists": True}}, [1, 3]),
        ({"parts.n": 2}, [5]),
        ({"lang": "en", "year": 2020}, [0]),
        ({"$and": [{"lang": "en"}, {"ok": True}]}, [2]),
        ({"$or": [{"lang": "de"}, {"ok": False}]}, [1, 3]),
        ({"$not": {"lang": "en"}}, [1, 3, 4, 5]),
        ({"year": {"$not": {"$gt": 2020}}}, [0, 2, 3, 4, 5]),
        ({"nowhere": "x"}, []),
        ({"nowhere": {"$gt": 1}}, []),
    ],
)
def test_filter_keeps_these_rows(payload: PayloadIndex, source: Any, rows: list[int]) -> None:
    assert list(payload.matching(parse(source))) == rows


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["lang"], r"^filter: expected a mapping, got list"),
        ({"lang": {"$like": "e"}}, r"^filter\['lang'\]\['\$like'\]: unknown operator"),
        ({"$nor": []}, r"^filter\['\$nor'\]: unknown"),
        ({"$or": []}, r"^filter\['\$or'\]: expected a list of filters"),
        ({"$and": {"a": 1}}, r"^filter\['\$and'\]: expected a list"),
        ({"$or": [{"a": 1}, 5]}, r"^filter\['\$or'\]\[1\]: expected a mapping, got int 5"),
        ({"a": {}}, r"^filter\['a'\]: no operator"),
        ({"a": {"b": 1}}, r"^filter\['a'\]\['b'\]: unknown operator"),
        ({"a": {"$in": "x"}}, r"^filter\['a'\]\['\$in'\]: expected a list"),
        ({"a": {"$in": [1, []]}}, r"\['\$in'\]\[1\]: expected a str, number"),
        ({"a": {"$gt": None}}, r"\['\$gt'\]: only numbers and strings"),
        ({"a": {"$gt": True}}, r"\['\$gt'\]: only numbers and strings"),
        ({"a": {"$exists": 1}}, r"\['\$exists'\]: expected True or False"),
        ({"a": float("nan")}, r"^filter\['a'\]: expected"),
        ({"a": object()}, r"^filter\['a'\]: expected"),
        ({1: 2}, r"^filter\[1\]: a field name"),
        ({"": 2}, r"^filter\[''\]: a field name"),
    ],
)
def test_error_points_at_the_bad_part(source: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(source)


def test_endless_nesting_is_refused() -> None:
    source: dict[str, Any] = {"a": 1}
    for _ in range(100):
        source = {"$not": source}
    with pytest.raises(FilterError, match="32 deep"):
        parse(source)


def test_removed_rows_are_forgotten() -> None:
    index = PayloadIndex()
    for row, metadata in enumerate(ROWS):
        index.add(row, metadata)
    assert list(index.matching(parse({"year": {"$gt": 0}}))) == [0, 1]
    for row, metadata in enumerate(ROWS):
        index.remove(row, metadata)
    assert len(index) == 0
    assert list(index.matching(parse({}))) == []
    assert list(index.matching(parse({"year": {"$gt": 0}}))) == []
    index.add(9, {"year": 5})
    assert list(index.matching(parse({"year": {"$gt": 0}}))) == [9]


def test_answer_is_kept_only_until_the_next_write() -> None:
    index = PayloadIndex()
    index.add(1, {"n": 1})
    assert index.matching(parse({"n": 1})) is index.matching(parse({"n": 1}))
    index.add(2, {"n": 1})
    assert list(index.matching(parse({"n": 1}))) == [1, 2]
    index.remove(1, {"n": 1})
    assert list(index.matching(parse({"n": 1}))) == [2]


def test_kept_answers_tell_true_from_one() -> None:
    index = PayloadIndex()
    index.add(1, {"x": 1})
    index.add(2, {"x": True})
    assert list(index.matching(parse({"x": 1}))) == [1]
    assert list(index.matching(parse({"x": True}))) == [2]
    assert list(index.matching(parse({"x": 1.0}))) == [1]


def test_many_filters_are_answered_beyond_what_is_kept() -> None:
    index = PayloadIndex()
    for row in range(200):
        index.add(row, {"n": row})
    assert all(list(index.matching(parse({"n": row}))) == [row] for row in range(200))


def test_row_that_repeats_a_value_is_found_and_removed() -> None:
    index = PayloadIndex()
    index.add(1, {"tags": ["a", "a"]})
    assert list(index.matching(parse({"tags": "a"}))) == [1]
    index.remove(1, {"tags": ["a", "a"]})
    assert list(index.matching(parse({"tags": "a"}))) == []


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "1"])
NUMBERS = st.integers(-3, 3)
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), SCALARS),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS),
    st.tuples(st.just("$exists"), st.booleans()),
)
CONDITIONS = st.builds(lambda f, leaf: {f: {leaf[0]: leaf[1]}}, st.sampled_from("xyz"), LEAVES)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=6,
)


def keeps(source: dict[str, Any], row: dict[str, Any]) -> bool:
    """The ten-line model: what a filter means for one row."""
    ((name, operand),) = source.items()
    if name in ("$and", "$or"):
        return (all if name == "$and" else any)(keeps(part, row) for part in operand)
    if name == "$not":
        return not keeps(operand, row)
    ((operator, bound),) = operand.items()
    value = row.get(name)
    same = [type(bound) is type(b) and b == value and type(b) is type(value) for b in (bound,)]
    match operator:
        case "$eq" | "$ne":
            return any(same) == (operator == "$eq")
        case "$in" | "$nin":
            hit = any(type(b) is type(value) and b == value for b in bound)
            return hit == (operator == "$in")
        case "$exists":
            return (name in row) == bound
    if type(value) is not int:
        return False
    return {
        "$gt": value > bound,
        "$gte": value >= bound,
        "$lt": value < bound,
        "$lte": value <= bound,
    }[str(operator)]


@given(FILTERS, st.lists(st.dictionaries(st.sampled_from("xyz"), SCALARS), max_size=8))
def test_filters_agree_with_a_row_by_row_model(
    source: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    index = PayloadIndex()
    for row, metadata in enumerate(rows):
        index.add(row, metadata)
    expected = [row for row, metadata in enumerate(rows) if keeps(source, metadata)]
    assert list(index.matching(parse(source))) == expected
