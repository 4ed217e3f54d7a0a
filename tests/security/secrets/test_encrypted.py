"""The encrypted store: what is written is read, and nothing that was changed is."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import (
    InsecureFile,
    InvalidSecretRef,
    MissingDependency,
    SecretNotFound,
    SecretsDamaged,
    UnreadableSecret,
    UnsupportedFormat,
    WrongKey,
)
from llmspell.security import EncryptedStore, KeyVariable, MasterKey, Secret, SecretStore
from llmspell.security.secrets.encrypted import store as store_module
from llmspell.security.secrets.encrypted.derived import derived, fields
from tests.security.secrets.stores import values


def test_what_is_set_is_read_by_its_tenant_and_name(encrypted: EncryptedStore, path: Path) -> None:
    assert encrypted.names() == [] and encrypted.read(encrypted.ref_for("openai", None)) is None
    encrypted.set("openai", Secret("hunter22"))
    encrypted.set("openai", Secret("acme's"), tenant="acme")
    encrypted.set("openai", Secret("long"), tenant="é" * 128)
    encrypted.set("openai", Secret("again"))
    store = SecretStore([encrypted], environ={})
    assert store.api_key("openai").reveal() == "again"
    assert store.for_tenant("acme").api_key("openai").reveal() == "acme's"
    assert store.for_tenant("é" * 128).api_key("openai").reveal() == "long"
    with pytest.raises(SecretNotFound):
        store.for_tenant("other").api_key("openai")
    assert b"hunter22" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    encrypted.delete("openai", tenant="acme")
    assert encrypted.names() == [(None, "openai"), ("é" * 128, "openai")]
    with pytest.raises(SecretNotFound, match="acme"):
        encrypted.delete("openai", tenant="acme")


def test_equal_values_look_different_each_time(encrypted: EncryptedStore, path: Path) -> None:
    encrypted.set("a", Secret("same"))
    encrypted.set("b", Secret("same"))
    first = {held for _, _, held in json.loads(path.read_bytes())["entries"]}
    encrypted.set("a", Secret("same"))
    second = {held for _, _, held in json.loads(path.read_bytes())["entries"]}
    assert len(first | second) == 4


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a" * 65, None])
def test_what_is_no_name_is_not_set(encrypted: EncryptedStore, name: Any) -> None:
    with pytest.raises(InvalidSecretRef):
        encrypted.set(name, Secret("v"))


@pytest.mark.parametrize("value", ["v" * 65537, "\ud800"])
def test_what_is_no_text_or_too_long_is_not_set(encrypted: EncryptedStore, value: str) -> None:
    with pytest.raises(UnreadableSecret):
        encrypted.set("a", Secret(value))
    assert encrypted.names() == []


# Who has no key.


Change = Callable[[dict[str, Any]], None]


def swap_values(document: dict[str, Any]) -> None:
    one, other = document["entries"][:2]
    one[2], other[2] = other[2], one[2]


def move_to_another_tenant(document: dict[str, Any]) -> None:
    document["entries"][1][0] = "evil"


def rename(document: dict[str, Any]) -> None:
    document["entries"][0][1] = "renamed"


def leave_out(document: dict[str, Any]) -> None:
    del document["entries"][0]


def reorder(document: dict[str, Any]) -> None:
    document["entries"].reverse()


def repeat(document: dict[str, Any]) -> None:
    document["entries"].append(document["entries"][0])


def another_store(document: dict[str, Any]) -> None:
    document["store"] = "0" * 32


def no_seal(document: dict[str, Any]) -> None:
    document["seal"] = ""


def entry_as_seal(document: dict[str, Any]) -> None:
    document["seal"] = document["entries"][0][2]


def deep(document: dict[str, Any]) -> None:
    document["entries"] = 5


@pytest.mark.parametrize(
    "change",
    [
        swap_values, move_to_another_tenant, rename, leave_out, reorder, repeat, another_store,
        no_seal, entry_as_seal, deep,
    ],
)  # fmt: skip
def test_what_was_changed_without_the_key_is_refused_as_a_whole(
    encrypted: EncryptedStore, path: Path, change: Change
) -> None:
    encrypted.set("a", Secret("1"))
    encrypted.set("a", Secret("2"), tenant="acme")
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    for attempt in (
        lambda: encrypted.read(encrypted.ref_for("a", None)),
        encrypted.names,
        encrypted.rotate_key,
        lambda: encrypted.set("b", Secret("3")),
    ):
        with pytest.raises(SecretsDamaged):
            attempt()


def test_an_entry_put_back_as_it_was_is_refused(encrypted: EncryptedStore, path: Path) -> None:
    encrypted.set("a", Secret("old"))
    old = json.loads(path.read_bytes())["entries"]
    encrypted.set("a", Secret("new"))
    document = json.loads(path.read_bytes()) | {"entries": old}
    path.write_text(json.dumps(document))
    with pytest.raises(SecretsDamaged):
        encrypted.names()


def test_an_entry_does_not_open_in_anothers_place_even_under_a_valid_seal(path: Path) -> None:
    """By who has the key, or a bug: the entry's own associated data hold it in its place."""
    from llmspell.security.secrets.encrypted.document import (
        Document,
        OpenDocument,
        _cipher,
        _sealed,
        _whole,
        parsed,
        sealed,
    )  # fmt: skip

    key = MasterKey.draw()
    document = parsed(sealed({(None, "a"): Secret("1"), ("acme", "a"): Secret("2")}, key))
    swapped = dict(zip(document.entries, reversed(document.entries.values()), strict=True))
    moved = Document(document.store, document.key_id, swapped, b"")
    own = derived(key.value, b"seal", document.store.encode())
    opened = Document(
        moved.store, moved.key_id, swapped, _sealed(_cipher(own), b"", _whole(moved))
    ).open([key])
    assert isinstance(opened, OpenDocument)
    for entry in swapped:
        with pytest.raises(SecretsDamaged, match="sealed under this name"):
            opened.value(entry)


