from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from llmspell import _hot
from llmspell.errors import ConfigError
from llmspell.security import FileSandbox
from llmspell.security.files import resolving
from tests.security.conftest import needs_openat2


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM, errno.EACCES])
def test_a_kernel_or_container_without_openat2_is_served_by_the_walk(
    answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(resolving, "open_beneath", refuse)
    (tmp_path / "a").write_text("a")
    with FileSandbox([tmp_path]) as sandbox:
        assert sandbox.resolver == "walk"
        with sandbox.open("a") as file:
            assert file.read() == "a"
    with pytest.raises(ConfigError, match="has no openat2"):
        FileSandbox([tmp_path], resolver="openat2")


def test_another_failure_is_not_taken_for_a_missing_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(resolving, "open_beneath", fail)
    with pytest.raises(OSError, match="Too many open files"):
        FileSandbox([tmp_path])


@needs_openat2
def test_openat2_is_used_where_it_is_there(tmp_path: Path) -> None:
    with FileSandbox([tmp_path]) as sandbox:
        assert sandbox.resolver == "openat2"


@needs_openat2
def test_the_native_call_stays_beneath_and_closes_on_exec(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "inner" / "out").symlink_to("../secret")
    directory = os.open(tmp_path / "inner", os.O_PATH)
    try:
        made = _hot.open_beneath(directory, b"new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        assert fcntl.fcntl(made, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert os.fstat(made).st_mode & 0o777 == 0o600
        os.close(made)
        for path, answer in {
            b"../secret": errno.EXDEV,
            b"/etc/passwd": errno.EXDEV,
            b"out": errno.ELOOP,
            b"missing": errno.ENOENT,
        }.items():
            with pytest.raises(OSError, match=os.strerror(answer)) as caught:
                _hot.open_beneath(directory, path, os.O_RDONLY)
            assert caught.value.errno == answer
        with pytest.raises(ValueError, match="null byte"):
            _hot.open_beneath(directory, b"new\0x", os.O_RDONLY)
        with pytest.raises(TypeError):
            _hot.open_beneath(directory, "new", os.O_RDONLY)  # type: ignore[arg-type]
    finally:
        os.close(directory)
