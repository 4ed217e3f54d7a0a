"""Commands by an allow-list of programs, as lists of words; no shell reads them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llmspell.errors import CommandDenied, ConfigError, InvalidCommand
from llmspell.security.commands.program_rule import ArgumentRefused, ProgramRule
from llmspell.security.commands.shell_words import MAX_BYTES, require_size, split_words
from llmspell.security.denials import Denials

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["Command", "CommandValidator"]

# Where programs are looked for: not the caller's PATH, which others may have set.
SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was allowed; run ``argv`` without a shell.

    Attributes:
        argv: the program's absolute path, and its arguments.
    """

    argv: tuple[str, ...]


class CommandValidator:
    """Lets through the programs that have a rule, with the arguments that their rules allow.

    Immutable; for any thread. What it lets through is run as a list, never by a shell::

        subprocess.run(command.argv, env={}, stdin=subprocess.DEVNULL, timeout=10)

    Args:
        rules: programs and what each may be given. A program is a name, which is looked for once,
            now, or an absolute path; commands may name it in either way, and in no other.
        search_path: directories in which names are looked for, with colons between.
        max_bytes: longest command line or list of words, in bytes.
        audit: is told of each denial, as ``command.run``, before it is raised.
        tenant: id of the tenant on whose behalf commands are asked for, for these records.

    Raises:
        ConfigError: a program isn't there, can't be executed, or may be replaced by anyone: it, or
            a directory on the way to it, can be written by all, which isn't looked at on Windows;
            or it is a batch file of Windows.
    """

    def __init__(
        self,
        rules: Mapping[str, ProgramRule],
        *,
        search_path: str = SEARCH_PATH,
        max_bytes: int = MAX_BYTES,
        audit: AuditSink | None = None,
        tenant: str | None = None,
    ) -> None:
        self._denials = Denials(audit, "command.run", tenant)
        self._max_bytes = max_bytes
        self._programs: dict[str, tuple[str, ProgramRule]] = {}
        for name, rule in rules.items():
            path = _resolve(name, search_path)
            for spelling in {name, path}:
                if spelling in self._programs:
                    raise ConfigError(f"the program {spelling!r} has two rules; give it one")
                self._programs[spelling] = path, rule

    def validate(self, command: str | Sequence[str]) -> Command:
        """The command to run.

        Args:
            command: words, the program first; or one line, which is split as sh would.

        Raises:
            InvalidCommand: the line needs a shell, or the words aren't text without NUL.
            CommandDenied: the program has no rule, or an argument isn't allowed by it.
        """
        if isinstance(command, str):
            words = split_words(command, max_bytes=self._max_bytes)
        else:
            words = self._words(command)
            require_size(words, self._max_bytes)
        found = self._programs.get(words[0])
        if found is None:
            raise self._denial(
                f"the program {words[0][:200]!r} isn't allowed; these are:"
                f" {', '.join(sorted(self._programs))}",
                words[0],
            )
        path, rule = found
        try:
            return Command((path, *rule.check(words[1:])))
        except ArgumentRefused as error:
            what = "" if error.argument is None else f" {error.argument[:200]!r}"
            raise self._denial(f"{words[0]}:{what} {error}", words[0], refused=error) from error

    def _denial(
        self, message: str, program: str, *, refused: ArgumentRefused | None = None
    ) -> CommandDenied:
        """The error, on record without the argument, which may be a secret."""
        denial = CommandDenied(
            message, program=program, argument=None if refused is None else refused.argument
        )
        which = "program" if refused is None else "argument"
        return self._denials.noted(denial, program, refused=which)

    @staticmethod
    def _words(command: object) -> list[str]:
        if not isinstance(command, Sequence):
            raise InvalidCommand(
                f"a command is a str or a sequence of str, not {type(command).__name__}"
            )
        words = list(command)
        if not words:
            raise InvalidCommand("the command is empty; its first word is the program")
        for position, word in enumerate(words):
            if not isinstance(word, str):
                raise InvalidCommand(f"word {position} is a {type(word).__name__}, not a str")
            if "\0" in word:
                raise InvalidCommand(f"word {position} holds a NUL character")
        return words


def _resolve(name: str, search_path: str) -> str:
    """The absolute path of a program; a link to it stays one, since some go by their own name."""
    if name != os.path.basename(name) and not os.path.isabs(name):
        raise ConfigError(f"the program {name!r} is a relative path; give a name or a whole path")
    path = shutil.which(name, path=search_path)
    if path is None or not os.path.isabs(path):
        raise ConfigError(f"the program {name!r} isn't in {search_path}, or can't be executed")
    if sys.platform == "win32":
        # Whatever way it is started, cmd.exe reads it with its arguments.
        if path.lower().endswith((".bat", ".cmd")):
            raise ConfigError(f"the program {name!r} is a batch file, which a shell would read")
    else:
        _refuse_replaceable(path)
    return path


def _refuse_replaceable(path: str) -> None:
    named = path
    while os.path.islink(named):  # each link could be made to lead elsewhere
        _refuse_writable_by_all(path, named)
        named = os.path.join(os.path.dirname(named), os.readlink(named))
    for last in {named, os.path.realpath(path)}:
        _refuse_writable_by_all(path, last)


def _refuse_writable_by_all(program: str, path: str) -> None:
    """Refuse a path that others than its owners could lead to another program."""
    mode = os.stat(path).st_mode
    # In a sticky directory nobody removes or renames what isn't theirs.
    if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        what = "it" if path == program else path
        raise ConfigError(
            f"the program {program!r}: {what} can be written by anyone; take that right away"
        )
    above = os.path.dirname(path)
    if above != path:
        _refuse_writable_by_all(program, above)
