"""A process that runs the commands of the command line for the operations that it is asked for."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from llmspell import Document, IngestReport
from llmspell.tenancy import IngestTarget, Progress
from tests.cli.conftest import Run, run_here, run_process
from tests.isolation.hand import Reply
from tests.tenancy.texts import Lines

#: So wide that no mark is broken into two lines.
WIDE = {"COLUMNS": "2000"}
#: Read, and so can be run twice: for people and for programs.
READS = ("search", "tenant list", "tenant show", "scrub", "stats", "doctor", "export")


class FileLines(Lines):
    """Text services that take paths; a file's name is its document's id."""

    def __init__(self, embedder: object = None, *, chunking: object = None) -> None:
        assert embedder is None, "the commands name no model"

    def ingest(self, room: IngestTarget, source: Any, *, progress: Progress | None) -> IngestReport:
        documents = [Document(path.name, path.read_text()) for path in map(Path, source)]
        return super().ingest(room, documents, progress=progress)


class Shell:
    """Runs ``llmspell`` on one data directory, which no database of its process has open.

    Args:
        data: the directory.
        is_process: whether each command runs in a process of its own.
    """

    def __init__(self, data: Path, *, is_process: bool = False) -> None:
        self._data = data
        self._run = run_process if is_process else run_here
        self._closing = contextlib.ExitStack()
        self._closing.enter_context(mock.patch("llmspell.rag.Pipeline", FileLines))
        self._folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))

    def ask(self, way: str, what: str, *given: Any, **named: Any) -> Reply:
        """Run the command that does what ``Tenant.NAME`` or ``Database.NAME`` does."""
        del way
        command, arguments, value_of = getattr(self, "_" + what.partition(".")[2])(*given, **named)
        said = []
        if command in READS:
            shown = self._call(command, *arguments)
            said += [shown.out, shown.err]
        done = self._call(command, *arguments, "--json")
        said += [done.out, done.err]
        if done.code:
            # Warnings may stand before it, a line each.
            error = json.loads(done.err.splitlines()[-1])["error"]
            return Reply(error["type"], None, "\n".join(said))
        return Reply("", value_of(done), "\n".join(said), asked=f"llmspell {command}")

    def close(self) -> None:
        self._closing.close()

    def _call(self, command: str, *arguments: str) -> Run:
        return self._run(self._data, *command.split(), *arguments, **WIDE)

    # --- a command for an operation, its arguments, and what reads its result

    def _create_tenant(self, tenant_id: str, display: str) -> _Command:
        return "tenant create", [tenant_id, "--name", display, "--metric", "ip"], _nothing

    def _update_tenant(
        self, tenant_id: str, display: str | None = None, limits: dict[str, int] | None = None
    ) -> _Command:
        given = [] if display is None else ["--name", display]
        for name, limit in (limits or {}).items():
            given += [f"--{name.replace('_', '-')}", str(limit)]
        return "tenant update", [tenant_id, *given], _nothing

    def _drop_tenant(self, tenant_id: str) -> _Command:
        return "tenant drop", [tenant_id, "--yes"], _nothing

    def _tenants(self) -> _Command:
        return "tenant list", [], lambda run: [(t["id"], t["name"]) for t in run.json["tenants"]]

    def _usage(self, tenant_id: str, _: int) -> _Command:
        return "tenant show", [tenant_id], lambda run: run.json["usage"]["vectors"]["used"]

    def _stats(self) -> _Command:
        return (
            "stats",
            [],
            lambda run: {t["id"]: t["usage"]["vectors"]["used"] for t in run.json["tenants"]},
        )

    def _doctor(self) -> _Command:
        return "doctor", [], _nothing

    def _scrub(self) -> _Command:
        return "scrub", [], lambda run: run.json["sound"]

    def _scrub_tenant(self, tenant_id: str) -> _Command:
        return "scrub", [tenant_id], lambda run: run.json["sound"]

    def _snapshot_tenant(self, tenant_id: str, target: Path) -> _Command:
        return "tenant snapshot", [tenant_id, str(target)], _nothing

    def _restore_tenant(self, source: Path, *, tenant_id: str, replace: bool = False) -> _Command:
        options = ["--as", tenant_id, *(["--replace"] if replace else [])]
        return "tenant restore", [str(source), *options], _nothing

    def _clone_tenant(self, source_id: str, tenant_id: str, name: str) -> _Command:
        return "tenant clone", [source_id, tenant_id, "--name", name], _nothing

    def _search(self, tenant_id: str, _: int, text: str, k: int, filter: str | None) -> _Command:
        given = [] if filter is None else ["--filter", filter]
        return "search", [tenant_id, text, "-k", str(k), *given], _hits

    def _ingest(self, tenant_id: str, _: int, name: str, text: str) -> _Command:
        source = self._folder / name
        source.write_text(text)
        return "ingest", [tenant_id, str(source)], _nothing

    def _export(self, tenant_id: str, _: int) -> _Command:
        target = self._folder / "export"
        target.unlink(missing_ok=True)
        return "export", [tenant_id, str(target)], lambda run: target.read_bytes()

    def _import_from(
        self, tenant_id: str, _: int, raw: bytes, *, on_conflict: str = "error"
    ) -> _Command:
        source = self._folder / "import"
        source.write_bytes(raw)
        return "import", [tenant_id, str(source), "--on-conflict", on_conflict], _nothing


_Command = tuple[str, list[str], Callable[[Run], Any]]


def _nothing(run: Run) -> None:
    del run


def _hits(run: Run) -> list[tuple[Any, ...]]:
    return [(hit["id"], hit["score"], hit["text"], hit["metadata"]) for hit in run.json["hits"]]
