"""One call of a tool on its way: checked, counted, approved, and made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

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
from llmspell.observability import Attribute, is_traced, span
from llmspell.remote import current_deadline
from llmspell.tenancy import sync_handle
from llmspell.tools.approval import Approval, ApprovalPending, ToolCall
from llmspell.tools.client import CallAgain
from llmspell.tools.context import ToolContext
from llmspell.tools.faults import fault_of
from llmspell.tools.leases import Leases
from llmspell.tools.result import FaultKind, ToolFault, ToolResult
from llmspell.tools.running import Run
from llmspell.tools.shared_calls import Counted, Refusal, shared_of
from llmspell.tools.tally import Tally

if TYPE_CHECKING:
    from types import TracebackType

    from llmspell.observability import OpenSpan
    from llmspell.quota import Places
    from llmspell.tenancy import Operation
    from llmspell.tools.client import ToolClient
    from llmspell.tools.definition import Tool
    from llmspell.tools.tenant_tools import TenantTools

__all__ = ["Given", "OneCall"]

#: Of a call that the deadline leaves no more.
_LEAST_SECONDS: Final = 0.001

Given: TypeAlias = Mapping[str, Any] | str | bytes
"""Arguments of a call: by name, or as JSON."""


class OneCall:
    """One call of a tool on its way, from what was asked for to the result.

    In its ``with`` it is a span of the trace, at whose end the database's metrics count it.
    """

    def __init__(
        self, tools: TenantTools, name: str, call_id: str, client: ToolClient | None
    ) -> None:
        self._tools = tools
        self._client = client
        self._name = name if isinstance(name, str) else repr(name)
        self._call_id = call_id
        self._span: OpenSpan | None = None
        self.tool: Tool | None = None
        self.outcome = "cancelled"
        self.ran_ns = 0
        #: Quotas that are counted for all processes, before the call goes on.
        self.shared: list[Counted] = []
        #: What this process has taken of them.
        self.leases: Leases

    def __enter__(self) -> Self:
        if is_traced():
            self._span = span(f"execute_tool {self._name[:64]}", self._attributes())
            self._told = self._span.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ApprovalPending | CallAgain):
            self.outcome = "waiting"
        elif isinstance(error, QuotaExceeded | TenantSuspended):
            self.outcome = "refused"
        elif isinstance(error, Exception):
            self.outcome = "error"
        try:
            if self._span is not None:
                if error is None and self.outcome != "ok":
                    self._told.set("error.type", self.outcome)
                self._span.__exit__(kind, error, trace)
        finally:
            known = None if self.tool is None else self.tool.spec.name
            self._tools._counts.count(known, self.outcome, self.ran_ns)

    def check(self, operation: Operation[Any], arguments: Given, timeout: float | None) -> bool:
        """Whether the tool may be called with these; otherwise there is a result."""
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise InputError(f"timeout must be seconds above 0, got {timeout!r}")
        self._tools._registry.require_open()
        tool = self._tools._registry.get(self._name)
        if tool is None or not self._tools._policy.allows(tool):
            if tool is not None:
                self._deny(ToolDenied(f"{self._name}: the tenant isn't allowed it"))
            return self._refuse(FaultKind.UNKNOWN_TOOL, f"there is no tool {self._name[:64]!r}")
        self.tool = tool
        self._operation = operation
        own = tool.spec.timeout
        self._timeout = own if timeout is None else min(timeout, own or timeout)
        try:
            self._arguments = tool.validate(arguments)
        except (ConfigError, MissingDependency):
            raise
        except (ValueError, SecurityError) as error:  # of a check too
            if not isinstance(error, InputError | SecurityError):
                error = InvalidArguments(str(error))
            fault = fault_of(error)
            self.result = ToolResult(self._name, fault=fault)
            self.outcome = str(fault.kind)
            return False
        if self.is_late():
            return False
        quotas = self._tools._policy.quotas
        if not quotas:
            return True
        tally = self._tally()
        self._counted_at = tally.now()
        taken = tally.take(self._name, quotas, self._counted_at)
        if taken is not None:
            return self._used_up(taken)
        self.shared = shared_of(self._name, quotas)
        if self.shared:
            self.leases = tally.leases
            self.leases.state = sync_handle(self._tools._tenant).state
        return True

    @contextmanager
    def counting(self) -> Iterator[None]:
        """What is counted in this process alone isn't where the others can't be counted."""
        try:
            yield
        except BaseException:
            self.uncount()
            raise

    def counted(self, refusal: Refusal | None) -> bool:
        """Whether the shared quotas have counted it; otherwise there is a result."""
        if refusal is None:
            return True
        self.uncount()
        return self._used_up(refusal)

    def uncount(self) -> None:
        """Forget what this process has counted: the call isn't made, or is made again later."""
        quotas = self._tools._policy.quotas
        if quotas:
            self._tally().give_back(self._name, quotas, self._counted_at)

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
        return ToolCall(self._tools._tenant.id, self._name, shown, self._client)

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

    def bounds(self) -> list[Places]:
        """What a place is to be taken of."""
        most = self._tools._policy.max_concurrent
        found = [] if most is None else [self._tally().places(most)]
        of_tool = self._tools._registry.places_of(self._name)
        return found if of_tool is None else [*found, of_tool]

    def is_late(self) -> bool:
        """Whether the deadline around the call has passed; then there is a result."""
        around = current_deadline()
        if around is None or around.remaining > 0:
            return False
        self._refuse(FaultKind.TIMEOUT, "the deadline had passed; the tool wasn't called")
        return True

    @property
    def waits(self) -> dict[str, float]:
        """How long it waits for places: ``timeout`` for each, ``until`` for all."""
        around, most = current_deadline(), self._tools._policy.max_wait
        return {"timeout": most, "until": math.inf if around is None else around.at}

    def busy(self) -> ToolResult:
        """The result where no place was free."""
        waited = self._tools._policy.max_wait
        why = f"too many calls at one time; none ended in {waited:g} s, or by the deadline"
        self._refuse(FaultKind.BUSY, why)
        return self.result

    def run(self, give_back: Callable[[], None]) -> Run:
        """The call that is to be made, which gives back its places when nothing of it runs."""
        assert self.tool is not None
        timeout = self._timeout
        if (around := current_deadline()) is not None:
            # At its end too it is late, and not refused for a timeout of 0.
            left = max(around.remaining, _LEAST_SECONDS)
            timeout = min(timeout or left, left)
        try:
            if self.tool.options.cost:
                self._operation.use(cost=self.tool.options.cost)
            context = self._context() if self.tool.context_name is not None else None
        except BaseException:
            give_back()
            raise
        return Run(
            self._tools._registry,
            self.tool,
            self._arguments,
            self._tools._tenant.id,
            context,
            timeout,
            give_back,
        )

    def _context(self) -> ToolContext:
        assert self.tool is not None
        client = self._client and self._client.within(self.tool.spec.idempotent)
        return ToolContext(self._tools._tenant, self._operation, self._name, client)

    def done(self, run: Run, result: ToolResult) -> ToolResult:
        """The result, noted."""
        self.ran_ns = run.ran_ns
        self.outcome = "ok" if result.fault is None else str(result.fault.kind)
        return result

    def _attributes(self) -> dict[str, Attribute]:
        told: dict[str, Attribute] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": self._name[:64],
            "llmspell.tenant.id": self._tools._tenant.id,
        }
        return {**told, "gen_ai.tool.call.id": self._call_id} if self._call_id else told

    def _tally(self) -> Tally:
        tenant = self._tools._tenant
        return self._tools._registry.tallies.of(tenant.id, tenant.generation)

    def _used_up(self, refusal: Refusal) -> bool:
        which, seconds = refusal
        whose = "calls of all tools" if which == "*" else "calls of this tool"
        return self._refuse(
            FaultKind.CALL_LIMIT, f"the tenant has used its {whose}", retry_after=seconds
        )

    def _refuse(self, kind: FaultKind, message: str, *, retry_after: float | None = None) -> bool:
        self.outcome = str(kind)
        self.result = ToolResult(
            self._name, fault=ToolFault(kind, message, retry_after=retry_after)
        )
        return False

    def _deny(self, denial: ToolDenied) -> None:
        self._tools._denials.noted(denial, self._name)
