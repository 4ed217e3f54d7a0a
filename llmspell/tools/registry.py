"""The tools of a program: by name, with the sandbox that confines them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.errors import ClosedError, ConfigError
from llmspell.quota import Places
from llmspell.security import Sandbox, ToolDefinition
from llmspell.tools.closing import Ending, aclose_all, close_all, endings_of
from llmspell.tools.confining import definition_of
from llmspell.tools.definition import Tool
from llmspell.tools.policy import ToolPolicy
from llmspell.tools.shared_calls import give_back_leases
from llmspell.tools.tally import Tallies

if TYPE_CHECKING:
    from llmspell.security import AuditSink, ConfinedTool, UnconfinedTool
    from llmspell.tenancy import AsyncTenant, Tenant
    from llmspell.tools.approval import ApprovalHook
    from llmspell.tools.tenant_tools import TenantTools

__all__ = ["ENTRY_POINTS", "ToolRegistry"]

#: The group of entry points by which installed packages offer tools.
ENTRY_POINTS: Final = "llmspell.tools"


class ToolRegistry:
    """Tools by name, for all tenants of a program. Thread-safe; close it, or use it in a ``with``.

    Nothing is started before the first call: then the sandbox loads the tool's libraries, once.
    Tools that have a ``close`` end with it; in async code use ``async with``, or await
    :meth:`aclose`.

    Args:
        tools: to begin with.
        sandbox: that confines tools; one of the registry's own where it isn't given, which ends
            with it and refuses what this host can't confine.
        audit: told of calls that are refused, and given to the registry's own sandbox.
        close_tools: whether its tools are closed with it; False where others use them too, such as
            another registry that closes them.

    Raises:
        ConfigError: see :meth:`add`.
    """

    def __init__(
        self,
        tools: Iterable[Tool] = (),
        *,
        sandbox: Sandbox | None = None,
        audit: AuditSink | None = None,
        close_tools: bool = True,
    ) -> None:
        self.audit = audit
        self._closes_tools = close_tools
        self.tallies = Tallies()
        self._lock = threading.Lock()
        self._tools: dict[str, Tool] = {}
        self._places: dict[str, Places] = {}
        self._given_sandbox = sandbox
        self._sandbox = Sandbox(audit=audit) if sandbox is None else sandbox
        self._confined: dict[ToolDefinition, ConfinedTool | UnconfinedTool] = {}
        # By name, for making a definition reads the module's source.
        self._found: dict[str, tuple[Tool, ConfinedTool | UnconfinedTool]] = {}
        self._closes: list[Callable[[], None]] = []
        self._is_closed = False
        self.add(*tools)

    def add(self, *tools: Tool) -> None:
        """Take tools, all of them or none.

        Raises:
            ConfigError: a name that is taken, or a tool that can't be described, or not be imported
                by the workers that are to confine it.
            MissingDependency: the extra ``tools`` is not installed.
            ClosedError: after :meth:`close`.
        """
        named: dict[str, Tool] = {}
        for tool in tools:
            if not isinstance(tool, Tool):
                raise ConfigError(f"a tool is made by @tool, or of a class of Tool; got {tool!r}")
            name = tool.spec.name
            if not tool.options.trusted:
                definition_of(tool)
            if name in named:
                raise ConfigError(f"two tools are named {name!r}; give one another name")
            named[name] = tool
        with self._lock:
            self.require_open()
            for name in named:
                if name in self._tools:
                    raise ConfigError(f"there is a tool {name!r} already; rename by with_options")
            self._tools |= named
            for name, tool in named.items():
                if tool.options.max_concurrent is not None:
                    self._places[name] = Places(tool.options.max_concurrent)

    def remove(self, name: str) -> None:
        """Forget a tool; calls that go on end as they would have, and closing it is yours.

        Raises:
            ConfigError: there is none of that name.
        """
        with self._lock:
            if self._tools.pop(name, None) is None:
                raise ConfigError(f"there is no tool {name!r}")
            self._places.pop(name, None)
            self._found.pop(name, None)

    def discover(self, names: Collection[str] | None = None) -> list[str]:
        """Add what installed packages offer as entry points of the group ``llmspell.tools``.

        An entry point leads to a tool, several of them, or a function without arguments that gives
        either. Importing it runs the package's code in this process; the tools run as they say.

        Args:
            names: of the entry points to take; None for all.

        Returns:
            The names of the tools that were added.

        Raises:
            ConfigError: one can't be imported, gives no tools or a name that is taken, or there is
                none of a name; nothing was added.
        """
        from importlib.metadata import entry_points  # it loads the reading of mails

        found = {one.name: one for one in entry_points(group=ENTRY_POINTS)}
        if names is not None:
            missing = set(names) - found.keys()
            if missing:
                raise ConfigError(
                    f"no installed package offers {min(missing)!r} as an entry point of "
                    f"{ENTRY_POINTS}; there are: {', '.join(sorted(found)) or 'none'}"
                )
            found = {name: found[name] for name in names}
        tools: list[Tool] = []
        for name, entry in sorted(found.items()):
            try:
                tools += _tools_of(entry.load())
            except Exception as error:
                raise ConfigError(
                    f"the entry point {name!r} ({entry.value}) gives no tools: "
                    f"{type(error).__name__}: {error}"
                ) from error
        self.add(*tools)
        return [tool.spec.name for tool in tools]

    def bind(
        self,
        tenant: Tenant | AsyncTenant,
        *,
        policy: ToolPolicy | None = None,
        approve: ApprovalHook | None = None,
    ) -> TenantTools:
        """The tools as a tenant may use them; see :class:`TenantTools`."""
        from llmspell.tools.tenant_tools import TenantTools

        return TenantTools(self, tenant, policy=policy, approve=approve)

    def get(self, name: str) -> Tool | None:
        """The tool of a name."""
        return self._tools.get(name)

    def places_of(self, name: str) -> Places | None:
        """What bounds the calls of a tool at one time; None where nothing does."""
        return self._places.get(name)

    def confined(self, tool: Tool) -> ConfinedTool | UnconfinedTool:
        """The tool in the sandbox; tools of one module share it where they may have the same.

        Raises:
            SandboxUnavailable: this host can't enforce what it needs.
            ClosedError: after :meth:`close`.
        """
        name = tool.spec.name
        known = self._found.get(name)
        if known is not None and known[0] is tool:
            return known[1]
        definition = definition_of(tool)
        with self._lock:
            self.require_open()
            found = self._confined.get(definition)
            if found is None:
                found = self._confined[definition] = self._sandbox.register(definition)
            if self._tools.get(name) is tool:
                self._found[name] = tool, found
            return found

    def on_close(self, close: Callable[[], None]) -> None:
        """Have something closed with the registry, such as a connection of its tools."""
        with self._lock:
            self.require_open()
            self._closes.append(close)

    def require_open(self) -> None:
        """Raise ClosedError after :meth:`close`."""
        if self._is_closed:
            raise ClosedError("the registry of tools is closed")

    def close(self) -> None:
        """End its tools, their workers, and its own sandbox; does nothing the second time.

        In the order of: calls of shared quotas that are leased and not made, which other processes
        have then; tools that have a ``close``, the last one first; what :meth:`on_close` was told;
        workers.

        Raises:
            CloseFailed: some of it raised; all else is closed.
        """
        close_all(self._ended())

    async def aclose(self) -> None:
        """As :meth:`close`; a ``close`` that is async is awaited in this event loop.

        By :meth:`close` it is awaited in another one, in which what belongs to this loop may fail.
        """
        await aclose_all(self._ended())

    def _ended(self) -> list[Ending]:
        """Take nothing any more; what is to be closed, in order."""
        with self._lock:
            if self._is_closed:
                return []
            self._is_closed = True
            tools = reversed(self._tools.values()) if self._closes_tools else ()
            endings = [("leased calls", self._give_back_leases), *endings_of(tools)]
            endings += [("on_close", close) for close in reversed(self._closes)]
            if self._given_sandbox is None:
                return [*endings, ("the sandbox", self._sandbox.close)]
            workers = [*self._confined.items()]
        return endings + [(f"workers of {of.module}", tool.close) for of, tool in workers]

    def _give_back_leases(self) -> None:
        for tally in self.tallies.all():
            give_back_leases(tally.leases)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(list(self._tools.values()))

    def __len__(self) -> int:
        return len(self._tools)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _tools_of(given: Any) -> list[Tool]:
    if isinstance(given, Tool):
        return [given]
    if callable(given):
        return _tools_of(given())
    tools = list(given)
    for tool in tools:
        if not isinstance(tool, Tool):
            raise TypeError(f"{tool!r} is no tool")
    return tools
