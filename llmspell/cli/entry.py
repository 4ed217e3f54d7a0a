"""The first thing that the ``llmspell`` command runs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from llmspell import errors

__all__ = ["main"]


def main() -> int:
    """Run the command line in ``sys.argv``.

    Returns:
        The exit code, one of :class:`llmspell.cli.exits.ExitCode`; the console script passes it
        to ``sys.exit``.
    """
    for module in ("typer", "rich"):
        if find_spec(module) is None:
            from llmspell.cli.output import print_error

            missing = errors.MissingDependency("cli", module)
            return print_error(missing, as_json="--json" in sys.argv)
    from llmspell.cli.app import run

    return run(sys.argv[1:])
