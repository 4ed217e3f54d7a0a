"""Tools that the kernel confines: where they are loaded, and what this host must be able to do."""

from __future__ import annotations

import functools
import logging
import os
import platform
import select
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self

from llmspell.errors import ClosedError, ConfigError, SandboxUnavailable, ToolNotLoaded
from llmspell.security.denials import Denials, check_sink
from llmspell.security.host import HostSupport, probe
from llmspell.security.requirements import SecurityRequirements
from llmspell.security.sandbox.confined import ConfinedTool
from llmspell.security.sandbox.counters import SandboxCounters
from llmspell.security.sandbox.definition import READY, ToolDefinition
from llmspell.security.sandbox.fork_server import ForkServer, Loader
from llmspell.security.sandbox.groups import GroupPool, remove_forgotten
from llmspell.security.sandbox.orders import make_order
from llmspell.security.sandbox.pool import WorkerPool
from llmspell.security.sandbox.unconfined import UnconfinedTool

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink
    from llmspell.security.broker.broker import Broker

__all__ = ["Sandbox"]

_log: Final = logging.getLogger(__name__)

# Fork servers that may be killed while one tool is loaded.
_TRIES: Final = 3

# What a Python for Linux may have been built without, by headers older than the kernel that it runs
# on; and what some libraries that replace parts of the standard one take away.
_OF_PYTHON: Final = (
    *((os, name) for name in ("memfd_create", "pidfd_open", "pipe2", "fork")),
    *((socket, name) for name in ("AF_UNIX", "SOCK_SEQPACKET", "send_fds", "recv_fds")),
    (signal, "pidfd_send_signal"),
    (select, "poll"),
)


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
        make_broker: makes the way out of a tool whose requirements list hosts; by default a
            :class:`Broker` with these hosts.
        audit: is told of tools that are refused, calls that were killed for a limit, each call that
            nothing confines, and what the default brokers try; see :class:`AuditLog`.

    Raises:
        ConfigError: an argument of another type.
    """

    def __init__(
        self,
        *,
        host: HostSupport | None = None,
        allow_unsandboxed: bool = False,
        make_broker: Callable[[ToolDefinition], Broker] | None = None,
        audit: AuditSink | None = None,
    ) -> None:
        if host is not None and not isinstance(host, HostSupport):
            raise ConfigError(f"host must be HostSupport, got {host!r}")
        if not isinstance(allow_unsandboxed, bool):
            raise ConfigError(f"allow_unsandboxed must be True or False, got {allow_unsandboxed!r}")
        self._host = host
        self._allows_unsandboxed = allow_unsandboxed
        self._make_broker = make_broker or functools.partial(_default_broker, audit)
        self._audit = check_sink(audit)
        self.counters = SandboxCounters()
        self._server = ForkServer()
        self._tools: set[ConfinedTool | UnconfinedTool] = set()
        self._is_closed = False
        # Also where it is forgotten, and when Python ends.
        self._end = weakref.finalize(self, _end, self._server, self._tools)

    @property
    def host(self) -> HostSupport:
        """What this host can enforce."""
        return self._host or _host()

    def register(self, definition: ToolDefinition) -> ConfinedTool | UnconfinedTool:
        """Take a tool, and start nothing: its first call does, or :meth:`ConfinedTool.start`.

        Raises:
            SandboxUnavailable: this host lacks what the requirements need; the message names it.
            ClosedError: after :meth:`close`.
        """
        if not isinstance(definition, ToolDefinition):
            raise ConfigError(f"definition must be a ToolDefinition, got {definition!r}")
        self._require_open()
        missing = self._missing(definition.requirements)
        tool: ConfinedTool | UnconfinedTool
        if missing:
            self._require_allowed(definition, missing)
            tool = UnconfinedTool(
                definition, self.counters, self._audit, forget=self._tools.discard
            )
        else:
            needs = definition.requirements
            tool = ConfinedTool(
                definition,
                pool=WorkerPool(
                    definition,
                    loads=functools.partial(_load, self._server, definition),
                    groups=GroupPool(self.host, needs.memory_bytes, needs.processes),
                    counters=self.counters,
                ),
                broker=self._make_broker(definition) if needs.domains else None,
                counters=self.counters,
                audit=self._audit,
                forget=self._tools.discard,
            )
        self._tools.add(tool)
        try:
            self._require_open()  # it may have been closed meanwhile
        except ClosedError:
            tool.close()
            raise
        return tool

    def load(
        self,
        module: str,
        functions: Sequence[str],
        requirements: SecurityRequirements,
        *,
        path: Sequence[str | os.PathLike[str]] = (),
        source: str | None = None,
        preload: Sequence[str] = (),
        ready: int = READY,
        keep_workers: bool = False,
    ) -> ConfinedTool | UnconfinedTool:
        """Define a tool, register it and start it; its code runs in confined workers alone.

        The libraries that its source imports are imported before, once, by a process that reads
        libraries and what the tool may read. Its own modules are those of its package, and all
        beneath ``path``: these are neither run nor parsed outside of the sandbox.

        For the arguments see :class:`ToolDefinition`.

        Raises:
            SandboxUnavailable: this host lacks what the requirements need; the message names it.
            ToolNotLoaded: there is no such module or function, or loading it failed.
            ConfigError: an argument out of range.
            ClosedError: after :meth:`close`.
        """
        definition = ToolDefinition(
            module=module,
            functions=functions,  # type: ignore[arg-type]
            requirements=requirements,
            path=path,  # type: ignore[arg-type]
            source=source,
            preload=preload,  # type: ignore[arg-type]
            ready=ready,
            keep_workers=keep_workers,
        )
        tool = self.register(definition)
        try:
            tool.start()
        except BaseException:
            tool.close()
            raise
        return tool

    def close(self) -> None:
        """End all tools and all processes."""
        self._is_closed = True
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the sandbox is closed")

    def _require_allowed(self, definition: ToolDefinition, missing: list[str]) -> None:
        level = definition.requirements.level.value
        lacks = (
            f"{definition.module}: this host can't enforce what a {level} tool needs: "
            f"{'; '.join(missing)}"
        )
        if not self._allows_unsandboxed:
            self.counters.refused.inc()
            denial = SandboxUnavailable(
                f"{lacks}. `llmspell doctor` shows what it can. Sandbox(allow_unsandboxed=True) "
                "runs such tools without one.",
                level=level,
                missing=tuple(missing),
            )
            noted = Denials(self._audit, "tool.run", None).noted
            raise noted(denial, definition.module, level=level, missing=missing)
        _log.warning("%s; it runs without a sandbox, with all that this process may do", lacks)

    def _missing(self, requirements: SecurityRequirements) -> list[str]:
        if sys.platform == "linux":
            return self._missing_on_linux(requirements)
        else:
            return [f"{sys.platform} isn't Linux"]

    def _missing_on_linux(self, requirements: SecurityRequirements) -> list[str]:
        missing = list(self.host.missing_for(requirements))
        missing += [
            f"{module.__name__}.{name}: this build of Python lacks it"
            for module, name in _OF_PYTHON
            if not hasattr(module, name)
        ]
        if not missing:
            try:
                from llmspell._sandbox import has_filters  # for Linux alone
            except ImportError as error:
                return [f"llmspell._sandbox: this build of llmspell lacks it ({error})"]
            if not has_filters():
                missing.append(f"a filter of system calls for {platform.machine()}")
        return missing


def _default_broker(audit: AuditSink | None, definition: ToolDefinition) -> Broker:
    from llmspell.security.broker.broker import Broker

    on_attempt = None
    if audit is not None:
        from llmspell.security.audit import record_attempts

        on_attempt = record_attempts(audit)
    return Broker(definition.requirements.domains, on_attempt=on_attempt)


def _load(
    server: ForkServer, definition: ToolDefinition, begun: Callable[[Loader], None]
) -> Loader:
    server.start()
    if definition.requirements.processes and not server.holds["hidden"]:
        lacks = "namespaces of processes and mounts, so that all of them end together"
        raise SandboxUnavailable(
            f"{definition.module}: this host lacks {lacks}",
            level=definition.requirements.level.value,
            missing=(lacks,),
        )
    for _ in range(_TRIES):
        try:
            loader = server.load(make_order(definition))
        except OSError as error:
            raise SandboxUnavailable(
                f"{definition.module}: it can't be loaded: {error}",
                level=definition.requirements.level.value,
            ) from error
        try:
            begun(loader)
            loader.await_ready(definition.module)
            return loader
        except BaseException as error:
            # It ended with its server, in whatever it was about?
            is_lost = isinstance(error, ToolNotLoaded) and not loader.is_served()
            loader.close()
            if not is_lost:
                raise
    raise SandboxUnavailable(
        f"{definition.module}: it can't be loaded: {_TRIES} times the fork server ended meanwhile; "
        "see who kills processes of this one",
        level=definition.requirements.level.value,
    )


def _end(server: ForkServer, tools: set[ConfinedTool | UnconfinedTool]) -> None:
    server.close()  # first: so a tool that is being loaded isn't waited for
    while True:
        try:
            tool = tools.pop()
        except KeyError:  # others take from it too
            break
        tool.close()
