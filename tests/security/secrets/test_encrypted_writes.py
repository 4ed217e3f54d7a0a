"""Rotation and other writes: all or nothing, by whomever and whatever comes between."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import (
    ConfigError,
    InputError,
    SecretNotFound,
    SecretsDamaged,
    WrongKey,
)
from llmspell.security import EncryptedStore, KeyFile, KeyVariable, MasterKey, Secret
from llmspell.security.secrets.encrypted import store as store_module
from llmspell.security.secrets.encrypted.keys import MAX_KEYS
from tests.security.secrets.places import forks
from tests.security.secrets.stores import values


def test_rotation_seals_all_under_a_new_key_and_the_old_opens_copies_until_it_is_dropped(
    encrypted: EncryptedStore, path: Path, tmp_path: Path
) -> None:
    encrypted.set("a", Secret("1"))
    encrypted.set("a", Secret("2"), tenant="acme")
    before, (old,) = path.read_bytes(), KeyFile(tmp_path / "key").load()
    held = values(encrypted)
    new = encrypted.rotate_key()
    assert [key.id for key in KeyFile(tmp_path / "key").load()] == [new, old.id]
    assert values(encrypted) == held
    after = path.read_bytes()
    assert json.loads(after)["key"] == new
    path.write_bytes(before)
    assert values(encrypted) == held
    path.write_bytes(after)
    assert encrypted.drop_old_keys() == [old.id]
    assert encrypted.drop_old_keys() == []
    path.write_bytes(before)
    with pytest.raises(WrongKey, match=old.id):
        encrypted.names()


def test_stores_that_share_a_source_are_rotated_one_after_the_other(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "key")
    one, two = (EncryptedStore(tmp_path / name, keys) for name in ("one", "two"))
    one.set("a", Secret("1"))
    two.set("a", Secret("2"))
    (old,) = keys.load()
    first = one.rotate_key()
    assert values(two) == {(None, "a"): "2"}
    assert one.drop_old_keys(beside=[two]) == []
    second = two.rotate_key()
    assert one.drop_old_keys(beside=[two]) == [old.id]
    assert [key.id for key in keys.load()] == [second, first]
    assert (values(one), values(two)) == ({(None, "a"): "1"}, {(None, "a"): "2"})
    one.set("b", Secret("3"))  # by the first of the keys, as every write
    assert one.drop_old_keys(beside=[two]) == [first]
    assert (len(values(one)), len(values(two))) == (2, 1)


def test_no_key_is_dropped_while_a_store_that_is_named_cannot_be_read(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "key")
    one, two = (EncryptedStore(tmp_path / name, keys) for name in ("one", "two"))
    one.set("a", Secret("1"))
    one.rotate_key()
    before = keys.load()
    with pytest.raises(SecretNotFound, match="two"):
        one.drop_old_keys(beside=[two])
    (tmp_path / "two").write_text("{}")
    (tmp_path / "two").chmod(0o600)
    with pytest.raises(SecretsDamaged):
        one.drop_old_keys(beside=[two])
    assert keys.load() == before


def test_a_source_that_is_full_refuses_a_rotation_and_loses_nothing(
    encrypted: EncryptedStore, tmp_path: Path
) -> None:
    encrypted.set("a", Secret("1"))
    for _ in range(MAX_KEYS - 1):
        encrypted.rotate_key()
    before = KeyFile(tmp_path / "key").load()
    with pytest.raises(ConfigError, match="drop_old_keys"):
        encrypted.rotate_key()
    assert KeyFile(tmp_path / "key").load() == before
    assert len(encrypted.drop_old_keys()) == MAX_KEYS - 1
    encrypted.rotate_key()
    assert values(encrypted) == {(None, "a"): "1"}


def test_a_key_in_a_variable_is_rotated_by_two_in_it(path: Path) -> None:
    old, new = MasterKey.draw(), MasterKey.draw()
    environ = {"KEY": old.text().reveal()}
    encrypted = EncryptedStore(path, KeyVariable("KEY", environ=environ))
    encrypted.set("a", Secret("1"))
    with pytest.raises(ConfigError, match="no newer key"):
        encrypted.rotate_key()
    environ["KEY"] = f"{new.text().reveal()} {old.text().reveal()}"
    assert values(encrypted) == {(None, "a"): "1"}
    assert encrypted.rotate_key() == new.id
    with pytest.raises(ConfigError, match="from outside"):
        encrypted.drop_old_keys()
    environ["KEY"] = new.text().reveal()
    assert values(encrypted) == {(None, "a"): "1"}


def test_nothing_is_no_store_to_rotate(encrypted: EncryptedStore) -> None:
    for change in (encrypted.rotate_key, encrypted.drop_old_keys):
        with pytest.raises(SecretNotFound):
            change()


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_the_answer(
    encrypted: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted.set("a", Secret("1"))
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("sync the directory" if is_directory else "sync the file")
        fsync(descriptor)

    def renamed(*names: str, **directories: int) -> None:
        steps.append("rename")
        rename(*names, **directories)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    encrypted.set("a", Secret("2"))
    assert steps == ["sync the file", "rename", "sync the directory"]


class _Cut(BaseException):
    """The power is cut."""


@pytest.mark.parametrize("operation", ["set", "rotate_key", "drop_old_keys"])
def test_at_every_step_of_a_write_the_store_opens_as_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Cut off before each call that changes the disk, until it gets through."""
    steps = 0
    for cut in range(1000):
        folder = tmp_path / str(cut)
        folder.mkdir()
        encrypted = EncryptedStore(folder / "s", KeyFile(folder / "k"))
        encrypted.set("a", Secret("1"))
        beside = EncryptedStore(folder / "beside", KeyFile(folder / "k"))
        beside.set("a", Secret("1"))
        if operation == "drop_old_keys":
            encrypted.rotate_key()
        left = cut

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise _Cut
                return real(*arguments, **named)

            return call

        done = False
        with monkeypatch.context() as patched:
            for name in ("unlink", "open", "write", "fsync", "rename"):
                patched.setattr(os, name, counted(getattr(os, name)))
            try:
                if operation == "set":
                    encrypted.set("b", Secret("2"))
                elif operation == "rotate_key":
                    encrypted.rotate_key()
                else:
                    encrypted.drop_old_keys(beside=[beside])
                done = True
            except _Cut:
                steps += 1
        after = {(None, "a"): "1"} | ({(None, "b"): "2"} if operation == "set" else {})
        found = values(encrypted)
        assert found == after if done else found in ({(None, "a"): "1"}, after)
        assert values(beside) == {(None, "a"): "1"}
        encrypted.set("c", Secret("3"))  # and what was left behind hinders nobody
        assert values(encrypted) == found | {(None, "c"): "3"}
        if done:
            break
    assert steps > 10


