"""Tables and JSON lines become paragraphs that can be understood alone."""

from __future__ import annotations

import csv
import io
import json
import sys
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.rag.records import csv_to_text, json_lines_to_text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_row_names_its_columns(delimiter: str) -> None:
    rows = [["name", "city"], ["Ann", "Oslo"], ["Bob", ""], ["", ""], ["Cy", "Rome"]]
    text = "\n".join(delimiter.join(row) for row in rows)
    assert csv_to_text(text) == "name: Ann\ncity: Oslo\n\nname: Bob\n\nname: Cy\ncity: Rome"


def test_row_longer_than_the_first_keeps_all_of_its_fields() -> None:
    assert csv_to_text("a,\n1,2,3\n") == "a: 1\ncolumn 2: 2\ncolumn 3: 3"


def test_table_without_rows_has_no_text() -> None:
    assert csv_to_text("") == csv_to_text("a,b\n") == ""


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.lists(st.text("ab \",\n;'", min_size=1), min_size=2, max_size=2)))
def test_quoted_fields_come_whole(rows: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([["x", "y"], *rows])
    stripped = [[value.strip() for value in row] for row in rows]
    expected = [
        "\n".join(f"{name}: {value}" for name, value in zip("xy", row, strict=True) if value)
        for row in stripped
    ]
    assert csv_to_text(file.getvalue(), delimiter=",") == "\n\n".join(filter(None, expected))


def test_field_beyond_the_limit_of_the_parser_is_named() -> None:
    with pytest.raises(errors.IngestError, match="line 2"):
        csv_to_text("a,b\n" + "x" * (csv.field_size_limit() + 1) + ",y\n")


def test_inner_objects_become_dotted_keys() -> None:
    lines = [
        {"id": 7, "who": {"name": "Ann", "tags": ["x", "ü"]}, "none": None, "blank": " "},
        {},
        {"id": 8, "empty": {}, "ok": True},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    assert json_lines_to_text(text) == (
        'id: 7\nwho.name: Ann\nwho.tags: ["x", "ü"]\n\n{}\n\nid: 8\nempty: {}\nok: true'
    )


def test_values_that_are_no_objects_are_kept() -> None:
    assert json_lines_to_text('"word"\n3\n[1, "a"]\n') == 'word\n\n3\n\n[1, "a"]'


@pytest.mark.parametrize("bad", ["{", "nonsense", "[" * 100_000])
def test_line_that_is_no_json_is_named(bad: str) -> None:
    with pytest.raises(errors.IngestError, match="line 2 isn't JSON"):
        json_lines_to_text('{"a": 1}\n' + bad)


def test_deep_objects_do_not_exhaust_the_stack() -> None:
    depth = sys.getrecursionlimit() // 4
    text = '{"a":' * depth + "1" + "}" * depth
    assert json_lines_to_text(text).startswith("a.a.a.")


def test_names_that_would_fill_the_memory_are_refused() -> None:
    name = "n" * 50_000
    for read, text in (
        (csv_to_text, f"{name}\n" + "1\n" * 1_000),
        (json_lines_to_text, json.dumps({name: dict.fromkeys(map(str, range(1_000)), 1)})),
    ):
        with pytest.raises(errors.IngestError, match="more than 8,388,608 characters"):
            read(text)


def test_half_of_a_surrogate_pair_is_replaced_and_a_whole_one_read() -> None:
    line = r'{"a\udc00": "\ud83d\ude00 \ud83d", "b": ["\ude00"]}'
    assert json_lines_to_text(line) == 'a\ufffd: 😀 \ufffd\nb: ["\ufffd"]'


@pytest.mark.parametrize(
    ("read", "text"),
    [(csv_to_text, "a\n" + "12\n" * 40_000), (json_lines_to_text, "12\n" * 40_000)],
)
def test_many_short_records_take_memory_by_their_length(
    read: Callable[[str], str], text: str
) -> None:
    tracemalloc.start()
    try:
        assert len(read(text)) > len(text)
        assert tracemalloc.get_traced_memory()[1] < 14 * len(text)
    finally:
        tracemalloc.stop()
