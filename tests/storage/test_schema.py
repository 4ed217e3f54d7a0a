"""Declared types of metadata fields, and times in metadata and filters."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell import TenantConfig
from llmspell.config import Schema
from llmspell.errors import ConfigError, CorruptFile, FilterError, MetadataError
from llmspell.storage import CatalogEntry, unpack
from llmspell.storage.catalog_entry import decode_entry, encode_entry
from llmspell.storage.filters import parse
from llmspell.storage.payload import FieldSummary, PayloadIndex
from llmspell.tenancy.inputs import pack_metadata

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SCHEMA = Schema(
    {
        "name": "string",
        "age": "int",
        "price": "float",
        "ok": "bool",
        "at": "time",
        "raw": "unindexed",
        "a.b": "int",
        "a.raw": "unindexed",
    }
)


def stored(metadata: Any, schema: Any = SCHEMA) -> Any:
    return unpack(pack_metadata(metadata, schema))


@given(
    st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 12, 31),
        timezones=st.timezones() | st.just(UTC),
    )
)
def test_time_comes_back_in_utc_to_the_microsecond(time: datetime) -> None:
    back = stored({"t": [time]})["t"][0]
    assert type(back) is datetime
    assert back == time.astimezone(UTC)
    assert back.utcoffset() == timedelta(0)
    index = PayloadIndex()
    index.add(1, {"t": back})
    micro = timedelta(microseconds=1)
    assert index.count(parse({"t": time})) == 1
    assert index.count(parse({"t": {"$gt": back - micro, "$lt": back + micro}})) == 1
    assert index.count(parse({"t": {"$in": [back - micro, back + micro]}})) == 0


def test_times_are_neither_numbers_nor_strings() -> None:
    index = PayloadIndex()
    index.add_many((1, 2, 3), ({"t": NOON}, {"t": 1714564800}, {"t": "2024-05-01T12:00:00Z"}))
    assert index.matching(parse({"t": NOON})).tolist() == [1]
    assert index.matching(parse({"t": {"$gte": 0}})).tolist() == [2]
    assert index.matching(parse({"t": {"$gte": ""}})).tolist() == [3]
    assert index.matching(parse({"t": {"$gte": datetime.min.replace(tzinfo=UTC)}})).tolist() == [1]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"t": datetime(2024, 5, 1)}, r"^metadata\['t'\]: got .*needs a UTC offset"),
        ({"t": [1, {"u": datetime(2024, 5, 1)}]}, r"^metadata\['t'\]\[1\]\['u'\]: got"),
        ({"t": date(2024, 5, 1)}, r"^metadata\['t'\]: expected .*datetime.*got date"),
        ({"t": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, r"out of range in UTC"),
        ({"name": 1}, r"^metadata\['name'\]: field 'name' is declared string, got int 1"),
        ({"age": 1.0}, r"^metadata\['age'\]: field 'age' is declared int, got float 1.0"),
        ({"age": True}, r"declared int, got bool True"),
        ({"age": [1, "2"]}, r"^metadata\['age'\]\[1\]: .* declared int, got str '2'"),
        ({"age": {"x": 1}}, r"declared int, got dict"),
        ({"price": "1"}, r"declared float, got str"),
        ({"ok": 1}, r"declared bool, got int 1"),
        ({"at": 5}, r"declared time, got int 5"),
        ({"at": "yesterday"}, r"declared time, got 'yesterday': not an ISO 8601 time"),
        ({"at": "2024-05-01T12:00:00"}, r"declared time, .*needs a UTC offset"),
        ({"a": [{"b": 1}, {"b": "x"}]}, r"^metadata\['a'\]\[1\]\['b'\]: field 'a\.b' is declared"),
        ({"a.b": "x"}, r"^metadata\['a\.b'\]: field 'a\.b' is declared int"),
    ],
)
def test_value_of_another_type_is_refused_where_it_stands(metadata: Any, message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        pack_metadata(metadata, SCHEMA)


def test_values_of_their_type_are_stored() -> None:
    given_ = {
        "name": ["a", None],
        "age": [],
        "price": 3,
        "ok": False,
        "at": ["2024-05-01T14:00:00.000001+02:00", NOON],
        "raw": {"any": [1, "x"]},
        "other": [1, "x"],
        "a": {"b": None, "raw": "x", "c": 1.5},
    }
    micro = timedelta(microseconds=1)
    assert stored(given_) == {**given_, "at": [NOON + micro, NOON]}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"name": 1}, r"^filter\['name'\]: field 'name' is declared string, .*int 1"),
        ({"name": {"$gt": 1}}, r"^filter\['name'\]\['\$gt'\]: .*declared string"),
        ({"age": "1"}, r"^filter\['age'\]: .*declared int"),
        ({"age": {"$in": [1, 2.5]}}, r"^filter\['age'\]\['\$in'\]\[1\]: .*never matches float 2.5"),
        ({"age": {"$prefix": "1"}}, r"\['\$prefix'\]: .*declared int, only strings"),
        ({"price": True}, r"declared float, which never matches bool"),
        ({"ok": {"$gt": 1}}, r"declared bool, which never matches int"),
        ({"at": 5}, r"declared time, which never matches int 5"),
        ({"at": {"$lt": "noon"}}, r"^filter\['at'\]\['\$lt'\]: got 'noon': not an ISO 8601"),
        ({"raw": 1}, r"^filter\['raw'\]: the field is declared unindexed"),
        ({"$not": {"a.raw.deep": {"$exists": True}}}, r"\['a\.raw\.deep'\]: .*unindexed"),
    ],
)
def test_filter_that_can_never_match_is_refused(source: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(source, SCHEMA)


def test_filters_follow_the_schema() -> None:
    index = PayloadIndex(SCHEMA)
    index.add(1, stored({"at": "2024-05-01T12:00:00Z", "age": 3, "price": 2, "raw": 1}))
    index.add(2, stored({"at": NOON + timedelta(days=1), "a": {"raw": {"x": 1}, "b": 1}}))
    for source, rows in [
        ({"at": "2024-05-01T14:00:00+02:00"}, [1]),
        ({"at": {"$gt": "2024-05-01T12:00:00Z"}}, [2]),
        ({"age": {"$gt": 2.5}}, [1]),
        ({"age": 3.0}, [1]),
        ({"age": None}, [2]),
        ({"price": {"$lte": 2.0}}, [1]),
        ({"a": {"$exists": True}}, [2]),
    ]:
        assert index.matching(parse(source, SCHEMA)).tolist() == rows
    assert index.schema() == {
        "a": FieldSummary((), 1),
        "a.b": FieldSummary(("int",), 1),
        "age": FieldSummary(("int",), 1),
        "at": FieldSummary(("time",), 2),
        "price": FieldSummary(("int",), 1),
    }


def test_inferred_schema_follows_the_rows() -> None:
    index = PayloadIndex()
    index.add(1, {"x": 1, "y": [1.5, None, True]})
    index.add(2, {"x": "a"})
    assert index.schema() == {
        "x": FieldSummary(("int", "string"), 2),
        "y": FieldSummary(("bool", "float", "none"), 1),
    }
    index.remove(1, {"x": 1, "y": [1.5, None, True]})
    assert index.schema() == {"x": FieldSummary(("string",), 1)}


def test_snapshot_of_another_schema_is_refused(tmp_path: Path) -> None:
    index = PayloadIndex({"raw": "unindexed"})
    index.add(1, {"raw": 1, "n": 1})
    index.save(tmp_path / "payload.snap", 1)
    with pytest.raises(CorruptFile, match="another schema"):
        PayloadIndex.load(tmp_path / "payload.snap")
    loaded = PayloadIndex.load(tmp_path / "payload.snap", {"raw": "unindexed", "n": "int"})
    loaded.add(2, {"raw": 2, "n": 2})
    assert list(loaded.schema()) == ["n"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"a": "text"}, r"schema\['a'\] must be one of string, int"),
        ({"a": ["int"]}, r"schema\['a'\] must be one of"),
        ({"": "int"}, "a field is a dotted path"),
        ({"a..b": "int"}, "a field is a dotted path"),
        ({"$a": "int"}, "a field is a dotted path"),
        ({1: "int"}, "a field is a dotted path"),
        (5, "must map field paths to types"),
        ("abc", "must map field paths to types"),
    ],
)
def test_schema_is_validated(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TenantConfig(id="a", schema=schema)


def test_config_keeps_a_schema_that_nobody_changes() -> None:
    types: dict[str, Any] = {"a.b": "int", "t": "time"}
    config = TenantConfig(id="a", schema=types)
    types["c"] = "nonsense"
    assert config.schema == {"a.b": "int", "t": "time"}
    assert hash(config) == hash(TenantConfig(id="a", schema={"t": "time", "a.b": "int"}))
    assert pickle.loads(pickle.dumps(config)) == config
    for change in (
        lambda schema: schema.update(a="int"),
        lambda schema: schema.__setitem__("a", "int"),
        lambda schema: schema.pop("t"),
    ):
        with pytest.raises(TypeError, match="can't be changed"):
            change(config.schema)
    assert asdict(config)["schema"] == config.schema


def test_catalog_keeps_the_schema_and_reads_entries_from_before_it() -> None:
    entry = CatalogEntry(TenantConfig(id="a", schema={"t": "time"}), 1, b"k" * 16, 5)
    assert decode_entry(encode_entry(entry)) == entry
    assert type(decode_entry(encode_entry(entry)).config.schema) is Schema
