"""Changes of an encrypted store and of its key, on record before they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import (
    AuditFailed,
    ConfigError,
    InvalidSecretRef,
    SecretNotFound,
    UnreadableSecret,
)
from llmspell.security import (
    AuditLog,
    EncryptedStore,
    KeyFile,
    KeyVariable,
    MasterKey,
    Secret,
    read_audit,
    verify_audit,
)
from llmspell.security.secrets.encrypted import store as store_module
from tests.security.audit.sinks import Keeping, Kept
from tests.security.secrets.stores import values


@pytest.fixture
def key(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "key")


@pytest.fixture
def audited_store(path: Path, key: KeyFile) -> Callable[..., tuple[EncryptedStore, Keeping]]:
    def made(*failing: str) -> tuple[EncryptedStore, Keeping]:
        sink = Keeping(*failing)
        return EncryptedStore(path, key, audit=sink), sink

    return made


Make = Callable[..., tuple[EncryptedStore, Keeping]]


def test_the_first_set_draws_a_key_and_both_are_recorded(
    audited_store: Make, path: Path, key: KeyFile
) -> None:
    encrypted, sink = audited_store()
    encrypted.set("openai", Secret("hunter22"), tenant="acme")
    ref, file = "local:tenants/acme/openai", str(path)
    (drawn,) = key.load()
    kept = {"change": "draw", "source": repr(key), "new": drawn.id}
    assert sink.kept == [
        Kept("secret.change", ref, "begun", "acme", {"change": "set", "file": file}),
        Kept("key.change", file, "begun", None, kept),
        Kept("key.change", file, "done", None, {}),
        Kept("secret.change", ref, "done", "acme", {}),
    ]
    encrypted.set("openai", Secret("again"))
    assert sink.kept[4][:3] == ("secret.change", "local:openai", "begun")
    assert len(sink.kept) == 6


def test_deletes_and_rotations_are_recorded(
    encrypted: EncryptedStore, audited_store: Make, path: Path, key: KeyFile
) -> None:
    encrypted.set("openai", Secret("hunter22"))
    (old,) = key.load()
    encrypted, sink = audited_store()
    new = encrypted.rotate_key()
    encrypted.delete("openai")
    with pytest.raises(SecretNotFound):
        encrypted.delete("openai")
    rotated = {"change": "rotate", "source": repr(key), "old": old.id, "new": new}
    deleted = {"change": "delete", "file": str(path)}
    missing = {"error": "SecretNotFound"}
    assert sink.kept == [
        Kept("key.change", str(path), "begun", None, rotated),
        Kept("key.change", str(path), "done", None, {}),
        Kept("secret.change", "local:openai", "begun", None, deleted),
        Kept("secret.change", "local:openai", "done", None, {}),
        Kept("secret.change", "local:openai", "begun", None, deleted),
        Kept("secret.change", "local:openai", "failed", None, missing),
    ]


def test_a_change_that_cannot_be_recorded_is_not_begun(
    encrypted: EncryptedStore, audited_store: Make, path: Path, key: KeyFile
) -> None:
    unrecorded, _ = audited_store("begun")
    with pytest.raises(AuditFailed):
        unrecorded.set("openai", Secret("1"))
    assert key.load() == () and not path.exists()
    encrypted.set("openai", Secret("1"))
    before, keys = path.read_bytes(), key.load()
    for change in (
        lambda: unrecorded.set("openai", Secret("2")),
        lambda: unrecorded.delete("openai"),
        unrecorded.rotate_key,
    ):
        with pytest.raises(AuditFailed):
            change()
    assert path.read_bytes() == before and key.load() == keys
    encrypted.set("openai", Secret("3"))  # and the lock was let go of
    assert values(unrecorded) == {(None, "openai"): "3"}


def test_a_change_whose_end_cannot_be_recorded_says_that_it_is_done(
    encrypted: EncryptedStore, audited_store: Make, key: KeyFile
) -> None:
    encrypted.set("openai", Secret("1"))
    unrecorded, _ = audited_store("done")
    (old,) = key.load()
    for change in (lambda: unrecorded.set("openai", Secret("2")), unrecorded.rotate_key):
        with pytest.raises(AuditFailed) as caught:
            change()
        assert "the step is done" in caught.value.__notes__[0]
    assert values(encrypted) == {(None, "openai"): "2"}
    assert key.load() != (old,)


def test_a_write_that_fails_is_recorded_as_failed(
    encrypted: EncryptedStore,
    audited_store: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encrypted.set("openai", Secret("1"))
    encrypted, sink = audited_store()

    def full(*_: object) -> None:
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(store_module, "replace_strict", full)
    for change in (lambda: encrypted.set("openai", Secret("2")), encrypted.rotate_key):
        with pytest.raises(OSError, match="full"):
            change()
    assert sink.steps() == [
        *(("secret.change", "begun"), ("secret.change", "failed")),
        *(("key.change", "begun"), ("key.change", "failed")),
    ]


def test_a_key_that_was_set_from_outside_is_recorded_when_it_is_used(path: Path) -> None:
    old, new = MasterKey.draw(), MasterKey.draw()
    environ = {"KEY": old.text().reveal()}
    sink = Keeping()
    encrypted = EncryptedStore(path, KeyVariable("KEY", environ=environ), audit=sink)
    encrypted.set("a", Secret("1"))
    with pytest.raises(ConfigError, match="no newer key"):
        encrypted.rotate_key()
    assert {one.kind for one in sink.kept} == {"secret.change"}
    environ["KEY"] = f"{new.text().reveal()} {old.text().reveal()}"
    encrypted.rotate_key()
    assert sink.kept[-2].details == {
        "change": "rotate",
        "source": "KeyVariable('KEY')",
        "old": old.id,
        "new": new.id,
    }


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (InvalidSecretRef, lambda store: store.set("A", Secret("1"))),
        (InvalidSecretRef, lambda store: store.delete("../a")),
        (ConfigError, lambda store: store.delete("a", tenant=7)),
        (UnreadableSecret, lambda store: store.set("a", Secret("1" * 65537))),
        (SecretNotFound, lambda store: store.delete("a")),
        (SecretNotFound, lambda store: store.rotate_key()),
    ],
)
def test_what_cannot_be_asked_for_is_not_recorded(
    error: type[Exception], call: Callable[[EncryptedStore], object], audited_store: Make
) -> None:
    encrypted, sink = audited_store()
    with pytest.raises(error):
        call(encrypted)
    assert sink.kept == []


def test_a_log_holds_no_value_and_no_key(path: Path, key: KeyFile, tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        encrypted = EncryptedStore(path, key, audit=log)
        encrypted.set("openai", Secret("hunter22"), tenant="é" * 128)
        (old,) = key.load()
        new = encrypted.rotate_key()
        encrypted.delete("openai", tenant="é" * 128)
        keys = [old, *key.load()]
    assert verify_audit(tmp_path / "log").is_sound
    records = list(read_audit(tmp_path / "log"))
    rotated = next(r for r in records if r.details.get("change") == "rotate")
    assert (rotated.details["old"], rotated.details["new"]) == (old.id, new)
    written = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert b"hunter22" not in written
    assert not any(one.text().reveal().encode() in written for one in keys)


@pytest.mark.parametrize("audit", ["log", 7])
def test_what_is_no_sink_is_refused(audit: Any, path: Path, key: KeyFile) -> None:
    with pytest.raises(ConfigError, match="audit"):
        EncryptedStore(path, key, audit=audit)
