"""Keys of the state: in bytes that sort as their parts do, each prefix that of its own alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import errors
from llmspell.storage.state_keys import MAX_KEY_BYTES, pack_state_key, unpack_state_key

PARTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9
) | st.integers(-(1 << 63), (1 << 63) - 1)
KEYS = st.lists(PARTS, min_size=1, max_size=5).map(tuple)


def rank(key: tuple[str | int, ...]) -> list[tuple[bool, Any]]:
    return [(isinstance(part, int), part) for part in key]


@settings(deadline=None)
@given(one=KEYS, other=KEYS)
def test_bytes_sort_as_their_parts_do(one: Any, other: Any) -> None:
    packed = pack_state_key(one), pack_state_key(other)
    assert (packed[0] < packed[1]) == (rank(one) < rank(other))
    assert packed[0].startswith(packed[1]) == (one[: len(other)] == other)


@settings(deadline=None)
@given(key=KEYS)
def test_bytes_give_the_key_back(key: Any) -> None:
    assert unpack_state_key(pack_state_key(key)) == (key, None)


@settings(deadline=None)
@given(raw=st.binary(max_size=40))
def test_bytes_that_are_no_key_are_refused_as_damaged(raw: bytes) -> None:
    try:
        key, item = unpack_state_key(raw)
    except errors.CorruptFile:
        return
    if item is None:
        assert pack_state_key(key, is_prefix=True) == raw


def test_a_text_is_the_path_of_that_one_part() -> None:
    assert pack_state_key("a") == pack_state_key(("a",))


@pytest.mark.parametrize(
    "key",
    [
        *("", "a\0b", "\ud800", (), ("a", ""), ("a", None), ("a", True), ["a"], 7, None, b"a"),
        *((1 << 63,), (1.5,), ("x",) * 17, "x" * MAX_KEY_BYTES),
    ],
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(errors.InvalidStateKey):
        pack_state_key(key)
