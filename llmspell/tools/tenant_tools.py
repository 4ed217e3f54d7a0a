"""A registry's tools as one tenant may use them: the way in for agents and servers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from llmspell.errors import (
    ConfigError,
    InputError,
    InvalidArguments,
    MissingDependency,
    QuotaExceeded,
    SecurityError,
    TenantSuspended,
    ToolDenied,
)
from llmspell.security.denials import Denials
from llmspell.tenancy import AsyncTenant, Operation, Tenant, current_operation
from llmspell.tools.approval import Approval, ApprovalHook, ToolCall
from llmspell.tools.context import ToolContext
from llmspell.tools.definition import Tool
from llmspell.tools.policy import ToolPolicy
from llmspell.tools.registry import ToolRegistry
from llmspell.tools.result import FaultKind, ToolFault, ToolResult
from llmspell.tools.running import Run, fault_of
from llmspell.tools.spec import ToolSpec
from llmspell.tools.threads import awaited

__all__ = ["TenantTools"]

Given = Mapping[str, Any] | str | bytes


class TenantTools:
    """A registry's tools as one tenant may use them, made by :meth:`ToolRegistry.bind`.

    Each call is charged as one API call of the tenant, or is part of the operation of the same
    tenant that it is made in; then its arguments are checked, quotas counted, approval asked and
    places waited for; then the tool runs. Thread-safe. Handles of one tenant count together.

    Args:
        registry: of the tools.
        tenant: on whose behalf they are called.
        policy: what it may do; all that the registry has where it isn't given.
        approve: decides about the calls that are to be approved; without it they are refused.

    Raises:
        ConfigError: an argument of another type.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        tenant: Tenant | AsyncTenant,
        *,
        policy: ToolPolicy | None = None,
        approve: ApprovalHook | None = None,
    ) -> None:
        if not isinstance(tenant, Tenant | AsyncTenant):
            raise ConfigError(f"tenant must be a handle of a database, got {tenant!r}")
        if policy is not None and not isinstance(policy, ToolPolicy):
            raise ConfigError(f"policy must be a ToolPolicy, got {policy!r}")
        if approve is not None and not callable(approve):
            raise ConfigError(f"approve must be a function of a ToolCall, got {approve!r}")
        self._registry = registry
        self._tenant = tenant
        self._policy = policy or ToolPolicy()
        self._approve = approve
        self._denials = Denials(registry.audit, "tool.run", tenant.id)

    def __repr__(self) -> str:
        return f"TenantTools(tenant={self._tenant.id!r})"

    @property
    def tenant(self) -> Tenant | AsyncTenant:
        """The handle."""
        return self._tenant

    @property
    def policy(self) -> ToolPolicy:
        """What the tenant may do."""
        return self._policy

    def specs(self) -> list[ToolSpec]:
        """What a model is told: the tools that the tenant may call, in the order of their names."""
        found = [tool.spec for tool in self._registry if self._policy.allows(tool)]
        return sorted(found, key=lambda spec: spec.name)

    def call(self, name: str, arguments: Given, *, timeout: float | None = None) -> ToolResult:
        """Call a tool, and wait.

        Args:
            name: of the tool.
            arguments: by name, or as JSON.
            timeout: seconds that the tool may run, where that is less than its own.

        Returns:
            Its result, or the fault by which there is none: what a model asked for wrongly, what
            was denied, and what failed in the tool is data.

        Raises:
            QuotaExceeded, TenantSuspended, TenantNotFound, LedgerUnavailable: the tenant can't be
                charged.
            SandboxUnavailable, ToolNotLoaded, MissingDependency: the tool can't be run here.
            AuditFailed, AuditDamaged: what is to be recorded can't be.
            ConfigError: the handle is an :class:`llmspell.AsyncTenant`: await :meth:`acall`.
            InputError: ``timeout`` is no number above 0.
            ClosedError: the tenant's handle, the database or the registry is closed.
        """
        if not isinstance(self._tenant, Tenant):
            raise ConfigError("the handle is an AsyncTenant; await acall")
        with self._counted(name) as call, self._charged(self._tenant) as operation:
            if not call.check(operation, arguments, timeout):
                return call.result
            if call.is_asked:
                asked = call.asked
                answer = self._decide(asked)
                if inspect.isawaitable(answer):
                    waiting = answer
                    answer = awaited(lambda: waiting)
                if not call.approved(answer):
                    return call.result
            with ExitStack() as held:
                for places in call.places():
                    place = places.take(self._policy.max_wait)
                    if place is None:
                        return call.busy()
                    held.callback(place.give_back)
                run = call.run(held)
            return call.done(run, run.now())

    async def acall(
        self, name: str, arguments: Given, *, timeout: float | None = None
    ) -> ToolResult:
        """As :meth:`call`, awaited; cancelling it kills the worker of a confined tool.

        An async tool is cancelled with it; a trusted one that isn't async runs on in its thread.
        The handle is best an :class:`llmspell.AsyncTenant`: with the other, charging keeps the loop
        waiting where quotas are shared by hosts.
        """
        with self._counted(name) as call:
            async with self._charged_async() as operation:
                if not call.check(operation, arguments, timeout):
                    return call.result
                if call.is_asked:
                    answer = self._decide(call.asked)
                    if inspect.isawaitable(answer):
                        answer = await answer
                    if not call.approved(answer):
                        return call.result
                with ExitStack() as held:
                    for places in call.places():
                        place = await places.atake(self._policy.max_wait)
                        if place is None:
                            return call.busy()
                        held.callback(place.give_back)
                    run = call.run(held)
                return call.done(run, await run.later())

    @contextmanager
    def _counted(self, name: str) -> Iterator[_Call]:
        call = _Call(self, name)
        try:
            yield call
        except Exception as error:
            is_refusal = isinstance(error, QuotaExceeded | TenantSuspended)
            call.outcome = "refused" if is_refusal else "error"
            raise
        finally:
            known = None if call.tool is None else call.tool.spec.name
            self._registry.metrics.count(known, call.outcome, call.ran_ns)

    @contextmanager
    def _charged(self, tenant: Tenant) -> Iterator[Operation[Any]]:
        outer = current_operation()
        if outer is not None and outer.is_of(tenant):
            yield outer
            return
        with tenant.operation() as operation:
            yield operation

    @asynccontextmanager
    async def _charged_async(self) -> AsyncIterator[Operation[Any]]:
        if isinstance(self._tenant, Tenant):
            with self._charged(self._tenant) as operation:
                yield operation
            return
        outer = current_operation()
        if outer is not None and outer.is_of(self._tenant):
            yield outer
            return
        async with self._tenant.operation() as begun:
            yield begun

    def _decide(self, asked: ToolCall) -> bool | Approval | Awaitable[bool | Approval]:
        if self._approve is None:
            return Approval(False, "nobody is there to approve it")
        return self._approve(asked)


