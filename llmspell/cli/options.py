"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llmspell.cli.paths import DATA_VARIABLE, default_data_directory

__all__ = ["DataOption", "JsonOption", "PresetOption", "TenantArgument"]

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar=DATA_VARIABLE,
        metavar="PATH",
        default_factory=default_data_directory,
        show_default="a directory per user",
        file_okay=False,
        help="Data directory.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]
PresetOption = Annotated[
    Literal["memory_optimized", "balanced", "performance", "distributed"],
    typer.Option("--preset", help="Index parameters, by memory or by vectors to come."),
]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Id of the tenant.")]
