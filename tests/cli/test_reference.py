"""docs/reference/cli.md says what the code does."""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command

from llmspell.cli.app import app
from llmspell.cli.exits import EXIT_TABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_page_has_the_exit_codes_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [f"| {row.code.value} | {row.meaning} |" for row in EXIT_TABLE]
    assert "\n".join(sorted(rows, key=lambda row: int(row.split()[1]))) in text


def test_page_names_every_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    root = get_command(app)
    names = []
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        names += [f"{name} {sub}" for sub in inner] if inner else [name]
    assert len(names) == 27
    for name in names:
        assert f"`llmspell {name}" in text, name
