"""Lines on stderr are lines, whatever stands in a message."""

from __future__ import annotations

import json
import logging

import pytest

from llmspell.cli.exits import ExitCode
from llmspell.cli.output import WarningLines, print_error
from llmspell.errors import ConfigError

# What moves a cursor, rings, is a C1 control, turns the direction of text, or is half of a pair.
BAD = "a\x1b[2J\x07\x9b\u202e\udc9b\nb"


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_moves_no_cursor(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    assert print_error(ConfigError(BAD), as_json=as_json) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.endswith("\n") and said[:-1].isprintable() and "b" in said
    if as_json:
        assert json.loads(said)["error"]["message"] == BAD


@pytest.mark.parametrize("as_json", [False, True])
def test_a_warning_moves_no_cursor(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    record = logging.LogRecord("llmspell", logging.WARNING, "", 0, "%s", (BAD,), None)
    WarningLines(as_json=as_json).emit(record)
    said = capsys.readouterr().err
    assert said.endswith("\n") and said[:-1].isprintable()
    if as_json:
        assert json.loads(said)["warning"] == BAD


def test_text_of_any_language_stays(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ConfigError("né à 東京"), as_json=False)
    assert "né à 東京" in capsys.readouterr().err
