"""The command tree, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmspell.cli import (
    audit,
    bench,
    doctor,
    index,
    ingest,
    scrub,
    search,
    secrets,
    stats,
    tenant,
    transfer,
)
from llmspell.cli.demo import command as demo
from llmspell.cli.exits import EXIT_TABLE, ExitCode, Interrupted, WrongUsage
from llmspell.cli.output import DEBUG_VARIABLE, WarningLines, print_error

__all__ = ["app", "run"]

_LOG = logging.getLogger("llmspell")
_EPILOG = "Exit codes: " + ", ".join(
    f"{row.code.value} {row.code.name.lower().replace('_', ' ')}"
    for row in sorted(EXIT_TABLE, key=lambda row: row.code)
)


class _Boundary(TyperGroup):
    """Shows every error as one line, or one JSON object, on stderr and gives it its exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        as_json = "--json" in arguments
        warnings = WarningLines(as_json=as_json)
        _LOG.addHandler(warnings)
        try:
            # Commands return nothing, so a number here is the code of a typer.Exit.
            code = super().main(
                arguments, prog_name, complete_var, False, windows_expand_args, **extra
            )
        except typer.TyperException as problem:
            code = print_error(_as_usage(problem), as_json=as_json)
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            code = print_error(error, as_json=as_json)
        finally:
            _LOG.removeHandler(warnings)
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("stopped") from None
        except typer.Abort:  # Ctrl-C or the end of input at a question, whose line is still open
            typer.echo(err=True)
            raise Interrupted("stopped") from None


def _as_usage(problem: typer.TyperException) -> WrongUsage:
    context = getattr(problem, "ctx", None)
    command = context.command_path if context is not None else "llmspell"
    return WrongUsage(f"{problem.format_message().rstrip('.')} (see `{command} --help`)")


app = typer.Typer(
    name="llmspell",
    cls=_Boundary,
    help="Multi-tenant search by meaning, in one process, on one directory.",
    epilog=_EPILOG,
    # Rich's boxes cut long option names off at 80 columns.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"llmspell {version('llmspell')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


app.command("demo")(demo.demo)
app.command("ingest")(ingest.ingest)
app.command("search")(search.search)
app.command("export")(transfer.export)
app.command("import")(transfer.import_from)
app.add_typer(tenant.app, name="tenant")
app.add_typer(index.app, name="index")
app.add_typer(secrets.app, name="secrets")
app.command("scrub")(scrub.scrub)
app.add_typer(audit.app, name="audit")
app.command("stats")(stats.stats)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return int(app(args=list(arguments), prog_name="llmspell", standalone_mode=False) or 0)
