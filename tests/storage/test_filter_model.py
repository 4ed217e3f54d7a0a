"""Filters against a row-by-row model, through adds, removes, folds, snapshots and their loading."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.storage import columns, field
from llmspell.storage.filters import parse
from llmspell.storage.payload import PayloadIndex

TIMES = st.builds(
    lambda days, us: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days, microseconds=us),
    st.integers(-1, 1),
    st.integers(-1, 1),
)
NUMBERS = st.integers(-2, 2) | st.sampled_from([-0.0, 0.5, 1.0, 2.0**53, 2**53 + 1, -(2**63)])
STRINGS = st.sampled_from(["", "a", "ab", "b", "é", "\U0001f600", "\x7f"])
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS | TIMES
NAMES = st.sampled_from(["x", "y", "z", "x.y"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=3)

LEAVES = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), SCALARS),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | STRINGS | TIMES),
    st.tuples(st.just("$prefix"), STRINGS),
    st.tuples(st.just("$exists"), st.booleans()),
)
OPERATORS = st.recursive(
    st.lists(LEAVES, min_size=1, max_size=3).map(dict),
    lambda inner: inner.map(lambda part: {"$not": part}),
    max_leaves=2,
)
CONDITIONS = st.dictionaries(
    st.sampled_from(["x", "y", "z", "x.y", "x.y.z"]), OPERATORS, min_size=1, max_size=2
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)
        ).map(lambda pair: dict([pair])),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=5,
)
TAGS = [f"t{i}" for i in range(20)]
COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def values_at(metadata: Any, path: str) -> Iterator[Any]:
    """All values of a row at a path; a list or a mapping gives itself too."""
    for name, value in metadata.items():
        rest = path.removeprefix(name)
        for one in unpacked(value):
            if rest == "" and path:
                yield one
            elif rest.startswith(".") and path.startswith(name) and isinstance(one, dict):
                yield from values_at(one, rest[1:])


def unpacked(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, list):
        for element in value:
            yield from unpacked(element)


def kind(value: Any) -> Any:
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)
    )


def keeps(source: dict[str, Any], row: dict[str, Any]) -> bool:
    """What a filter means for one row."""
    return all(holds(name, operand, row) for name, operand in source.items())


def holds(name: str, operand: Any, row: dict[str, Any]) -> bool:
    if name == "$and":
        return all(keeps(part, row) for part in operand)
    if name in ("$or", "$nor"):
        return any(keeps(part, row) for part in operand) == (name == "$or")
    if name == "$not":
        return not keeps(operand, row)
    return all(fulfils(op, bound, list(values_at(row, name))) for op, bound in operand.items())


def fulfils(op: str, bound: Any, values: list[Any]) -> bool:
    match op:
        case "$eq" | "$in":
            wanted = [bound] if op == "$eq" else bound
            held = values or [None]
            return any(kind(v) == kind(b) and v == b for v in held for b in wanted)
        case "$ne":
            return not fulfils("$eq", bound, values)
        case "$nin":
            return not fulfils("$in", bound, values)
        case "$exists":
            return bool(values) == bound
        case "$not":
            return not all(fulfils(o, b, values) for o, b in bound.items())
        case "$prefix":
            return any(isinstance(v, str) and v.startswith(bound) for v in values)
    return any(kind(v) == kind(bound) and COMPARE[op](v, bound) for v in values)


@pytest.fixture(scope="module", params=["everything recent", "everything folded", "mixed"])
def sizes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small limits, so that few rows go through what many go through."""
    recent, pending, heavy = {
        "everything recent": (1 << 20, 1 << 20, 128),
        "everything folded": (0, 0, 2),
        "mixed": (6, 4, 3),
    }[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "RECENT", recent)
        patch.setattr(field, "PENDING", pending)
        patch.setattr(columns, "HEAVY", heavy)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model") / "payload.snap"


