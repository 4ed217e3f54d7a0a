"""A catalog entry or a manifest whose checksum holds, and which llmspell has not written."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from llmspell import TenantConfig
from llmspell.errors import CorruptFile
from llmspell.storage.catalog_entry import CatalogEntry, decode_entry, encode_entry
from llmspell.storage.codec import pack_checked, unpack_checked, with_checksum
from llmspell.storage.log import Counters
from llmspell.storage.manifest import ArchivedFile, Manifest

ENTRY = CatalogEntry(TenantConfig(id="a"), 1, b"k" * 16, 5)
MANIFEST = Manifest(
    llmspell="1",
    taken_us=5,
    config=TenantConfig(id="a"),
    generation=1,
    counters=Counters(),
    files=(ArchivedFile("data.mdb", 1, "0" * 64),),
)
NO_NUMBERS: list[Any] = [None, "1", 1.0, True, -1, 1 << 63, [1]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("generation", "created_us") for value in NO_NUMBERS),
        ("created_us", 253_402_300_800 * 10**6),
        *(("key", value) for value in (None, "k" * 16, b"k", 16)),
        *(("suspension", value) for value in (None, "some", [], {})),
        *(("has_room", value) for value in (None, 1, "yes")),
        *(("config", value) for value in (None, [], {}, {"id": "a"}, 5)),
    ],
)
def test_an_entry_of_other_values_is_damaged(field: str, value: Any) -> None:
    fields = unpack_checked("entry", encode_entry(ENTRY))
    assert field in fields
    with pytest.raises(CorruptFile, match="catalog entry"):
        decode_entry(pack_checked({**fields, field: value}))


@pytest.mark.parametrize(
    "body", [b"\x90", b"\xc0", b"\x05", b"\x81", b"\xc1", b"\x80\x80", b"\xa1a"]
)
def test_an_entry_that_is_no_mapping_is_damaged(body: bytes) -> None:
    with pytest.raises(CorruptFile, match="catalog entry"):
        decode_entry(with_checksum(body))


@pytest.mark.parametrize("field", unpack_checked("entry", encode_entry(ENTRY)))
def test_an_entry_without_a_field_is_damaged(field: str) -> None:
    fields = unpack_checked("entry", encode_entry(ENTRY))
    del fields[field]
    if field == "has_room":  # as earlier releases wrote it
        assert decode_entry(pack_checked(fields)) == ENTRY
    else:
        with pytest.raises(CorruptFile, match="catalog entry"):
            decode_entry(pack_checked(fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("generation", "taken_us") for value in NO_NUMBERS),
        *(("counters", {"sequence": value}) for value in NO_NUMBERS),
        *(("counters", value) for value in (None, [], 5, {"others": 1})),
        *(("llmspell", value) for value in (None, 1, [])),
        *(("files", value) for value in (None, 5, [5], [{"name": "a"}])),
        *(
            ("files", [{"name": "a", "bytes": 1, "sha256": "0", **other}])
            for other in ({"name": 5}, {"bytes": "1"}, {"bytes": True}, {"sha256": None})
        ),
    ],
)
def test_a_manifest_of_other_values_is_damaged(field: str, value: Any) -> None:
    fields = json.loads(MANIFEST.encode().partition(b"\n")[2])
    assert field in fields
    assert Manifest.decode(_lines(fields), "s") == MANIFEST
    with pytest.raises(CorruptFile, match=r"s: its manifest.json can't be understood"):
        Manifest.decode(_lines({**fields, field: value}), "s")


def _lines(fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body + b"\n"
