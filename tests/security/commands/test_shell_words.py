from __future__ import annotations

import subprocess
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell.errors import InvalidCommand
from llmspell.security import split_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('echo "a;b"', ["echo", "a;b"]),
        ("echo 'a|b' 'c && d' '$HOME' '`id`'", ["echo", "a|b", "c && d", "$HOME", "`id`"]),
        (r"echo a\;b \$HOME \*", ["echo", "a;b", "$HOME", "*"]),
        ('echo "it\'s" \'say "x"\'', ["echo", "it's", 'say "x"']),
        (r'echo "a \"b\" \\ \n"', ["echo", r'a "b" \ \n']),
        ("grep -n 'a(b|c)*' notes/a..b.txt", ["grep", "-n", "a(b|c)*", "notes/a..b.txt"]),
        ("echo 5$ $ 100%", ["echo", "5$", "$", "100%"]),
        ("ls backup~ a#b {} HEAD@{1} a=b", ["ls", "backup~", "a#b", "{}", "HEAD@{1}", "a=b"]),
        ("echo a{b},c {x} y,z {'1,2'} '{a,b}'", ["echo", "a{b},c", "{x}", "y,z", "{1,2}", "{a,b}"]),
        ("  wc\t-l  x ", ["wc", "-l", "x"]),
        ("echo '' \"\"", ["echo", "", ""]),
        ("echo 'two\nlines'", ["echo", "two\nlines"]),
        ("echo a'b'\"c\"d", ["echo", "abcd"]),
        ("echo 日本 \u00a0", ["echo", "日本", "\u00a0"]),
    ],
)
def test_words_are_those_that_sh_would_pass(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize(
    ("line", "reason", "position"),
    [
        ("echo a; id", "another command", 6),
        ("echo a && id", "another command", 7),
        ("echo a | sh", "pipes", 7),
        ("cat < /etc/passwd", "redirects", 4),
        ("echo x > y", "redirects", 7),
        ("echo $HOME", "expands", 5),
        ('echo "$HOME"', "expands", 6),
        ("echo $(id)", "expands", 5),
        ('echo "${x}"', "expands", 6),
        ("echo $5", "expands", 5),
        ("echo `id`", "runs a command", 5),
        ('echo "`id`"', "runs a command", 6),
        ("echo $'a'", "before a quote", 5),
        ("(id)", "subshell", 0),
        ("ls *.txt", "names of files", 3),
        ("ls a?", "names of files", 4),
        ("ls [ab]", "names of files", 3),
        ("ls ~", "home directory", 3),
        ("ls ~root/x", "home directory", 3),
        ("ls --x=~", "home directory", 7),
        ("echo a\nid", "line break", 6),
        ("echo a\rid", r"U\+000D", 6),
        ("echo a #b", "comment", 7),
        ("echo {a,b}", "several words", 5),
        ("echo {1..9}", "several words", 5),
        ('echo {a,"b c"}', "several words", 5),
        ('echo {"a b",c}', "several words", 5),
        ("echo {a,b{c}d}", "several words", 5),
        ("echo {a{b},c}", "several words", 5),
        ("echo {a}{b,c}", "several words", 8),
        ("echo a\\\nb", "backslash", 6),
        ("echo a\\", "backslash", 6),
        (r'echo "\$x"', "two ways", 6),
        ("echo 'a", "isn't closed", 5),
        ('echo "a', "isn't closed", 5),
        ("echo \0", "NUL", 5),
        ("echo '\0'", "NUL", 6),
        ("X=1 id", "sets a variable", 0),
        ("if true", "word of the shell", 0),
        ("", "empty", None),
        (" \t", "empty", None),
    ],
)
def test_a_line_that_needs_a_shell_says_why_and_where(
    line: str, reason: str, position: int | None
) -> None:
    with pytest.raises(InvalidCommand, match=reason) as caught:
        split_words(line)
    assert caught.value.position == position


def test_only_text_is_a_line() -> None:
    with pytest.raises(InvalidCommand, match="bytes"):
        split_words(b"ls")  # type: ignore[arg-type]


# Quotes, escapes and what is special, around few letters; none of these words is a program.
LINES = st.text(alphabet="ab '\"\\$;|#~=*{,}!-\t", max_size=14)


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_what_passes_is_split_as_sh_splits_it(rest: str) -> None:
    try:
        words = split_words("printf " + rest)
    except InvalidCommand:
        return
    with tempfile.TemporaryDirectory() as empty:
        ran = subprocess.run(
            ["/bin/sh", "-c", r"printf '%s\0' begin " + rest],
            capture_output=True,
            check=True,
            cwd=empty,
            env={"PATH": empty, "HOME": "/"},
            timeout=60,
        )
    assert ran.stdout.decode().split("\0")[:-1] == ["begin", *words[1:]]


@pytest.mark.parametrize("line", ["echo " + "a" * 3_000_000, "echo {" + "," * 3_000_000])
def test_a_line_is_measured_before_it_is_split(line: str) -> None:
    with pytest.raises(InvalidCommand, match=r"a command of 300000[56] bytes is longer than 65536"):
        split_words(line)
    with pytest.raises(InvalidCommand, match="a command of 8 bytes is longer than 7"):
        split_words("echo 123", max_bytes=7)
    assert split_words("echo 123", max_bytes=8) == ["echo", "123"]


def test_many_braces_are_read_once() -> None:
    assert split_words("echo " + "{" * 60_000) == ["echo", "{" * 60_000]
    with pytest.raises(InvalidCommand, match="several words"):
        split_words("echo " + "{" * 30_000 + "," * 30_000)
