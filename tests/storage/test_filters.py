"""The filter language, and the payload index that answers it."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from llmspell.errors import FilterError
from llmspell.index import IdBitmap
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
        ({"$nor": [{"lang": "en"}, {"ok": False}]}, [1, 4, 5]),
        ({"$and": [{"year": {"$gt": 2020}}, {"$and": [{"year": {"$lt": 2022}}]}]}, [1]),
        ({"author.name": {"$prefix": "A"}}, [0]),
        ({"lang": {"$prefix": ""}}, [0, 1, 2]),
        ({"year": {"$prefix": "20"}}, [3]),
        ({"tags": {"$gte": "b", "$lte": "a"}}, [1]),
        ({"tags": {"$ne": "a"}}, [0, 2, 3, 4, 5]),
        ({"parts.n": {"$lt": 2, "$gt": 1}}, [5]),
        ({"parts": None}, [0, 1, 2, 3, 4]),
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
        ({"$near": []}, r"^filter\['\$near'\]: unknown"),
        ({"$nor": []}, r"^filter\['\$nor'\]: expected a list of filters"),
        ({"$or": []}, r"^filter\['\$or'\]: expected a list of filters"),
        ({"$and": {"a": 1}}, r"^filter\['\$and'\]: expected a list"),
        ({"$or": [{"a": 1}, 5]}, r"^filter\['\$or'\]\[1\]: expected a mapping, got int 5"),
        ({"a": {}}, r"^filter\['a'\]: no operator"),
        ({"a": {"b": 1}}, r"^filter\['a'\]\['b'\]: unknown operator"),
        ({"a": {"$in": "x"}}, r"^filter\['a'\]\['\$in'\]: expected a list"),
        ({"a": {"$in": [1, []]}}, r"\['\$in'\]\[1\]: expected a str, number"),
        ({"a": {"$gt": None}}, r"\['\$gt'\]: only numbers, strings and times"),
        ({"a": {"$gt": True}}, r"\['\$gt'\]: only numbers, strings and times"),
        ({"a": {"$prefix": 1}}, r"\['\$prefix'\]: expected a str, got int 1"),
        ({"a": "\ud800"}, r"^filter\['a'\]: invalid Unicode"),
        ({"a": {"$lt": datetime(2024, 1, 1)}}, r"\['\$lt'\]: .*needs a UTC offset"),
        ({"a": {"$exists": 1}}, r"\['\$exists'\]: expected True or False"),
        ({"a": {"$not": 5}}, r"^filter\['a'\]\['\$not'\]: expected a mapping of operators.*int 5"),
        ({"a": {"$not": None}}, r"\['\$not'\]: expected a mapping of operators"),
        ({"a": {"$not": {"$not": "x"}}}, r"\['\$not'\]\['\$not'\]: expected a mapping"),
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
    index.remove_rows([2, 9])
    assert list(index.matching(parse({"n": 1}))) == []


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


def test_answer_outlives_writes_of_other_fields() -> None:
    index = PayloadIndex()
    index.add(1, {"n": 1})
    kept = index.matching(parse({"n": 1}))
    missing = index.matching(parse({"$not": {"n": 1}}))
    assert list(index.matching(parse({"n": None}))) == []
    index.add(2, {"m": 1})
    assert index.matching(parse({"n": 1})) is kept
    assert list(missing) == []
    assert list(index.matching(parse({"$not": {"n": 1}}))) == [2]
    assert list(index.matching(parse({"n": None}))) == [2]


def test_same_row_may_come_again_with_other_metadata() -> None:
    index = PayloadIndex()
    index.add(1, {"n": 1, "old": True})
    assert list(index.matching(parse({"n": 1}))) == [1]
    index.remove(1, {"n": 1, "old": True})
    index.add(1, {"n": 2})
    assert list(index.matching(parse({"n": 1}))) == []
    assert list(index.matching(parse({"n": 2}))) == [1]
    assert list(index.matching(parse({"old": {"$exists": True}}))) == []


def test_dotted_name_beside_a_nested_one_gives_a_field_two_values() -> None:
    index = PayloadIndex()
    index.add(1, {"a.b": 1, "a": {"b": 5}})
    assert list(index.matching(parse({"a.b": {"$lt": 2, "$gt": 4}}))) == [1]


@pytest.mark.parametrize(
    ("value", "source", "holds"),
    [
        (2**53 + 1, {"$gt": float(2**53)}, True),
        (2**53 + 1, {"$eq": float(2**53)}, False),
        (float(2**53), {"$lt": 2**53 + 1}, True),
        (float(2**53), {"$gte": 2**53 + 1}, False),
        (-(2**63), {"$gt": -(10**400)}, True),
        (1.5, {"$lt": 10**400}, True),
        (1.5, {"$in": [10**400]}, False),
        (2**63 - 1, {"$lt": float("inf")}, True),
        (2**63 - 1, {"$lte": 2.0**63}, True),
        (2**63 - 1, {"$eq": 2.0**63}, False),
        (-0.0, {"$eq": 0}, True),
        (3, {"$gt": 2.5}, True),
        (3, {"$lt": 3.0}, False),
    ],
)
@pytest.mark.parametrize("folded", [False, True])
def test_numbers_compare_exactly_whatever_their_size(
    value: float, source: Any, holds: bool, folded: bool
) -> None:
    index = PayloadIndex()
    index.add(1, {"n": value})
    if folded:
        index.schema()
    assert list(index.matching(parse({"n": source}))) == [1] * holds


def test_search_takes_a_bitmap_where_that_is_short_and_ids_elsewhere() -> None:
    index = PayloadIndex()
    index.add_many(range(100), [{"n": row % 2} for row in range(100)])
    index.add(1 << 40, {"n": 7})
    dense, sparse = index.allowed(parse({"n": 1})), index.allowed(parse({"n": 7}))
    assert isinstance(dense, IdBitmap)
    assert list(np.flatnonzero(np.unpackbits(dense.bits, bitorder="little"))) == list(
        range(1, 100, 2)
    )
    assert isinstance(sparse, np.ndarray)
    assert sparse.tolist() == [1 << 40]
    assert index.allowed(parse({"n": 1})) is dense
    assert index.count(parse({"n": {"$gte": 1}})) == 51


def test_answers_are_right_beside_writers() -> None:
    index = PayloadIndex()
    wrong: list[list[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            rows = list(index.matching(parse({"even": True})))
            if any(row % 2 for row in rows) or rows != sorted(rows):
                wrong.append(rows)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for row in range(3_000):
        index.add(row, {"even": row % 2 == 0})
        if row >= 100:
            index.remove(row - 100, {"even": row % 2 == 0})
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert list(index.matching(parse({"even": True}))) == list(range(2_900, 3_000, 2))
