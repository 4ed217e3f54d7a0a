"""Published command injections, run where they pass: they are words, and nothing else runs."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from llmspell.errors import SecurityError
from llmspell.security import (
    CommandValidator,
    FileSandbox,
    ProgramRule,
    Text,
    reading_programs,
)
from tests.security.attack_lists import INJECTIONS, attack_lines
from tests.security.files.rooms import SECRET, Room

# Each makes the file "canary" when a shell reads it behind "cat hello.txt".
OWN = [
    *("; touch canary", "&& touch canary", "| touch canary", "& touch canary", "\ntouch canary"),
    *("$(touch canary)", "`touch canary`", '"$(touch canary)"', '"`touch canary`"', "> canary"),
    *("|| true; touch canary", "'' ;touch canary", "<<x\nx\ntouch canary", "\\\n; touch canary"),
]

LEGITIMATE = [
    *('echo "a;b"', "echo 'it costs $5'", 'echo "a && b"', "echo a\\;b", "echo 100% sure!"),
    *("echo 'SELECT * FROM t;'", 'echo "it\'s"', "echo '<b>bold</b>'", "echo a=b c:d e,f"),
    *("echo '`code`'", "echo '(parentheses)'", "echo '~/notes'", "echo 'C:\\dir'", "echo a^b"),
    *("echo https://example.com/a#b", "echo 'x?y=1&z=2'", "echo né 日本", "echo '' end"),
    *("cat hello.txt", "cat ./hello.txt notes/a..b", "cat 'notes/a..b'", "cat notes//a..b"),
    *("cat notes/deep/%2e%2e", "cat -n hello.txt", "head -n 5 hello.txt", "head -n5 hello.txt"),
    *("tail -n +2 hello.txt", "tail -c 3 hello.txt", "wc -lw hello.txt", "sort -rn hello.txt"),
    *("sort -t , -k 2,2n hello.txt", "grep -n hello hello.txt", "grep -rn 'two|dots' ."),
    *("grep -E '^h.*o$' hello.txt", "grep -F 'a;b' hello.txt", "grep -- -x hello.txt"),
    *("grep -rl --include '*.txt' hello .", "grep -c '[a-z]*' hello.txt", "ls -la", "ls -la ."),
    *("ls notes", "find . -name '*.txt'", "find notes -type f -maxdepth 2", "find . -size +1k"),
    *("find . -name '*.txt' -o -name '*.md'", "find . -mtime -7 -print0"),
]


def forms_of(line: str) -> Iterator[str | list[str]]:
    """Where an application may put a line: as a command, within one, within quotes, as a word."""
    for text in {line, unquote(line)}:
        yield text
        for program in ("echo", "cat", "ls", "find"):
            yield f"{program} {text}"
            yield f'{program} "{text}"'
            yield f"{program} '{text}'"
            yield [program, text]
        yield f"cat hello.txt{text}"
        yield f"cat hello.txt {text}"
        yield f"grep {text} hello.txt"
        yield ["grep", text, "hello.txt"]
        yield ["find", ".", "-name", text]
        yield [text]


@pytest.fixture
def validator(room: Room) -> Iterator[CommandValidator]:
    with FileSandbox([room.root]) as sandbox:
        yield CommandValidator(
            {"echo": ProgramRule(rest=Text()), **reading_programs(sandbox)},
        )


def run(argv: tuple[str, ...], folder: Path) -> bytes:
    return subprocess.run(
        argv,
        cwd=folder,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    ).stdout


def outcome_of(command: str | list[str], validator: CommandValidator, folder: Path) -> str:
    """What became of a command; nothing but the program may have run, on nothing outside."""
    try:
        argv = validator.validate(command).argv
    except SecurityError as error:
        return type(error).__name__
    output = run(argv, folder)
    if os.path.basename(argv[0]) == "echo":
        assert output == b" ".join(os.fsencode(word) for word in argv[1:]) + b"\n"
    else:
        for found in (SECRET.encode(), b"root:", b"uid="):
            assert found not in output, command
    return "ran"


def test_own_injections_work_in_a_shell_and_not_here(
    room: Room, validator: CommandValidator
) -> None:
    before = set(os.listdir(room.root))
    canary = room.root / "canary"
    for attack in OWN:
        line = f"cat hello.txt {attack}"
        subprocess.run(
            ["/bin/sh", "-c", line], cwd=room.root, capture_output=True, check=False, timeout=60
        )
        assert canary.exists(), attack
        canary.unlink()
        for form in forms_of(attack):
            outcome_of(form, validator, room.root)
            assert not canary.exists(), form
    assert set(os.listdir(room.root)) == before


def test_no_published_injection_runs(
    room: Room, validator: CommandValidator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(os.listdir(room.root))
    outcomes = Counter(
        outcome_of(form, validator, room.root)
        for line in attack_lines(INJECTIONS)
        for form in forms_of(line)
    )
    assert set(os.listdir(room.root)) == before
    assert room.secret.read_text() == SECRET
    with capsys.disabled():
        print(f"\n{sum(outcomes.values())} forms: 0 escapes; {dict(outcomes)}")
    assert outcomes["ran"]  # as words
    assert outcomes["InvalidCommand"]
    assert outcomes["CommandDenied"]


def test_legitimate_commands_pass(
    validator: CommandValidator, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = []
    for line in LEGITIMATE:
        try:
            validator.validate(line)
        except SecurityError as error:
            refused.append((line, str(error)))
    with capsys.disabled():
        print(f"\n{len(refused)} of {len(LEGITIMATE)} legitimate commands refused: {refused}")
    # The ready-made rules want a path: a directory that nobody named isn't listed.
    assert [line for line, _ in refused] == ["ls -la"]
