"""Usage, exit codes and how errors look."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell import errors
from llmspell.cli.exits import EXIT_TABLE, ExitCode, exit_code_for
from llmspell.cli.paths import default_data_directory

from .conftest import COMMAND, Cli, environment

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]")

WITHOUT = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
sys.argv = ["llmspell", "doctor", *{arguments!r}]
from llmspell.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_missing_extra_is_one_line_that_says_what_to_install(name: str, data: Path) -> None:
    code = WITHOUT.format(name=name, arguments=[])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(data),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"llmspell: {name} is not installed; run: pip install 'llmspell[cli]'"
    ]


def test_version_is_that_of_the_distribution(process: Cli) -> None:
    from importlib.metadata import version

    done = process("--version")
    assert (done.code, done.out) == (0, f"llmspell {version('llmspell')}\n")


def test_version_imports_neither_rich_nor_the_embedding_model(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "llmspell.cli", "--version"],
        env=environment(data),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"rich", "onnxruntime", "tokenizers", "prometheus_client"}


def test_no_command_prints_help_and_counts_as_wrong_usage(cli: Cli) -> None:
    done = cli()
    assert done.code == ExitCode.USAGE
    assert "Commands:" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serch",), "No such command 'serch'"),
        (("search", "acme"), "Missing argument 'QUERY'"),
        (("search", "acme", "words", "-k", "0"), "'-k'"),
        (("search", "acme", "words", "--filter", "lang=en"), """as '{"lang": "en"}', got"""),
        (("search", "acme", "words", "--filter", "[1]"), "--filter must be a JSON object"),
        (("tenant", "create", "acme", "--max-vectors", "many"), "--max-vectors takes a number"),
        (("tenant",), "Missing command"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    done = cli(*arguments)
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_wrong_usage_with_json_is_an_error_object(cli: Cli) -> None:
    done = cli("search", "acme", "--json")
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert done.error["type"] == "WrongUsage"
    assert done.error["exit_code"] == ExitCode.USAGE


def test_reading_where_no_data_is_gives_code_3_and_makes_nothing(cli: Cli, data: Path) -> None:
    for arguments in (
        ("search", "acme", "words"),
        ("tenant", "list"),
        ("tenant", "show", "acme"),
        ("tenant", "drop", "acme", "--yes"),
        ("stats",),
        ("bench",),
    ):
        done = cli(*arguments)
        assert done.code == ExitCode.NOT_FOUND, arguments
        assert done.err.startswith(f"llmspell: no data at {data}")
    assert not data.exists()


def test_directory_that_holds_something_else_is_left_alone(cli: Cli, data: Path) -> None:
    data.mkdir()
    (data / "letter.txt").write_text("Dear all", encoding="utf-8")
    assert cli("tenant", "list").code == ExitCode.NOT_FOUND
    assert cli("doctor").code == ExitCode.OK
    assert [path.name for path in data.iterdir()] == ["letter.txt"]


def test_debug_variable_shows_the_traceback(process: Cli) -> None:
    done = process("stats", LLMSPELL_DEBUG="1")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "NothingHere" in done.err


def test_data_option_goes_before_the_environment(cli: Cli, tmp_path: Path) -> None:
    done = cli("stats", "--data", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in done.err


def test_default_data_directory_follows_the_xdg_specification(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("the XDG specification holds on Linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert default_data_directory() == tmp_path / "xdg" / "llmspell"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert default_data_directory() == tmp_path / ".local" / "share" / "llmspell"


def test_every_error_of_llmspell_has_its_exit_code() -> None:
    quota = errors.QuotaExceeded(
        quota="max_vectors", limit=1, used=1, requested=1, retry_after=None
    )
    assert exit_code_for(quota) == ExitCode.QUOTA
    assert exit_code_for(errors.TenantNotFound("acme")) == ExitCode.NOT_FOUND
    assert exit_code_for(errors.IdNotFound("doc")) == ExitCode.NOT_FOUND
    assert exit_code_for(errors.MissingDependency("local", "onnxruntime")) == ExitCode.USAGE
    assert exit_code_for(errors.ConfigError("m")) == ExitCode.USAGE
    assert exit_code_for(errors.FilterError("$gt")) == ExitCode.USAGE
    assert exit_code_for(errors.CorruptFile("snapshot")) == ExitCode.STORAGE
    assert exit_code_for(errors.DatabaseLocked("acme")) == ExitCode.STORAGE
    assert exit_code_for(PermissionError("data")) == ExitCode.STORAGE
    assert exit_code_for(errors.TenantExists("acme")) == ExitCode.FAILED
    assert exit_code_for(errors.EmbeddingError("model")) == ExitCode.FAILED
    assert exit_code_for(ZeroDivisionError()) == ExitCode.FAILED


def test_exit_table_has_every_code_once() -> None:
    assert sorted(row.code for row in EXIT_TABLE) == sorted(ExitCode)


def _on_terminal(data: Path, *arguments: str, **extra: str) -> str:
    """Output of a command whose stdout is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(data, TERM="xterm-256color", **extra),
        stdout=theirs,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            shown += part
        process.wait()
    os.close(ours)
    return shown.decode()


def test_colour_is_shown_on_a_terminal_and_nowhere_else(data: Path, process: Cli) -> None:
    assert COLOUR.search(_on_terminal(data, "doctor"))
    assert not COLOUR.search(_on_terminal(data, "doctor", NO_COLOR="1"))
    assert "\x1b" not in process("doctor").out


def test_completion_knows_the_commands(process: Cli) -> None:
    done = process(_LLMSPELL_COMPLETE="complete_bash", COMP_WORDS="llmspell te", COMP_CWORD="1")
    assert done.out.split() == ["tenant"]