def checked(index: PayloadIndex, rows: dict[int, dict[str, Any]], source: Any) -> None:
    expected = sorted(row for row, metadata in rows.items() if keeps(source, metadata))
    assert index.matching(parse(source)).tolist() == expected
    assert index.count(parse(source)) == len(expected)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(METADATA, min_size=1, max_size=6)),
        st.tuples(st.just("remove"), st.integers(0, 99)),
        st.tuples(st.just("forget"), st.lists(st.integers(0, 20), max_size=4)),
        st.tuples(st.just("update"), st.integers(0, 99), METADATA),
        st.tuples(st.just("ask"), FILTERS),
        st.tuples(st.just("reload")),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("sizes")
@given(steps=STEPS, filters=st.lists(FILTERS, min_size=1, max_size=4))
def test_filters_agree_with_a_row_by_row_model(
    path: Path, steps: list[Any], filters: list[Any]
) -> None:
    index, rows, sequence, next_row = PayloadIndex(), dict[int, dict[str, Any]](), 0, 1
    for step in steps:
        match step:
            case ("add", batch):
                index.add_many(range(next_row, next_row + len(batch)), batch)
                rows.update(enumerate(batch, next_row))
                next_row += len(batch)
            case ("remove", which) if rows:
                row = list(rows)[which % len(rows)]
                index.remove(row, rows.pop(row))
            case ("forget", gone):
                index.remove_rows(gone)
                for row in gone:
                    rows.pop(row, None)
            case ("update", which, metadata) if rows:
                row = list(rows)[which % len(rows)]
                index.remove(row, rows[row])
                index.add(row, metadata)
                rows[row] = metadata
            case ("ask", source):
                checked(index, rows, source)
            case ("reload",):
                sequence += 1
                index.save(path, sequence)
                index = PayloadIndex.load(path)
                assert index.sequence == sequence
        assert len(index) == len(rows)
    for source in filters:
        checked(index, rows, source)


CHURN_FILTERS: list[dict[str, Any]] = [
    {"kind": {"$eq": "a"}},
    {"kind": {"$exists": True}},
    {"kind": {"$eq": None}},
    {"n": {"$gte": 100, "$lt": 300}},
    {"n": {"$in": [5, 7.0, 250]}, "kind": {"$ne": "b"}},
    {"tags": {"$prefix": "t1"}},
    {"rare": {"$exists": False}},
    {"$not": {"tags": {"$in": ["t1", "t2"]}}},
]


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("seed", range(3))
def test_filters_stay_right_while_many_rows_come_and_go(path: Path, seed: int) -> None:
    chosen = random.Random(seed)

    def metadata() -> dict[str, Any]:
        row: dict[str, Any] = {"n": chosen.randrange(400), "tags": chosen.choices(TAGS, k=2)}
        if chosen.random() < 0.9:
            row["kind"] = chosen.choice("aaab")
        if chosen.random() < 0.02:
            row["rare"] = None
        return row

    index, rows = PayloadIndex(), dict[int, dict[str, Any]]()
    for step in range(12):
        first = 100 * step
        batch = [metadata() for _ in range(100)]
        index.add_many(range(first, first + 100), batch)
        rows.update(enumerate(batch, first))
        gone = chosen.sample(sorted(rows), 10)
        index.remove_rows(gone)
        for row in gone:
            del rows[row]
        for row in chosen.sample(sorted(rows), 60):
            index.remove(row, rows.pop(row))
        for row in chosen.sample(sorted(rows), 10):
            index.remove(row, rows[row])
            rows[row] = metadata()
            index.add(row, rows[row])
        if chosen.random() < 0.3:
            index.save(path, step)
            index = PayloadIndex.load(path)
        for source in CHURN_FILTERS:
            checked(index, rows, source)
    for row in list(rows):
        index.remove(row, rows.pop(row))
    for source in CHURN_FILTERS:
        checked(index, rows, source)
    assert index.schema() == {}
