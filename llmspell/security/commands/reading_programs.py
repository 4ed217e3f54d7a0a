"""Ready-made rules for programs that read files and write to their output."""

from __future__ import annotations

from llmspell.security.commands.argument_rules import Matching, OneOf, PathBeneath, Text
from llmspell.security.commands.program_rule import ProgramRule
from llmspell.security.files.file_sandbox import FileSandbox

__all__ = ["reading_programs"]


def reading_programs(sandbox: FileSandbox) -> dict[str, ProgramRule]:
    """Rules for cat, find, grep, head, ls, sort, tail and wc beneath a sandbox's roots.

    Each needs a path, so that none waits for its input. Left out is what runs other programs,
    writes files, follows links, never ends, or takes paths from elsewhere: ``find -exec``,
    ``-delete`` and ``-fprint``; ``grep -f`` and ``-R``; ``sort -o``, ``-T`` and
    ``--compress-program``; ``tail -f``; ``--files0-from``. Take those that you need:
    ``CommandValidator({"cat": rules["cat"]})``.
    """
    path = PathBeneath(sandbox)
    number = Matching("[0-9]{1,9}")
    signed = Matching("[-+]?[0-9]{1,9}")
    return {
        "cat": ProgramRule(flags=("-n", "-b", "-s", "-A", "-E", "-T", "-v"), rest=path, required=1),
        "find": ProgramRule(
            flags=("-print", "-print0", "-empty", "-not", "-o", "-a"),
            options={
                "-name": Text(256),
                "-iname": Text(256),
                "-path": Text(1024),
                "-type": OneOf(tuple("fdlps")),
                "-maxdepth": number,
                "-mindepth": number,
                "-mtime": signed,
                "-mmin": signed,
                "-size": Matching("[-+]?[0-9]{1,9}[bcwkMG]?"),
                "-newer": path,
            },
            rest=path,
            required=1,
            max_repeats=8,
            clusters=False,
            double_dash=False,
        ),
        "grep": ProgramRule(
            flags=tuple(f"-{letter}" for letter in "ivwxclLnHhorEFsqIaZ"),
            options={
                "-m": number,
                "-A": number,
                "-B": number,
                "-C": number,
                "--include": Text(256),
                "--exclude": Text(256),
            },
            positionals=(Text(1024),),
            rest=path,
            required=2,
        ),
        "head": ProgramRule(
            flags=("-q", "-v"), options={"-n": signed, "-c": signed}, rest=path, required=1
        ),
        "ls": ProgramRule(
            flags=(
                "-l",
                "-a",
                "-A",
                "-d",
                "-h",
                "-1",
                "-r",
                "-R",
                "-S",
                "-t",
                "-F",
                "-p",
                "-i",
                "-s",
            ),
            rest=path,
            required=1,
        ),
        "sort": ProgramRule(
            flags=("-n", "-r", "-u", "-f", "-b", "-g", "-h", "-V", "-M", "-s", "-d", "-i"),
            options={"-k": Matching("[0-9.,bdfgiMhnRrV]{1,32}"), "-t": Matching(r"[^\\]|\\0")},
            rest=path,
            required=1,
            max_repeats=4,
        ),
        "tail": ProgramRule(
            flags=("-q", "-v"), options={"-n": signed, "-c": signed}, rest=path, required=1
        ),
        "wc": ProgramRule(flags=("-c", "-l", "-m", "-w", "-L"), rest=path, required=1),
    }
