"""What a loader is told: a tool's requirements as paths, a filter and limits."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from llmspell.security.levels import SecurityLevel
from llmspell.security.requirements import SecurityRequirements
from llmspell.security.sandbox.definition import ToolDefinition

__all__ = [
    "KEPT_CPU_SECONDS",
    "PACKAGE",
    "Limits",
    "filter_of",
    "library_path",
    "make_order",
    "readable_places",
]

MAX_ARGUMENTS: Final = 16 << 20  # bytes of msgpack
MAX_REQUEST: Final = 4 << 20  # bytes of what the broker is asked
MAX_ANSWER: Final = 64 << 20  # bytes of what it answers
MAX_FILE: Final = 1 << 30  # bytes of one file that a tool writes
OPEN_FILES: Final = 256
#: Of a worker that serves several calls, together: it is replaced when it has had so much.
KEPT_CPU_SECONDS: Final = 60

#: Where this package lies.
PACKAGE: Final = Path(__file__).parents[2]

# A limit of the whole user (of a namespace of users, where there is one), for when there is no
# group for the tool alone.
_PROCESSES_OF_USER: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Limits:
    """What :mod:`llmspell.security.sandbox.worker` applies; bytes, seconds and counts."""

    memory: int
    cpu_seconds: int
    file_size: int
    open_files: int
    processes: int
    arguments: int
    result: int
    request: int
    answer: int


def make_order(definition: ToolDefinition) -> dict[str, Any]:
    """The message for a loader, of plain data."""
    requirements, source = definition.requirements, definition.source
    return {
        "module": definition.module,
        "source": None if source is None else source.encode(errors="surrogatepass"),
        "functions": list(definition.functions),
        "tool_paths": list(definition.path),
        "libraries": library_path(),
        "readable": readable_places(),
        "preload": list(definition.preload),
        "environment": {
            name: os.environ[name] for name in requirements.environment if name in os.environ
        },
        "has_network": bool(requirements.domains),
        "rules": _rules(requirements),
        "filter": filter_of(requirements),
        "limits": asdict(_limits(requirements, keep_workers=definition.keep_workers)),
    }


def filter_of(requirements: SecurityRequirements) -> str:
    """Name of the filter of system calls."""
    if requirements.level is SecurityLevel.SAFE:
        return "safe"
    if not requirements.processes:
        return "restricted"
    if requirements.level is not SecurityLevel.PRIVILEGED:
        return "processes"
    return "networked" if requirements.domains else "programs"


def library_path() -> list[str]:
    """Where installed libraries are imported from; never the program's own directory."""
    places = sysconfig.get_paths()
    own = {os.path.realpath(places[name]) for name in ("stdlib", "platstdlib")}
    installed = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
    found = dict.fromkeys([places["purelib"], places["platlib"], *installed])
    return [p for p in found if os.path.isdir(p) and os.path.realpath(p) not in own]


def readable_places() -> list[str]:
    """What a loader reads: libraries, and what the dynamic loader looks at."""
    places = sysconfig.get_paths()
    shared = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
    found = [
        *library_path(),
        *(places["stdlib"], places["platstdlib"]),
        str(PACKAGE),
        *_built_places(),
        *shared,
        *("/usr/share/zoneinfo", "/proc/self", "/dev/null", "/dev/urandom"),
    ]
    return [p for p in dict.fromkeys(found) if os.path.exists(p)]


def _built_places() -> list[str]:
    """Where its extension modules are: elsewhere than its sources, installed to be edited."""
    found = find_spec("llmspell._hot")
    return [] if found is None or found.origin is None else [os.path.dirname(found.origin)]


def _rules(requirements: SecurityRequirements) -> list[list[Any]]:
    executes = requirements.level is SecurityLevel.PRIVILEGED
    rules: list[list[Any]] = [[path, False, executes] for path in requirements.read_only]
    rules += [[path, True, executes] for path in requirements.writable]
    return rules


def _limits(requirements: SecurityRequirements, *, keep_workers: bool) -> Limits:
    return Limits(
        memory=requirements.memory_bytes,
        # The owner counts milliseconds; this is for when it doesn't get to.
        cpu_seconds=-(-requirements.cpu_ms // 1000) + 1 + keep_workers * KEPT_CPU_SECONDS,
        file_size=MAX_FILE if requirements.writable else 0,
        open_files=OPEN_FILES,
        processes=_PROCESSES_OF_USER,
        arguments=MAX_ARGUMENTS,
        result=requirements.output_bytes,
        request=MAX_REQUEST,
        answer=MAX_ANSWER,
    )
