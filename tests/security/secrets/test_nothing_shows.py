"""A value is in no error: not in what it says, what it came from, or the locals of its frames."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmspell.errors import LlmspellError, SecretExposed
from llmspell.security import (
    EncryptedStore,
    FileBackend,
    KeyFile,
    KeyVariable,
    MasterKey,
    Secret,
    SecretStore,
    VaultBackend,
    VaultToken,
)
from llmspell.security.secrets import strict_files
from tests.security.secrets.bao_server import BaoServer
from tests.security.secrets.places import Shelf, forks

VALUE = "correct-horse-battery-staple"


def shown_by(error: BaseException | None) -> str:
    """All that a reporter could take of an error: causes, contexts even if suppressed, locals."""
    shown = []
    while error is not None:
        shown.append(f"{error!r} {error} {vars(error)}")
        traceback: types.TracebackType | None = error.__traceback__
        while traceback is not None:
            if "/tests/" not in traceback.tb_frame.f_code.co_filename:
                shown += [
                    f"{name}={value!r}" for name, value in traceback.tb_frame.f_locals.items()
                ]
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


def file_of_bytes(folder: Path, _: pytest.MonkeyPatch) -> Callable[[], object]:
    (folder / "a").write_bytes(VALUE.encode() + b"\xff")
    (folder / "a").chmod(0o600)
    return lambda: SecretStore([FileBackend(folder)], environ={}).get("file:a")


def file_that_fails_half_way(folder: Path, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    (folder / "a").write_text(VALUE)
    (folder / "a").chmod(0o600)
    pieces = [VALUE.encode()]

    def read(*_: object) -> bytes:
        if pieces:
            return pieces.pop()
        raise OSError(5, "Input/output error")

    def get() -> object:
        with patch.context() as patched:
            patched.setattr(strict_files.os, "read", read)
            return SecretStore([FileBackend(folder)], environ={}).get("file:a")

    return get


def variable_of_bytes(_: Path, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    patch.setenv("LLMSPELL_TEST", "x")
    os.environb[b"LLMSPELL_TEST"] = VALUE.encode() + b"\xff"
    return lambda: SecretStore().get("env:LLMSPELL_TEST")


def observer_that_fails(_: Path, __: pytest.MonkeyPatch) -> Callable[[], object]:
    def fail(_: object) -> None:
        raise LlmspellError("the log is full")

    store = SecretStore([Shelf(a=VALUE)], environ={}, on_access=fail)
    return lambda: store.get("name:a")


def key_that_is_none(folder: Path, _: pytest.MonkeyPatch) -> Callable[[], object]:
    environ = {"KEY": MasterKey.draw().text().reveal()}
    EncryptedStore(folder / "s", KeyVariable("KEY", environ=environ)).set("a", Secret("v"))
    broken = KeyVariable("KEY", environ={"KEY": f"{environ['KEY']} {VALUE}"})
    return EncryptedStore(folder / "s", broken).names


def value_too_long(folder: Path, _: pytest.MonkeyPatch) -> Callable[[], object]:
    store = EncryptedStore(folder / "s", KeyFile(folder / "k"))
    return lambda: store.set("a", Secret(VALUE * 10_000))


def disk_that_fails_in_a_write(folder: Path, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    store = EncryptedStore(folder / "s", KeyFile(folder / "k"))
    store.set("a", Secret(VALUE))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def write() -> object:
        with patch.context() as patched:
            patched.setattr(strict_files.os, "fsync", fail)
            return store.set("b", Secret(VALUE))

    return write


def disk_that_fails_as_a_key_is_kept(
    folder: Path, patch: pytest.MonkeyPatch
) -> Callable[[], object]:
    key = MasterKey.of(Secret(VALUE.encode().ljust(32, b"-")))
    patch.setattr(MasterKey, "text", lambda self: Secret(VALUE))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def save() -> object:
        with patch.context() as patched:
            patched.setattr(strict_files.os, "fsync", fail)
            return KeyFile(folder / "k").save([key])

    return save


def no_cryptography(folder: Path, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    store = EncryptedStore(folder / "s", KeyFile(folder / "k"))
    patch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    return lambda: store.set("b", Secret(VALUE))


@pytest.mark.parametrize(
    "prepare",
    [
        file_of_bytes, file_that_fails_half_way, variable_of_bytes, observer_that_fails,
        key_that_is_none, value_too_long, disk_that_fails_in_a_write,
        disk_that_fails_as_a_key_is_kept, no_cryptography,
    ],
)  # fmt: skip
def test_no_error_holds_a_value(
    prepare: Callable[[Path, pytest.MonkeyPatch], Callable[[], object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = prepare(tmp_path, monkeypatch)
    with pytest.raises((LlmspellError, OSError)) as failed:
        attempt()
    assert VALUE not in shown_by(failed.value)


def test_no_error_of_vault_holds_a_token_or_an_answer(bao: BaoServer) -> None:
    bao.put("llmspell/odd", value={"nested": VALUE}, other=VALUE)
    token = bao.token()
    backend = VaultBackend(bao.url, VaultToken(Secret(token)), timeout=0.5)
    store = SecretStore([backend], environ={})
    for text in ("name:odd", "name:none", "vault:secret/data/private#value"):
        with pytest.raises(LlmspellError) as failed:
            store.get(text)
        assert VALUE not in shown_by(failed.value) and token not in shown_by(failed.value)
    bao.root.auth.token.revoke(token)
    with pytest.raises(LlmspellError) as failed:
        store.get("name:openai")
    assert token not in shown_by(failed.value)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_no_log_of_ours_or_of_the_clients_holds_a_value(
    bao: BaoServer,
    tmp_path: Path,
    logged: pytest.LogCaptureFixture,
) -> None:
    token = bao.token()
    bao.put("llmspell/logged", value=VALUE)
    backend = VaultBackend(bao.url, VaultToken(Secret(token)))
    encrypted = EncryptedStore(tmp_path / "s", KeyFile(tmp_path / "k"))
    encrypted.set("local", Secret(VALUE))
    store = SecretStore([encrypted, backend], environ={})
    for name in ("logged", "local"):
        assert store.api_key(name).reveal() == VALUE
    assert logged.records  # urllib3's, of the requests
    assert VALUE not in logged.text and token not in logged.text
    assert all(VALUE not in repr(vars(record)) for record in logged.records)


def _echo(value: object) -> object:
    return value


@forks
def test_no_secret_goes_to_another_process() -> None:
    spawn = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[object] = spawn.Queue()
    with pytest.raises(SecretExposed):
        pickle.dumps({"key": Secret(VALUE)})
    with spawn.Pool(1) as pool, pytest.raises(SecretExposed):
        pool.apply(_echo, (Secret(VALUE),))
    store = SecretStore([Shelf(a=VALUE)], environ={})
    store.get("name:a")
    for held in (store, store.for_tenant("acme"), KeyVariable(environ={"K": VALUE})):
        assert VALUE not in repr(held)
    with pytest.raises(TypeError):  # with what it has cached
        pickle.dumps(store)
    queue.close()
