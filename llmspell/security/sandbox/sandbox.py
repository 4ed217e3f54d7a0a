"""Tools that the kernel confines: where they are loaded, and what this host must be able to do."""

from __future__ import annotations

import functools
import logging
import os
import platform
import sys
import weakref
from collections.abc import Sequence
from typing import Any, Final, Self

from llmspell.errors import ClosedError, ConfigError, SandboxUnavailable
from llmspell.security.host import HostSupport, probe
from llmspell.security.requirements import SecurityRequirements
from llmspell.security.sandbox.confined import ConfinedTool
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.fork_server import ForkServer, Loader
from llmspell.security.sandbox.groups import GroupPool, remove_forgotten
from llmspell.security.sandbox.orders import make_order
from llmspell.security.sandbox.unconfined import UnconfinedTool

__all__ = ["Sandbox"]

_log: Final = logging.getLogger(__name__)

_READY: Final = 2
_MAX_READY: Final = 256


@functools.cache
def _host() -> HostSupport:
    host = probe()
    remove_forgotten(host)
    return host


class Sandbox:
    """Loads tools into processes that the kernel confines. Thread-safe.

    One fork server is behind it, executed when the first tool is loaded: no secret, model or
    thread of this process is in it. Close it, or use it as a context manager; it ends with this
    process in any case.

    Args:
        host: what the host can enforce; tried once in a process where it isn't given.
        allow_unsandboxed: run tools in this process, with all that it may do, where the host can't
            enforce what they need. Each such tool is logged as a warning, each call counted.

    Raises:
        ConfigError: an argument of another type.
    """

    def __init__(self, *, host: HostSupport | None = None, allow_unsandboxed: bool = False) -> None:
        if host is not None and not isinstance(host, HostSupport):
            raise ConfigError(f"host must be HostSupport, got {host!r}")
        if not isinstance(allow_unsandboxed, bool):
            raise ConfigError(f"allow_unsandboxed must be True or False, got {allow_unsandboxed!r}")
        self._host = host
        self._allows_unsandboxed = allow_unsandboxed
        self.counters = SandboxCounters()
        self._server = ForkServer()
        self._tools: list[ConfinedTool | UnconfinedTool] = []
        self._is_closed = False
        # Also where it is forgotten, and when Python ends.
        self._end = weakref.finalize(self, _end, self._server, self._tools)

    @property
    def host(self) -> HostSupport:
        """What this host can enforce."""
        return self._host or _host()

    def load(
        self,
        module: str,
        functions: Sequence[str],
        requirements: SecurityRequirements,
        *,
        path: Sequence[str | os.PathLike[str]] = (),
        source: str | None = None,
        preload: Sequence[str] = (),
        ready: int = _READY,
        keep_workers: bool = False,
    ) -> ConfinedTool | UnconfinedTool:
        """Load a tool; its code runs in confined workers alone.

        The libraries that its source imports are imported before, once, by a process that reads
        libraries and what the tool may read. Its own modules are those of its package, and all
        beneath ``path``: these are neither run nor parsed outside of the sandbox.

        Args:
            module: dotted name of the tool's module.
            functions: qualified names of what may be called in it.
            requirements: what the tool may have.
            path: directories where tools' modules are looked for, before the installed ones.
            source: text of the module, instead of a file.
            preload: names of modules that are imported outside of the sandbox, for imports that
                the source doesn't show, and for extension modules of the tool's own.
            ready: workers that wait for calls.
            keep_workers: serve a tenant's calls by one worker again and again. The tool must not
                mind what earlier calls of the same tenant left.

        Raises:
            SandboxUnavailable: this host lacks what the requirements need; the message names it.
            ToolNotLoaded: there is no such module or function, or loading it failed.
            ConfigError: an argument out of range.
            ClosedError: after :meth:`close`.
        """
        _require_arguments(module, functions, requirements, ready)
        if self._is_closed:
            raise ClosedError("the sandbox is closed")
        places = [os.path.abspath(place) for place in path]
        missing = self._missing(requirements)
        tool: ConfinedTool | UnconfinedTool
        if not missing:
            order = make_order(
                requirements,
                module=module,
                source=source,
                functions=functions,
                path=places,
                preload=preload,
                keep_workers=keep_workers,
            )
            tool = self._confined(order, requirements, ready=ready, keep_workers=keep_workers)
        else:
            self._require_allowed(module, requirements, missing)
            tool = UnconfinedTool(
                module,
                functions,
                requirements,
                path=places,
                source=source,
                counters=self.counters,
            )
        self._tools.append(tool)
        return tool

    def close(self) -> None:
        """End all tools and all processes."""
        self._is_closed = True
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _confined(
        self,
        order: dict[str, Any],
        requirements: SecurityRequirements,
        *,
        ready: int,
        keep_workers: bool,
    ) -> ConfinedTool:
        return ConfinedTool(
            order["module"],
            order["functions"],
            requirements,
            loads=functools.partial(_load, self._server, order),
            groups=GroupPool(self.host, requirements.memory_bytes, requirements.processes),
            counters=self.counters,
            ready=ready,
            keep_workers=keep_workers,
        )

    def _require_allowed(
        self, module: str, requirements: SecurityRequirements, missing: list[str]
    ) -> None:
        lacks = (
            f"{module}: this host can't enforce what a {requirements.level.value} tool needs: "
            f"{'; '.join(missing)}"
        )
        if not self._allows_unsandboxed:
            self.counters.refused.inc()
            raise SandboxUnavailable(
                f"{lacks}. `llmspell doctor` shows what it can. Sandbox(allow_unsandboxed=True) "
                "runs such tools without one.",
                level=requirements.level.value,
                missing=tuple(missing),
            )
        _log.warning("%s; it runs without a sandbox, with all that this process may do", lacks)

    def _missing(self, requirements: SecurityRequirements) -> list[str]:
        if sys.platform != "linux":
            return [f"{sys.platform} isn't Linux"]
        missing = list(self.host.missing_for(requirements))
        if not missing:
            from llmspell._sandbox import has_filters  # for Linux alone

            if not has_filters():
                return [f"a filter of system calls for {platform.machine()}"]
            self._server.start()
            if requirements.processes and not self._server.holds["processes"]:
                missing.append("a namespace of processes, so that all end together")
        return missing


def _load(server: ForkServer, order: dict[str, Any]) -> Loader:
    loader = server.load(order)
    try:
        loader.await_ready(order["module"])
    except BaseException:
        loader.close()
        raise
    return loader


def _end(server: ForkServer, tools: list[ConfinedTool | UnconfinedTool]) -> None:
    while tools:
        tools.pop().close()
    server.close()


def _require_arguments(module: Any, functions: Any, requirements: Any, ready: Any) -> None:
    if not isinstance(requirements, SecurityRequirements):
        raise ConfigError(f"requirements must be SecurityRequirements, got {requirements!r}")
    parts = module.split(".") if isinstance(module, str) else []
    if not parts or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"module must be a dotted name, got {module!r}")
    named = isinstance(functions, Sequence) and not isinstance(functions, str)
    if not named or not functions or not all(isinstance(one, str) and one for one in functions):
        raise ConfigError(f"functions must be a list of names, got {functions!r}")
    if not isinstance(ready, int) or isinstance(ready, bool) or not 1 <= ready <= _MAX_READY:
        raise ConfigError(f"ready must be an int of 1 to {_MAX_READY}, got {ready!r}")
