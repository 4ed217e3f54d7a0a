"""Programs by an allow-list, without a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmspell.errors import InvalidArguments
from llmspell.security import CommandValidator, ProgramRule, SecurityRequirements
from llmspell.tools import FunctionTool, tool

__all__ = ["command_tool"]

_PLACES: Final = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache")
_MAX_CHARS: Final = 65_536


def command_tool(
    rules: Mapping[str, ProgramRule],
    *,
    read_only: Iterable[str | os.PathLike[str]] = (),
    writable: Iterable[str | os.PathLike[str]] = (),
    directory: str | os.PathLike[str] | None = None,
    processes: int = 8,
    timeout: float = 30.0,
) -> FunctionTool[..., Any]:
    """A tool that runs the programs that have a rule: ``run_command``.

    Each command is judged in this process, by a :class:`~llmspell.security.CommandValidator`. Then
    it runs confined, as part of a PRIVILEGED tool, for no other may execute programs: without a
    network and an environment, with the programs and libraries of the system and what is listed
    here, to read alone.

    Args:
        rules: programs, and the arguments that each may be given.
        read_only: absolute paths that the programs may read, besides.
        writable: absolute paths that they may change.
        directory: that they begin in; the first of ``writable``, else of ``read_only``, else "/".
        processes: at one time.
        timeout: seconds of one command, at most 3,600.

    Raises:
        ConfigError: a program isn't there, or can be replaced by anyone; or a value out of range.
    """
    validator = CommandValidator(rules)
    reads, writes = [os.fspath(one) for one in read_only], [os.fspath(one) for one in writable]
    needs = SecurityRequirements.privileged().with_processes(processes).with_timeout(timeout)
    for place in (*(one for one in _PLACES if os.path.exists(one)), *reads):
        needs = needs.with_read_only(place)
    for place in writes:
        needs = needs.with_file_access(place)
    begins = [os.fspath(directory)] if directory is not None else [*writes, *reads, "/"]

    def judged(arguments: dict[str, Any]) -> Mapping[str, Any]:
        command = arguments["command"]
        if not command:
            raise InvalidArguments("command: it has no words; the first is the program")
        return {**arguments, "command": list(validator.validate(command).argv)}

    programs = ", ".join(sorted(rules))
    return (
        run_command.with_options(
            description=f"{run_command.spec.description} These programs may be run: {programs}.",
            requirements=needs,
        )
        .bind(directory=begins[0])
        .checked(judged)
    )


@tool
def run_command(command: list[str], directory: str) -> dict[str, Any]:
    """Run a program without a shell, and give what it printed.

    Args:
        command: the program, and its arguments.
    """
    done = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
        input=b"",  # /dev/null is none of its files
        capture_output=True,
        check=False,
    )
    return {"exit_code": done.returncode, **_printed("stdout", done.stdout)} | _printed(
        "stderr", done.stderr
    )


def _printed(name: str, raw: bytes) -> dict[str, Any]:
    text = raw.decode(errors="replace")
    return {name: text[:_MAX_CHARS], f"{name}_is_cut": len(text) > _MAX_CHARS}
