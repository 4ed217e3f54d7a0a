"""A registry's tools as one tenant may use them: the way in for agents and servers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, Final

from llmspell.errors import ConfigError, LlmspellError
from llmspell.observability import OpenSpan, span
from llmspell.quota import HeldPlaces, Place
from llmspell.security.denials import Denials
from llmspell.state import AsyncState
from llmspell.tenancy import (
    AsyncTenant,
    Operation,
    Tenant,
    async_handle,
    current_operation,
    instruments_of,
)
from llmspell.tools.approval import Approval, ApprovalHook, ApprovalPending, ToolCall
from llmspell.tools.client import CallAgain, ToolClient
from llmspell.tools.one_call import Given, OneCall
from llmspell.tools.policy import ToolPolicy
from llmspell.tools.registry import ToolRegistry
from llmspell.tools.result import ToolResult
from llmspell.tools.shared_calls import atake_steps, giving_back, take_steps, taking
from llmspell.tools.spec import ToolSpec
from llmspell.tools.threads import awaited

__all__ = ["TenantTools"]

#: Of a span: whether a call was approved.
_GIVEN: Final = "llmspell.approval.given"


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
        self._counts = instruments_of(tenant).tools
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

    def call(
        self, name: str, arguments: Given, *, timeout: float | None = None, call_id: str = ""
    ) -> ToolResult:
        """Call a tool, and wait.

        Args:
            name: of the tool.
            arguments: by name, or as JSON.
            timeout: seconds that the tool may run, where that is less than its own; a
                :func:`llmspell.providers.deadline` around the call holds too.
            call_id: that the model gave the call; for traces.

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
        with (
            OneCall(self, name, call_id, None) as call,
            self._charged(self._tenant) as operation,
        ):
            if not call.check(operation, arguments, timeout):
                return call.result
            if shared := call.shared:
                with call.counting():
                    refusal = take_steps(self._tenant.state, taking(call.leases, shared))
                if not call.counted(refusal):
                    return call.result
            if call.is_asked:
                with self._asking(name) as told:
                    try:
                        answer = self._decide(call.asked)
                        if inspect.isawaitable(answer):
                            waiting = answer
                            answer = awaited(lambda: waiting)
                    except (ApprovalPending, CallAgain):
                        # It is made again, with the answer, and counted then.
                        call.uncount()
                        if shared:
                            with suppress(LlmspellError):  # at worst it counts twice
                                take_steps(self._tenant.state, giving_back(call.leases, shared))
                        raise
                    is_given = call.approved(answer)
                    told.set(_GIVEN, is_given)
                if not is_given:
                    return call.result
            held = HeldPlaces()
            if not held.take(call.bounds(), **call.waits):
                return call.busy()
            if call.is_late():
                held.give_back()
                return call.result
            run = call.run(held.give_back)
            return call.done(run, run.now())

    async def acall(
        self,
        name: str,
        arguments: Given,
        *,
        timeout: float | None = None,
        call_id: str = "",
        client: ToolClient | None = None,
    ) -> ToolResult:
        """As :meth:`call`, awaited; cancelling it kills the worker of a confined tool.

        An async tool is cancelled with it; a trusted one that isn't async runs on in its thread.
        The handle is best an :class:`llmspell.AsyncTenant`: with the other, charging keeps the loop
        waiting where quotas are shared by hosts. ``client`` is who waits for the call; the tool and
        the approval hook may speak with it.
        """
        with OneCall(self, name, call_id, client) as call:
            async with self.charged() as operation:
                if not call.check(operation, arguments, timeout):
                    return call.result
                if shared := call.shared:
                    with call.counting():
                        steps = taking(call.leases, shared)
                        refusal = await atake_steps(self._async_state(), steps)
                    if not call.counted(refusal):
                        return call.result
                if call.is_asked:
                    with self._asking(name) as told:
                        try:
                            answer = self._decide(call.asked)
                            if inspect.isawaitable(answer):
                                answer = await answer
                        except (ApprovalPending, CallAgain):
                            call.uncount()
                            if shared:
                                with suppress(LlmspellError):
                                    state = self._async_state()
                                    await atake_steps(state, giving_back(call.leases, shared))
                            raise
                        is_given = call.approved(answer)
                        told.set(_GIVEN, is_given)
                    if not is_given:
                        return call.result
                held = HeldPlaces()
                if not await held.atake(call.bounds(), **call.waits):
                    return call.busy()
                if call.is_late():
                    held.give_back()
                    return call.result
                run = call.run(held.give_back)
                return call.done(run, await run.later())

    @asynccontextmanager
    async def charged(self) -> AsyncIterator[Operation[Any]]:
        """Charge one API call for what is done within, or be part of the operation around it.

        Raises:
            QuotaExceeded, TenantSuspended, TenantNotFound, LedgerUnavailable: the tenant can't be
                charged.
        """
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

    async def place(self) -> Place | None:
        """A place among the tenant's calls at one time; None where none was free in time."""
        most = self._policy.max_concurrent
        if most is None:
            return Place(None)
        tally = self._registry.tallies.of(self._tenant.id, self._tenant.generation)
        return await tally.places(most).atake(self._policy.max_wait)

    def _asking(self, name: str) -> OpenSpan:
        return span(f"approve_tool {name}", {"gen_ai.tool.name": name})

    def _charged(self, tenant: Tenant) -> AbstractContextManager[Operation[Any]]:
        outer = current_operation()
        if outer is not None and outer.is_of(tenant):
            return nullcontext(outer)
        return tenant.operation()

    def _async_state(self) -> AsyncState:
        return async_handle(self._tenant).state

    def _decide(self, asked: ToolCall) -> bool | Approval | Awaitable[bool | Approval]:
        if self._approve is None:
            return Approval(False, "nobody is there to approve it")
        return self._approve(asked)
