"""Secrets in files: read only where nobody else could have read or replaced them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.errors import (
    ConfigError,
    InsecureFile,
    InvalidSecretRef,
    SecretUnavailable,
    UnreadableSecret,
)
from llmspell.security import FileBackend, Secret, SecretRef, SecretStore
from llmspell.security.secrets import strict_files

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    (made / "tenants" / "acme").mkdir(parents=True)
    for directory in (made, made / "tenants", made / "tenants" / "acme"):
        directory.chmod(0o755)
    return made


def put(path: Path, text: str | bytes = "value", mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def read(folder: Path, path: str = "openai", *, group_may_read: bool = False) -> Secret[str] | None:
    return FileBackend(folder, group_may_read=group_may_read).read(SecretRef("file", path))


@pytest.mark.parametrize(
    "content, value",
    [("v", "v"), ("v\n", "v"), ("v\r\n", "v"), ("v\n\n", "v\n"), (" é ", " é "), ("\r", None)],
)
def test_the_text_is_the_secret_without_its_last_line_end(
    folder: Path, content: str, value: str | None
) -> None:
    put(folder / "openai", content)
    if value is None:
        with pytest.raises(UnreadableSecret):
            read(folder)
    else:
        assert read(folder) == Secret(value)


def test_a_file_that_is_not_there_or_is_empty_is_no_secret(folder: Path) -> None:
    assert read(folder) is None
    assert read(folder / "none") is None
    assert read(folder, "tenants/nobody/openai") is None
    put(folder / "openai", "")
    assert read(folder) is None


def test_names_of_tenants_are_their_files(folder: Path) -> None:
    put(folder / "openai", "shared")
    put(folder / "tenants" / "acme" / "openai", "acme's")
    store = SecretStore([FileBackend(folder)], environ={})
    assert store.api_key("openai").reveal() == "shared"
    assert store.for_tenant("acme").api_key("openai").reveal() == "acme's"
    assert store.get("file:tenants/acme/openai").reveal() == "acme's"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_that_others_may_open_is_refused(folder: Path, mode: int) -> None:
    put(folder / "openai", mode=mode)
    with pytest.raises(InsecureFile, match="chmod 600"):
        read(folder)


def test_the_group_may_read_where_that_is_allowed(folder: Path) -> None:
    put(folder / "openai", mode=0o440)
    assert read(folder, group_may_read=True) == Secret("value")
    for mode in (0o460, 0o450, 0o444):
        put(folder / "other", mode=mode)
        with pytest.raises(InsecureFile):
            read(folder, "other", group_may_read=True)


def as_link(folder: Path) -> None:
    (folder / "openai").symlink_to(put(folder / "target"))


def as_hard_link(folder: Path) -> None:
    os.link(put(folder / "target"), folder / "openai")


def as_fifo(folder: Path) -> None:
    os.mkfifo(folder / "openai", 0o600)


def as_directory(folder: Path) -> None:
    (folder / "openai").mkdir(0o700)


def as_too_long(folder: Path) -> None:
    put(folder / "openai", "v" * 65537)


def in_an_open_directory(folder: Path) -> None:
    put(folder / "openai")
    folder.chmod(0o777)


def in_a_directory_of_the_group(folder: Path) -> None:
    put(folder / "openai")
    folder.chmod(0o775)


@pytest.mark.parametrize(
    "prepare",
    [
        as_link, as_hard_link, as_fifo, as_directory, as_too_long, in_an_open_directory,
        in_a_directory_of_the_group,
    ],
)  # fmt: skip
def test_what_others_could_have_put_there_is_refused(
    folder: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(folder)
    with pytest.raises(InsecureFile):
        read(folder)


def test_a_link_or_an_open_directory_on_the_way_is_refused(folder: Path) -> None:
    put(folder / "tenants" / "acme" / "openai")
    (folder / "tenants" / "other").symlink_to("acme")
    put(folder / "plain")
    for path in ("tenants/other/openai", "plain/openai"):
        with pytest.raises(InsecureFile, match="link or no directory"):
            read(folder, path)
    (folder / "tenants" / "acme").chmod(0o777)
    with pytest.raises(InsecureFile, match="others may write"):
        read(folder, "tenants/acme/openai")


@as_root
def test_a_file_or_directory_of_another_user_is_refused(folder: Path) -> None:
    path = put(folder / "openai")
    os.chown(path, 4242, -1)
    with pytest.raises(InsecureFile, match="user 4242"):
        read(folder)
    os.chown(path, 0, -1)
    os.chown(folder, 4242, -1)
    with pytest.raises(InsecureFile, match="user 4242"):
        read(folder)


def test_a_link_to_the_directory_is_its_owners_choice(folder: Path) -> None:
    put(folder / "openai")
    (folder.parent / "link").symlink_to(folder)
    assert read(folder.parent / "link") == Secret("value")


def test_binary_content_is_refused_without_showing_it(folder: Path) -> None:
    put(folder / "openai", b"hunter22\xff")
    with pytest.raises(UnreadableSecret) as refused:
        read(folder)
    assert "hunter22" not in str(refused.value)


def test_a_file_has_no_fields_and_a_directory_an_absolute_path(folder: Path) -> None:
    with pytest.raises(InvalidSecretRef):
        FileBackend(folder).read(SecretRef("file", "openai", "key"))
    with pytest.raises(ConfigError):
        FileBackend("secrets")


def test_a_disk_that_fails_is_told_as_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "openai")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(strict_files.os, "read", broken)
    with pytest.raises(SecretUnavailable, match="Input/output error"):
        read(folder)


def test_what_is_swapped_while_it_is_read_is_never_another_file(folder: Path) -> None:
    """A link to a file of another's, and the plain file, by turns."""
    (folder / "plain").write_text("ours")
    (folder / "plain").chmod(0o600)
    put(folder.parent / "theirs", "theirs", mode=0o644)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for source in ("link", "copy"):
                draft = folder / source
                if source == "link":
                    draft.symlink_to(folder.parent / "theirs")
                else:
                    put(draft, "ours")
                os.replace(draft, folder / "openai")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                found = read(folder)
            except InsecureFile:
                seen.add("refused")
            else:
                assert found in {None, Secret("ours")}
                seen.add("read")
    finally:
        done.set()
        swapper.join()
    assert seen == {"refused", "read"}
