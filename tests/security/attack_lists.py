"""Published lists of attacks, which are read when tests run and aren't kept here.

``LLMSPELL_ATTACK_LISTS`` names a checkout of github.com/swisskyrepo/PayloadsAllTheThings (MIT), or
is ``download``: the lists are then fetched once, as of one commit, into the user's cache.
``LLMSPELL_REDOS_LIST`` is the same for github.com/yetingli/ReDoS-Benchmarks (MIT).
"""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

COMMIT = "f9fa51417886ac11476cb62db2dff21773dc570b"
REPOSITORY = f"swisskyrepo/PayloadsAllTheThings/{COMMIT}"
REDOS_REPOSITORY = "yetingli/ReDoS-Benchmarks/f5b5094d835649e957bf3fec6b8bd4f6efdb35fc"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmspell"

TRAVERSALS = [
    f"Directory Traversal/Intruder/{name}.txt"
    for name in (
        *("deep_traversal", "directory_traversal", "dotdotpwn"),
        "traversals-8-deep-exotic-encoding",
    )
]
INJECTIONS = [
    f"Command Injection/Intruder/{name}.txt" for name in ("command-execution-unix", "command_exec")
]


def attack_lines(names: list[str]) -> list[str]:
    """The lines of some lists, each once; skips the test where they can't be had."""
    where = os.environ.get("LLMSPELL_ATTACK_LISTS", "")
    if not where:
        pytest.skip(
            "LLMSPELL_ATTACK_LISTS is neither a checkout of PayloadsAllTheThings nor 'download'"
        )
    lines: dict[str, None] = {}
    for name in names:
        path = _downloaded(REPOSITORY, name) if where == "download" else Path(where) / name
        # Names are bytes: what isn't UTF-8 is kept as it is.
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        lines.update(dict.fromkeys(line.rstrip("\r") for line in text.split("\n")))
    lines.pop("", None)
    return list(lines)


def redos_list(name: str) -> str:
    """A file of ReDoS-Benchmarks; skips the test where it can't be had."""
    where = os.environ.get("LLMSPELL_REDOS_LIST", "")
    if not where:
        pytest.skip("LLMSPELL_REDOS_LIST is neither a checkout of ReDoS-Benchmarks nor 'download'")
    path = _downloaded(REDOS_REPOSITORY, name) if where == "download" else Path(where) / name
    return path.read_text("utf-8-sig")


def _downloaded(repository: str, name: str) -> Path:
    path = CACHE / repository.rpartition("/")[2] / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            url = f"https://raw.githubusercontent.com/{repository}/{urllib.parse.quote(name)}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            pytest.skip(f"{name} can't be downloaded: {error}")
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
    return path
