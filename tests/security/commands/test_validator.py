from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import CommandDenied, ConfigError, InvalidCommand
from llmspell.security import (
    CommandValidator,
    FileSandbox,
    Matching,
    OneOf,
    PathBeneath,
    ProgramRule,
    Text,
    reading_programs,
)
from tests.security.files.rooms import SECRET, Room

ECHO = ProgramRule(flags=("-n",), rest=Text(100))


def arguments(rule: ProgramRule, *words: str) -> tuple[str, ...]:
    return CommandValidator({"echo": rule}).validate(["echo", *words]).argv[1:]


def denied(rule: ProgramRule, *words: str) -> CommandDenied:
    with pytest.raises(CommandDenied) as caught:
        arguments(rule, *words)
    return caught.value


def run(argv: tuple[str, ...]) -> str:
    ran = subprocess.run(
        argv,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    return ran.stdout.decode()


def test_a_line_and_a_list_become_the_same_command() -> None:
    validator = CommandValidator({"echo": ECHO})
    echo = shutil.which("echo", path="/usr/local/bin:/usr/bin:/bin")
    assert echo is not None
    for command in ('echo "a;b"', ["echo", "a;b"], ("echo", "a;b"), [echo, "a;b"]):
        argv = validator.validate(command).argv
        assert argv == (echo, "a;b")
        assert run(argv) == "a;b\n"


@pytest.mark.parametrize(
    "program", ["sh", "./echo", "/bin/../bin/echo", "echo ", "ECHO", "", "/tmp/echo", "echo\n"]
)
def test_a_program_without_a_rule_is_refused_by_any_spelling(program: str) -> None:
    with pytest.raises(CommandDenied, match="isn't allowed; these are: ") as caught:
        CommandValidator({"echo": ECHO}).validate([program, "a"])
    assert caught.value.program == program


def test_a_program_is_looked_for_once_and_not_by_the_callers_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "echo"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not CommandValidator({"echo": ECHO}).validate("echo").argv[0].startswith(str(tmp_path))
    mine = CommandValidator({"echo": ECHO}, search_path=str(tmp_path))
    fake.unlink()
    assert mine.validate("echo").argv[0] == str(fake)


def test_programs_that_cannot_be_trusted_are_refused_at_once(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(ConfigError, match="can't be executed"):
        CommandValidator({str(program): ECHO})
    program.chmod(0o757)
    with pytest.raises(ConfigError, match="by anyone"):
        CommandValidator({str(program): ECHO})
    for name in ("no-such-program", "bin/echo", "./echo"):
        with pytest.raises(ConfigError):
            CommandValidator({name: ECHO})
    path = CommandValidator({"echo": ECHO}).validate("echo").argv[0]
    with pytest.raises(ConfigError, match="two rules"):
        CommandValidator({"echo": ECHO, path: ECHO})


@pytest.mark.parametrize(
    "command", [b"echo", 5, None, [], ["echo", 5], ["echo", b"a"], ["echo", "a\0b"], {"echo": 1}]
)
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(InvalidCommand):
        CommandValidator({"echo": ECHO}).validate(command)


def test_a_command_has_a_size() -> None:
    with pytest.raises(InvalidCommand, match="longer than 20"):
        CommandValidator({"echo": ECHO}, max_bytes=20).validate(["echo", "é" * 8])
    with pytest.raises(InvalidCommand, match="encoded"):
        CommandValidator({"echo": ECHO}).validate(["echo", "\ud800"])


def test_flags_and_options_are_those_that_are_named() -> None:
    rule = ProgramRule(
        flags=("-l", "-a", "--long"),
        options={"-n": Matching("[0-9]+"), "--kind": OneOf(("x", "y"))},
        rest=Text(),
        max_repeats=2,
    )
    assert arguments(rule, "-l", "-la", "--long") == ("-l", "-l", "-a", "--long")
    assert arguments(rule, "-n", "5", "-an6") == ("-n", "5", "-a", "-n", "6")
    assert arguments(rule, "-an", "7") == ("-a", "-n", "7")
    assert arguments(rule, "--kind=x", "--kind", "y") == ("--kind=x", "--kind", "y")
    assert arguments(rule, "-", "a", "--", "-x", "--") == ("-", "a", "--", "-x", "--")
    for words in (
        *(["-x"], ["-lx"], ["--lon"], ["--long=1"], ["--kin=x"], ["-n"], ["-ln"], ["-n", "x"]),
        *(["-n=5"], ["-n-5"], ["--kind=z"], ["--kind"], ["-l"] * 3, ["-lll"], ["a", "-x"]),
        *(["--other", "a"], ["-\n"], ["-n", "5\n"], ["-é"]),
    ):
        denied(rule, *words)
    error = denied(rule, "-n", "x")
    assert error.program == "echo"
    assert error.argument == "x"
    assert "as the value of -n" in str(error)


def test_positionals_are_counted_and_each_has_its_rule() -> None:
    rule = ProgramRule(positionals=(OneOf(("get",)), Matching("[a-z]+")), required=1)
    assert arguments(rule, "get") == ("get",)
    assert arguments(rule, "get", "abc") == ("get", "abc")
    for words in ([], ["put"], ["get", "A"], ["get", "a", "b"], ["get", "a\n"]):
        denied(rule, *words)
    few = ProgramRule(rest=Text(3), max_arguments=2)
    assert arguments(few, "abc", "b") == ("abc", "b")
    for words in (["a", "b", "c"], ["abcd"]):
        denied(few, *words)


def test_a_program_without_clusters_or_double_dash_is_read_so() -> None:
    rule = ProgramRule(flags=("-l", "-a"), rest=Text(), clusters=False, double_dash=False)
    assert arguments(rule, "-l", "-a") == ("-l", "-a")
    for words in (["-la"], ["--"], ["--", "a"]):
        denied(rule, *words)
    assert arguments(ProgramRule(prefix=("-c", "x"), rest=Text()), "a") == ("-c", "x", "a")


def test_a_rule_stays_as_it_was_made() -> None:
    flags, options = ["-l"], {"-n": Text()}
    rule = ProgramRule(flags=flags, options=options)
    flags.append("-x")
    options["-y"] = Text()
    for word in ("-x", "-y1"):
        denied(rule, word)


@pytest.mark.parametrize(
    "settings",
    [
        {"flags": "-l"},
        {"prefix": "-l"},
        {"flags": ("l",)},
        {"flags": ("--",)},
        {"flags": ("--a=b",)},
        {"flags": ("-a",), "options": {"-a": Text()}},
        {"required": 1},
        {"required": -1},
        {"max_arguments": 1.5},
        {"max_repeats": True},
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ProgramRule(**settings)
    with pytest.raises(ConfigError):
        Matching("(")
    with pytest.raises(ConfigError):
        OneOf("abc")


def test_a_path_becomes_absolute_beneath_its_root(sandbox: FileSandbox, room: Room) -> None:
    rule = ProgramRule(rest=PathBeneath(sandbox))
    root = os.path.realpath(room.root)
    (room.root / "-rf").write_text("")
    assert arguments(rule, "hello.txt", "./notes//a..b", root, "--", "-rf") == (
        *(f"{root}/hello.txt", f"{root}/notes/a..b", root, "--", f"{root}/-rf"),
    )
    for path in (
        *("to_secret", "to_outside/secret.txt", "../room-evil/secret.txt", str(room.secret)),
        *("/etc/passwd", "fifo", "missing", "", "-", "notes/../hello.txt"),
    ):
        assert denied(rule, path).argument == path
    made = ProgramRule(rest=PathBeneath(sandbox, must_exist=False, writes=True))
    assert arguments(made, "notes/new") == (f"{root}/notes/new",)
    for path in ("to_outside/new", "missing/new"):
        denied(made, path)
    with FileSandbox(read_only=[room.root]) as reading:
        denied(ProgramRule(rest=PathBeneath(reading, writes=True)), "hello.txt")


READING = [
    ("cat hello.txt", "hello"),
    ("cat -n notes/a..b hello.txt", "1"),
    ("head -n 1 hello.txt", "hello"),
    ("tail -c3 hello.txt", "llo"),
    ("wc -c hello.txt", "5"),
    ("ls -la notes", "a..b"),
    ("grep -rn 'two|h[e]llo' . --include=x", ""),
    ("grep -E 'h(e|x)llo$' hello.txt", "hello"),
    ("find . -type f -name '*.txt'", "hello.txt"),
    ("sort -u -k 1,1n hello.txt", "hello"),
]


@pytest.mark.parametrize(("line", "expected"), READING)
def test_ready_made_rules_let_reading_through(
    sandbox: FileSandbox, line: str, expected: str
) -> None:
    assert expected in run(CommandValidator(reading_programs(sandbox)).validate(line).argv)


RUNS_OTHERS = [
    *("find . -exec id '{}' +", "find . -ok id '{}' +", "find . -delete", "find . -fprint x"),
    *("find -L .", "find . -follow", "find . -execdir id '{}' +", "find . -fls x"),
    *("find -files0-from hello.txt", "find . -newerXY x", "find to_outside", "find"),
    *("sort --compress-program=id hello.txt", "sort -o x hello.txt", "sort -T / hello.txt"),
    *("sort --files0-from=hello.txt", "sort --compress-prog=id hello.txt", "sort -oS hello.txt"),
    *("grep -f /etc/passwd x hello.txt", "grep -e x /etc/passwd", "grep -R x .", "grep x"),
    *("grep -rR x .", "grep --file=/etc/passwd x hello.txt", "grep x /etc/passwd"),
    *("tail -f hello.txt", "tail --pid=1 hello.txt", "wc --files0-from=hello.txt", "cat", "cat -"),
    *("ls -L to_outside", "ls to_outside", "cat to_secret", "head ../room-evil/secret.txt"),
    *("env id", "xargs id", "tar -cf x --to-command=id .", "git -c alias.x=!id x", "sh -c id"),
]


@pytest.mark.parametrize("line", RUNS_OTHERS)
def test_ready_made_rules_refuse_what_runs_writes_or_leads_elsewhere(
    sandbox: FileSandbox, line: str
) -> None:
    with pytest.raises(CommandDenied):
        CommandValidator(reading_programs(sandbox)).validate(line)


def test_recursion_follows_no_link(sandbox: FileSandbox) -> None:
    validator = CommandValidator(reading_programs(sandbox))
    for line in ("grep -rn secret .", "ls -laR .", "find . -name 'secret*'"):
        output = run(validator.validate(line).argv)
        assert SECRET not in output
        assert "/secret.txt:" not in output


def test_a_program_that_anybody_could_put_in_place_of_another_is_no_program(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy("/bin/true", folder / "true")
    shutil.copy("/bin/true", tmp_path / "true")
    (tmp_path / "alias").symlink_to(folder / "true")
    (folder / "between").symlink_to(tmp_path / "true")
    (tmp_path / "twice").symlink_to("bin/between")
    names = [str(folder / "true"), str(tmp_path / "alias"), str(tmp_path / "twice")]
    for name in names:
        CommandValidator({name: ProgramRule()})
    folder.chmod(0o777)
    for name in names:
        with pytest.raises(ConfigError, match=r"/bin can be written by anyone"):
            CommandValidator({name: ProgramRule()})
    folder.chmod(0o1777)
    CommandValidator({names[0]: ProgramRule()})