def test_no_byte_can_be_changed_or_cut_off(encrypted: EncryptedStore, path: Path) -> None:
    encrypted.set("a", Secret("1"), tenant="acme")
    whole = path.read_bytes()
    expected = values(encrypted)
    for position in range(len(whole)):
        for damaged in (
            whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :],
            whole[:position],
        ):
            path.write_bytes(damaged)
            with suppress(SecretsDamaged, UnsupportedFormat, WrongKey):
                # Where the change is one of blanks it is the same document; no bytes are no file.
                assert values(encrypted) == expected or not damaged


@pytest.mark.parametrize(
    "text",
    [b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": "llmspell secrets"}', b"5"],
)
def test_what_is_no_store_is_refused(encrypted: EncryptedStore, path: Path, text: bytes) -> None:
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(SecretsDamaged):
        encrypted.names()


@pytest.mark.parametrize(
    "change", [{"key": "\x1b[2J"}, {"key": "a" * 100}, {"store": "\x1b[2J"}, {"version": "9" * 100}]
)
def test_what_is_not_believed_yet_is_not_repeated(
    encrypted: EncryptedStore, path: Path, change: dict[str, str]
) -> None:
    encrypted.set("a", Secret("1"))
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises((SecretsDamaged, UnsupportedFormat)) as refused:
        encrypted.names()
    assert not any(value in str(refused.value) for value in change.values())


def test_a_later_version_is_named(encrypted: EncryptedStore, path: Path) -> None:
    encrypted.set("a", Secret("1"))
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": 2}))
    with pytest.raises(UnsupportedFormat, match="version 2"):
        encrypted.names()


def test_a_wrong_or_missing_key_is_named(path: Path, tmp_path: Path) -> None:
    environ = {"KEY": MasterKey.draw().text().reveal()}
    encrypted = EncryptedStore(path, KeyVariable("KEY", environ=environ))
    encrypted.set("a", Secret("1"))
    right = environ["KEY"]
    for wrong in (MasterKey.draw().text().reveal(), "", None):
        environ["KEY"] = wrong or ""
        for attempt in (encrypted.names, lambda: encrypted.set("b", Secret("2"))):
            with pytest.raises(WrongKey, match="isn't given"):
                attempt()
    environ["KEY"] = right
    assert values(encrypted) == {(None, "a"): "1"}
    with pytest.raises(WrongKey, match="no key"):
        EncryptedStore(tmp_path / "new", KeyVariable("NONE", environ={})).set("a", Secret("1"))


def test_a_file_that_others_can_read_is_refused(encrypted: EncryptedStore, path: Path) -> None:
    encrypted.set("a", Secret("1"))
    path.chmod(0o644)
    with pytest.raises(InsecureFile):
        encrypted.names()


# What it is made of.


def test_hkdf_is_that_of_rfc_5869() -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = MasterKey.draw().value
    for salt in (b"", b"store"):
        info = fields(b"llmspell secrets 1", b"purpose")
        theirs = HKDF(SHA256(), 32, salt or None, info).derive(key.reveal())
        assert derived(key, b"purpose", salt).reveal() == theirs
    assert derived(key, b"seal").reveal() != derived(key, b"key id").reveal()


def test_fields_of_different_cuts_are_different_bytes() -> None:
    cuts = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc", ""),
        ("", "abc"),
        (None, "abc"),
        (b"a", "bc"),
        ("a", "b", "c"),
    ]
    assert len({fields(*cut) for cut in cuts}) == len(cuts)


def test_without_cryptography_the_extra_is_named(
    encrypted: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None
    )
    with pytest.raises(MissingDependency, match=r"llmspell\[security\]"):
        encrypted.set("a", Secret("hunter22"))


def test_too_large_a_file_is_not_read(
    encrypted: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted.set("a", Secret(base64.b64encode(os.urandom(999)).decode()))
    monkeypatch.setattr(store_module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(InsecureFile, match="at most 1000"):
        encrypted.names()
