"""``llmspell doctor``: what is installed, what the machine offers, whether the data opens."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self

import typer

from llmspell.cli.exits import ExitCode
from llmspell.cli.options import DataOption, JsonOption
from llmspell.cli.output import Output
from llmspell.cli.paths import shared_quotas

if TYPE_CHECKING:
    from llmspell import Database
    from llmspell.cli.payload import CheckPayload, DoctorPayload
    from llmspell.security.host import ControlGroup

__all__ = ["doctor"]

OK, WARNING, BROKEN = "ok", "warning", "broken"

# LMDB needs coherent memory maps and working locks, which these don't promise (lmdb.h, caveats).
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"}
_FLEETING = {"tmpfs", "ramfs"}
# Those that make it do more; the others are for its development.
_EXTRAS = (
    "local",
    "embeddings",
    "cache",
    "lexical",
    "rag",
    "documents",
    "code",
    "cli",
    "metrics",
    "redis",
    "security",
    "agents",
    "tools",
    "mcp",
    "keyring",
    "vault",
    "aws",
    "openai",
    "anthropic",
)


def doctor(data: DataOption, as_json: JsonOption = False) -> None:
    """Check the installation, the machine and the data directory."""
    checks = [*_installation(), *_machine(), *_sandbox(), *_directory(data)]
    healthy = all(check["status"] != BROKEN for check in checks)
    payload: DoctorPayload = {"healthy": healthy, "checks": checks}
    out = Output(as_json=as_json)
    out.result(payload)
    if not as_json:
        from llmspell.cli.render import doctor_view

        out.show(doctor_view(payload))
    if not healthy:
        raise typer.Exit(ExitCode.FAILED)


def _check(name: str, status: str, detail: str) -> CheckPayload:
    return {"name": name, "status": status, "detail": detail}


def _installation() -> Iterator[CheckPayload]:
    from importlib import metadata

    import lmdb

    yield _check("llmspell", OK, metadata.version("llmspell"))
    yield _check("python", OK, f"{platform.python_version()} ({platform.platform()})")
    yield _check("numpy", OK, metadata.version("numpy"))
    library = ".".join(str(part) for part in lmdb.version())
    yield _check("lmdb", OK, f"library {library}, binding {metadata.version('lmdb')}")
    declared = metadata.metadata("llmspell").get_all("Provides-Extra") or []
    for extra in declared:
        if extra in _EXTRAS:
            yield _extra(extra)


def _extra(extra: str) -> CheckPayload:
    from importlib import metadata

    found, missing = [], []
    for requirement in metadata.requires("llmspell") or []:
        match = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", requirement)
        if match is None or match[2] != extra:
            continue
        try:
            found.append(f"{match[1]} {metadata.version(match[1])}")
        except metadata.PackageNotFoundError:
            missing.append(match[1])
    name = f"extra {extra}"
    if missing:
        lacking = ", ".join(missing)
        return _check(name, WARNING, f"without {lacking}: pip install 'llmspell[{extra}]'")
    return _check(name, OK, ", ".join(found))


def _machine() -> Iterator[CheckPayload]:
    from llmspell import _core
    from llmspell.cli.machine import cpu_name, huge_pages

    yield _check("cpu", OK, cpu_name())
    level = _core.simd_level()
    if level == "scalar":
        yield _check("simd", WARNING, "scalar: searches are several times slower than with AVX2")
    else:
        yield _check("simd", OK, level)
    pages = huge_pages()
    if pages == "never":
        yield _check("huge pages", WARNING, "never: 'madvise' makes large indexes faster")
    else:
        yield _check("huge pages", OK, pages or "not known on this system")


def _sandbox() -> Iterator[CheckPayload]:
    """What the kernel can enforce here, and which levels of tools that is enough for."""
    from llmspell.security import SecurityLevel
    from llmspell.security.host import MEASURES, probe

    host = probe()
    if not any(getattr(host, measure) for measure in MEASURES):
        yield _check("sandbox", WARNING, f"nothing: {host.why_not(MEASURES[0])}")
    else:
        for measure in MEASURES:
            status, detail = WARNING, host.why_not(measure)
            if not detail:
                status, detail = OK, _measured(getattr(host, measure))
            yield _check(measure.replace("_", " "), status, detail)
    for level in SecurityLevel:
        missing = host.missing_for(level)
        if missing:
            yield _check(f"{level.value} tools", WARNING, f"refused: {'; '.join(missing)}")
        else:
            yield _check(f"{level.value} tools", OK, "this host can confine them")


def _measured(value: bool | int | ControlGroup) -> str:
    """A measure that held, for people."""
    if isinstance(value, bool):
        return "holds"
    return str(value) if isinstance(value, int) else f"v{value.version}, in {value.path}"


def _directory(data: Path) -> Iterator[CheckPayload]:
    from llmspell.cli.machine import file_system
    from llmspell.storage import Catalog

    kind = file_system(data)
    if kind in _REMOTE:
        yield _check("file system", WARNING, f"{kind}: LMDB wants a local disk")
    elif kind in _FLEETING:
        yield _check("file system", WARNING, f"{kind}: the data is gone after a restart")
    else:
        yield _check("file system", OK, kind or "not known on this system")
    if Catalog.is_at(data):
        yield from _tenants(data)
    else:
        yield _check("data", OK, f"no data at {data} yet")


def _tenants(data: Path) -> Iterator[CheckPayload]:
    import llmspell
    from llmspell import errors

    try:
        with llmspell.open(data, shared_quotas=shared_quotas()) as database:
            infos = list(database.tenants())
            yield _check("data", OK, f"{data}: {len(infos)} tenants")
            for info in infos:
                yield _tenant(database, info.id)
    except (errors.LlmspellError, OSError) as error:
        yield _check("data", BROKEN, f"{data}: {type(error).__name__}: {error}")


def _tenant(database: Database, tenant: str) -> CheckPayload:
    """Open one tenant; what is logged on the way says whether its snapshot was of use."""
    from llmspell import errors
    from llmspell.cli.render import duration

    name = f"tenant {tenant}"
    start = perf_counter()
    try:
        with _LogLines() as logged, closing(database.tenant(tenant)) as room:
            _ = room.dim  # opens the room, and unlike count() is free of charge
            count = room.usage().vectors.used
    except (errors.LlmspellError, OSError) as error:
        return _check(name, BROKEN, f"{type(error).__name__}: {error}")
    if logged.lines:
        return _check(name, WARNING, "; ".join(logged.lines))
    return _check(name, OK, f"{count:,} vectors, open in {duration(perf_counter() - start)}")


class _LogLines(logging.Handler):
    """Takes what llmspell logs in place of the usual handlers, while in a ``with``."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._logger = logging.getLogger("llmspell")

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        self._usual, self._logger.handlers = self._logger.handlers, [self]
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.handlers = self._usual
