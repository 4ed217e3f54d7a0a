"""Where the key of the encrypted store is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring

from llmspell.errors import (
    ConfigError,
    InsecureFile,
    MissingDependency,
    SecretUnavailable,
    WrongKey,
)
from llmspell.security import (
    EncryptedStore,
    KeyFile,
    KeyringEntry,
    KeySource,
    KeyVariable,
    MasterKey,
    Secret,
)


class MemoryKeyring(KeyringBackend):
    """A keyring of the library's own interface that forgets with the process."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKeyring]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before, made = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture(params=["file", "keyring"])
def source(request: pytest.FixtureRequest, tmp_path: Path, memory: MemoryKeyring) -> KeySource:
    return KeyFile(tmp_path / "key") if request.param == "file" else KeyringEntry("llmspell-test")


def test_keys_are_kept_in_order(source: KeySource) -> None:
    assert source.load() == ()
    keys = tuple(MasterKey.draw() for _ in range(3))
    source.save(keys)
    assert source.load() == keys
    source.save(keys[:1])
    assert source.load() == keys[:1]


def test_a_store_draws_its_first_key_and_rotates_it(source: KeySource, tmp_path: Path) -> None:
    store = EncryptedStore(tmp_path / "store", source)
    store.set("a", Secret("1"))
    first = source.load()
    store.rotate_key()
    assert len(source.load()) == 2 and source.load()[1:] == first
    assert store.drop_old_keys() == [first[0].id] and len(source.load()) == 1
    assert store.read(store.ref_for("a", None)) == Secret("1")


def test_a_key_file_is_ours_alone(tmp_path: Path) -> None:
    source = KeyFile(tmp_path / "key")
    source.save([MasterKey.draw()])
    assert source.path.stat().st_mode & 0o777 == 0o600
    source.path.chmod(0o640)
    with pytest.raises(InsecureFile):
        source.load()
    with pytest.raises(ConfigError):
        KeyFile("key")


def test_a_link_in_the_place_of_a_key_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / "key").symlink_to(target)
    (tmp_path / ".key.new").symlink_to(target)
    source = KeyFile(tmp_path / "key")
    with pytest.raises(InsecureFile):
        source.load()
    source.save([MasterKey.draw()])
    assert target.read_text() == "theirs" and len(source.load()) == 1


@pytest.mark.parametrize(
    "text",
    ["hunter22", "aGVsbG8=", "é" * 44, "A" * 43, ("A" * 43 + "= ") * 17, "!" + "A" * 43 + "="],
)
def test_what_is_no_key_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    for source in (KeyFile(tmp_path / "key"), KeyVariable("KEY", environ={"KEY": text})):
        with pytest.raises(WrongKey) as refused:
            source.load()
        assert text not in str(refused.value)


def test_a_variable_is_read_anew_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    source = KeyVariable()
    assert source.load() == ()
    key = MasterKey.draw()
    monkeypatch.setitem(os.environ, "LLMSPELL_SECRETS_KEY", key.text().reveal())
    assert source.load() == (key,)
    with pytest.raises(ConfigError, match="set from outside"):
        source.save([key])


def test_a_key_shows_its_id_alone(tmp_path: Path) -> None:
    key = MasterKey.draw()
    text = key.text().reveal()
    source = KeyVariable("KEY", environ={"KEY": text})
    assert key.id in repr(key)
    for shown in (repr(key), str(key), repr(source), repr(EncryptedStore(tmp_path / "s", source))):
        assert text not in shown and repr(key.value.reveal()) not in shown


def test_a_machine_without_a_keyring_is_told(memory: MemoryKeyring) -> None:
    keyring.set_keyring(NoKeyring())
    for attempt in (KeyringEntry().load, lambda: KeyringEntry().save([MasterKey.draw()])):
        with pytest.raises(SecretUnavailable, match="in a file or a variable") as told:
            attempt()
        assert told.value.__context__ is None


def test_a_keyring_that_breaks_leaves_its_frames_behind(
    memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose bus goes away does: what it raises is no KeyringError."""

    def fail(self: object, service: str, username: str, *password: str) -> None:
        raise RuntimeError(f"lost {password}")

    monkeypatch.setattr(MemoryKeyring, "get_password", fail)
    monkeypatch.setattr(MemoryKeyring, "set_password", fail)
    key = MasterKey.draw()
    for attempt in (KeyringEntry().load, lambda: KeyringEntry().save([key])):
        with pytest.raises(SecretUnavailable, match="RuntimeError") as told:
            attempt()
        assert told.value.__context__ is None and key.text().reveal() not in str(told.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingDependency, match=r"llmspell\[keyring\]"):
        KeyringEntry().load()