def _write_until_killed(path: Path, key: Path) -> None:
    encrypted = EncryptedStore(path, KeyFile(key))
    for turn in range(10**9):
        encrypted.set("a", Secret(str(turn)))
        encrypted.rotate_key()
        encrypted.drop_old_keys()


@forks
def test_a_writer_that_is_killed_leaves_a_store_that_opens(path: Path, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    encrypted = EncryptedStore(path, KeyFile(tmp_path / "key"))
    encrypted.set("a", Secret("first"))
    for _ in range(10):
        before = values(encrypted)
        child = spawn.Process(target=_write_until_killed, args=(path, tmp_path / "key"))
        child.start()
        while values(encrypted) == before:
            pass
        child.kill()
        child.join()
        assert list(values(encrypted)) == [(None, "a")]


def _write_some(folder: Path, writer: int) -> None:
    """To one of two stores that share a source, whose keys are all their doing."""
    stores = [EncryptedStore(folder / f"s{number}", KeyFile(folder / "key")) for number in (0, 1)]
    mine, other = stores[writer % 2], stores[1 - writer % 2]
    for turn in range(5):
        mine.set(f"{writer}-{turn}", Secret("v"))
        mine.rotate_key()
        mine.drop_old_keys(beside=[other])


@forks
def test_writers_of_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    stores = [
        EncryptedStore(tmp_path / f"s{number}", KeyFile(tmp_path / "key")) for number in (0, 1)
    ]
    for store in stores:
        store.set("first", Secret("v"))
    workers: list[Any] = [
        kind(target=_write_some, args=(tmp_path, number))
        for number, kind in enumerate(
            [fork.Process, fork.Process, threading.Thread, threading.Thread]
        )
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        for store in stores:
            values(store)  # readers meet no torn file and no missing key
    for worker in workers:
        worker.join()
    assert [len(store.names()) for store in stores] == [11, 11]


def test_a_store_that_would_get_too_long_to_read_is_not_written(
    encrypted: EncryptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MAX_FILE_BYTES", 1000)
    encrypted.set("a", Secret("1"))
    with pytest.raises(InputError, match="at most 1000"):
        encrypted.set("b", Secret("v" * 1000))
    assert values(encrypted) == {(None, "a"): "1"}


@forks
def test_a_child_that_was_forked_in_a_write_does_not_keep_the_lock(
    encrypted: EncryptedStore,
) -> None:
    encrypted.set("a", Secret("1"))
    reader, writer = os.pipe()
    with encrypted._writing():
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent is done
            os._exit(0)
    done = threading.Thread(target=encrypted.set, args=("b", Secret("2")), daemon=True)
    done.start()
    done.join(20)
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)
    assert not done.is_alive() and len(encrypted.names()) == 2
