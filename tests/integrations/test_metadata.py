from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import Tenant, errors
from llmspell.integrations.metadata import from_fields, to_fields
from llmspell.tenancy.inputs import plain_metadata

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(1 << 80), max_value=1 << 80)
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters())  # lone surrogates too
    | st.binary()
    | st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=2))]))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
KEYS = st.text(max_size=5) | st.sampled_from(["$", "_exact", "_inexact", "_unembedded", "a.b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(SCALARS, max_size=3)
        | st.dictionaries(KEYS | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(KEYS | st.integers() | st.none(), VALUES, max_size=5))
def test_metadata_comes_back_equal_and_of_the_same_types(metadata: dict[Any, Any]) -> None:
    # What a record can't hold raises here.
    stored = plain_metadata(to_fields(metadata, {"blob": b"\0"}))
    back, beside = from_fields(stored)
    assert beside == {"blob": b"\0"}
    assert back == metadata
    assert {key: type(value) for key, value in back.items()} == {
        key: type(value) for key, value in metadata.items()
    }


def test_what_a_record_can_hold_lies_in_fields_of_its_own() -> None:
    metadata = {"a": None, "b": [1, {"c": "x"}], "d": datetime(2024, 5, 1, tzinfo=UTC)}
    assert to_fields(metadata) == metadata
    assert set(to_fields({**metadata, "t": (1, 2)})) == {*metadata, "_exact", "_inexact"}


def test_values_without_a_place_in_json_come_back() -> None:
    metadata = {
        "nan": math.nan,
        "infinite": -math.inf,
        "large": 10**5_000,
        "scalar": np.float32(0.5),
        "set": {1, 2},
        "when": (date(2024, 5, 1), time(12, 0), timedelta(days=-1, microseconds=1)),
        "money": Decimal("0.10"),
        "id": UUID(int=7),
        3: "a key that is no str",
        "": "an empty one",
    }
    back, _ = from_fields(plain_metadata(to_fields(metadata)))
    assert math.isnan(back.pop("nan"))
    assert back == {key: value for key, value in metadata.items() if key != "nan"}
    assert str(back["money"]) == "0.10"


@pytest.mark.parametrize("value", [object(), [lambda: 1], {"a": np.zeros(3)}, 1j])
def test_a_value_that_is_no_data_is_refused_by_name(value: object) -> None:
    with pytest.raises(errors.MetadataError, match=r"metadata\[0\]\['what'\].*can't be kept"):
        to_fields({"what": value})


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(errors.MetadataError, match="deep"):
        to_fields({"a": endless})


WRONG = [("uuid", "5"), ("decimal", '"x"'), ("os", '"x"'), ("dict", "[1]"), ("tuple", "1")]


def test_a_field_that_was_written_by_another_hand_is_damage_that_is_named() -> None:
    tagged = [f'[{{"$":"{kind}","v":{value}}},{{}}]' for kind, value in WRONG]
    for text in ("{", "5", "[1]", *tagged):
        with pytest.raises(errors.CorruptFile, match="_exact"):
            from_fields({"_exact": text})


def test_a_tenant_leaves_out_the_ids_that_are_not_there(tenant: Tenant) -> None:
    tenant.upsert(["a", "b"], np.eye(2))
    assert [one.id for one in tenant.get(["b", "x", "a"], missing_ok=True)] == ["b", "a"]
    with pytest.raises(errors.IdNotFound):
        tenant.get(["b", "x"])
    with pytest.raises(errors.IdNotFound):
        tenant.get("x", missing_ok=True)  # type: ignore[call-overload]