class _Call:
    """One call of a tool on its way, from what was asked for to the result."""

    def __init__(self, tools: TenantTools, name: str) -> None:
        self._tools = tools
        self._name = name if isinstance(name, str) else repr(name)
        self.tool: Tool | None = None
        self.outcome = "cancelled"
        self.ran_ns = 0

    def check(self, operation: Operation[Any], arguments: Given, timeout: float | None) -> bool:
        """Whether the tool may be called with these; otherwise there is a result."""
        if timeout is not None and not timeout > 0:
            raise InputError(f"timeout must be seconds above 0, got {timeout!r}")
        self._tools._registry.require_open()
        tool = self._tools._registry.get(self._name)
        if tool is None or not self._tools._policy.allows(tool):
            if tool is not None:
                self._deny(ToolDenied(f"{self._name}: the tenant isn't allowed it"))
            return self._refuse(FaultKind.UNKNOWN_TOOL, f"there is no tool {self._name[:64]!r}")
        self.tool = tool
        self._operation = operation
        self._timeout = min((t for t in (timeout, tool.spec.timeout) if t), default=None)
        try:
            self._arguments = tool.validate(arguments)
        except (ConfigError, MissingDependency):
            raise
        except (ValueError, SecurityError) as error:  # of a check too
            if not isinstance(error, InputError | SecurityError):
                error = InvalidArguments(str(error))
            self.result = ToolResult(self._name, fault=fault_of(error))
            self.outcome = str(fault_of(error).kind)
            return False
        taken = self._tally.take(self._name, self._tools._policy.quotas)
        if taken is not None:
            which, seconds = taken
            whose = "calls of all tools" if which == "*" else "calls of this tool"
            return self._refuse(
                FaultKind.CALL_LIMIT, f"the tenant has used its {whose}", retry_after=seconds
            )
        return True

    @property
    def is_asked(self) -> bool:
        """Whether somebody is to approve it."""
        assert self.tool is not None
        return self._tools._policy.asks(self.tool)

    @property
    def asked(self) -> ToolCall:
        """What is to be approved."""
        assert self.tool is not None
        shown = {k: v for k, v in self._arguments.items() if k not in self.tool.bound}
        return ToolCall(self._tools._tenant.id, self._name, shown)

    def approved(self, answer: object) -> bool:
        """Whether the answer is a yes; otherwise there is a result."""
        decision = Approval(answer) if isinstance(answer, bool) else answer
        if not isinstance(decision, Approval):
            raise ConfigError(f"approve gave {answer!r}; it gives True, False or an Approval")
        if decision.is_given is True:
            return True
        why = f": {decision.reason}" if decision.reason else ""
        self._deny(ToolDenied(f"{self._name}: the call wasn't approved"))
        return self._refuse(FaultKind.DENIED, f"the call wasn't approved{why}")

    def places(self) -> Iterator[Any]:
        """What a place is to be taken of."""
        yield self._tally.places(self._tools._policy.max_concurrent)
        yield self._tools._registry.places_of(self._name)

    def busy(self) -> ToolResult:
        """The result where no place was free."""
        waited = self._tools._policy.max_wait
        self._refuse(FaultKind.BUSY, f"too many calls at one time; none ended in {waited:g} s")
        return self.result

    def run(self, held: ExitStack) -> Run:
        """The call that is to be made, which holds its places from now on."""
        assert self.tool is not None
        if self.tool.options.cost:
            self._operation.use(cost=self.tool.options.cost)
        context = ToolContext(self._tools._tenant, self._operation, self._name)
        return Run(
            self._tools._registry,
            self.tool,
            self._arguments,
            context,
            self._timeout,
            held.pop_all().close,
        )

    def done(self, run: Run, result: ToolResult) -> ToolResult:
        """The result, noted."""
        self.ran_ns = run.ran_ns
        self.outcome = "ok" if result.fault is None else str(result.fault.kind)
        return result

    @property
    def _tally(self) -> Any:
        tenant = self._tools._tenant
        return self._tools._registry.tallies.of(tenant.id, tenant.generation)

    def _refuse(self, kind: FaultKind, message: str, *, retry_after: float | None = None) -> bool:
        self.outcome = str(kind)
        self.result = ToolResult(
            self._name, fault=ToolFault(kind, message, retry_after=retry_after)
        )
        return False

    def _deny(self, denial: ToolDenied) -> None:
        self._tools._denials.noted(denial, self._name)
