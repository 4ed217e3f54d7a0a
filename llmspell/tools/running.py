"""One run of a tool: here or confined, within its time, to data or a fault."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llmspell.errors import (
    AuditDamaged,
    AuditFailed,
    ClosedError,
    DatabaseLocked,
    LedgerUnavailable,
    MissingDependency,
    QuotaExceeded,
    SandboxUnavailable,
    TenantNotFound,
    TenantSuspended,
    ToolNotLoaded,
    ToolTimeout,
    UseAfterFork,
)
from llmspell.security import CallCancel
from llmspell.tools.client import CallAgain
from llmspell.tools.confining import qualified_name
from llmspell.tools.definition import Tool
from llmspell.tools.faults import UnusableResult, fault_of
from llmspell.tools.result import ToolResult
from llmspell.tools.threads import awaited, begin, finished

if TYPE_CHECKING:
    from llmspell.security import ConfinedTool, UnconfinedTool
    from llmspell.tools.context import ToolContext
    from llmspell.tools.registry import ToolRegistry

__all__ = ["Run"]

#: What the operator has to mend, or the tenant's quotas refuse, is raised and no model told.
RAISED: Final = (
    AuditDamaged,
    AuditFailed,
    CallAgain,
    ClosedError,
    DatabaseLocked,
    LedgerUnavailable,
    MissingDependency,
    QuotaExceeded,
    SandboxUnavailable,
    TenantNotFound,
    TenantSuspended,
    ToolNotLoaded,
    UseAfterFork,
)


@dataclass(slots=True)
class Run:
    """One call of a tool, with arguments that fit.

    Args:
        registry: that the tool is in.
        tool: that is called.
        arguments: by name.
        tenant: id of the one on whose behalf it is.
        context: of the call, for a tool that takes it.
        timeout: seconds; None for no limit.
        give_back: called once, when nothing of it runs any more.
    """

    registry: ToolRegistry
    tool: Tool
    arguments: dict[str, Any]
    tenant: str
    context: ToolContext | None
    timeout: float | None
    give_back: Callable[[], None]
    started: int = 0
    ran_ns: int = 0

    def now(self) -> ToolResult:
        """Run it, and wait."""
        self.started = time.perf_counter_ns()
        try:
            return self._result(self._here() if self.tool.options.trusted else self._confined(None))
        # A tool may not end the program, nor say that its caller was cancelled.
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            return self._faulty(error)

    async def later(self) -> ToolResult:
        """Run it. Where the awaiting is cancelled a confined tool is killed."""
        self.started = time.perf_counter_ns()
        try:
            if self.tool.options.trusted:
                return self._result(await self._here_async())
            cancel = CallCancel()
            future = self._begin(lambda: self._confined(cancel))
            try:
                return self._result(await finished(future, None))
            except asyncio.CancelledError:
                cancel.cancel()
                raise
        except (Exception, SystemExit) as error:  # as above; who was cancelled is told so
            return self._faulty(error)

    def _here(self) -> Any:
        call = self._call
        if self.tool.is_async:
            try:
                return awaited(self._timed)
            finally:
                self.give_back()
        if self.timeout is None:
            try:
                return call()
            finally:
                self.give_back()
        future = self._begin(self._call_and_give_back)
        try:
            return future.result(self.timeout)
        except TimeoutError as error:
            if future.done():  # the tool's own, or it ended at this very moment
                return future.result()
            raise self._too_late() from error

    async def _here_async(self) -> Any:
        if self.tool.is_async:
            try:
                return await self._timed()
            finally:
                self.give_back()
        future = self._begin(self._call_and_give_back)
        try:
            return await finished(future, self.timeout)
        except TimeoutError as error:
            if future.done():
                return future.result()
            raise self._too_late() from error

    async def _timed(self) -> Any:
        made: Awaitable[Any] = self._call()
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                return await made
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("it raised CancelledError, and nobody had cancelled it") from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise self._too_late() from error

    def _call(self) -> Any:
        given = dict(self.arguments)
        if self.tool.context_name is not None:
            given[self.tool.context_name] = self.context
        return self.tool.function(**given)

    def _call_and_give_back(self) -> Any:
        try:
            return self._call()
        finally:
            self.give_back()

    def _confined(self, cancel: CallCancel | None) -> Any:
        try:
            confined: ConfinedTool | UnconfinedTool = self.registry.confined(self.tool)
            return confined.call(
                qualified_name(self.tool),
                (),
                self.arguments,
                timeout=self.timeout,
                tenant=self.tenant,
                cancel=cancel,
            ).value
        finally:
            self.give_back()

    def _begin(self, call: Callable[[], Any]) -> Any:
        try:
            return begin(call)
        except RuntimeError:  # no thread can be started
            self.give_back()
            raise

    def _too_late(self) -> ToolTimeout:
        return ToolTimeout(f"{self.tool.spec.name}: not done in {self.timeout:g} s")

    def _result(self, value: Any) -> ToolResult:
        data = as_data(value, self.tool.options.max_result_bytes)
        return ToolResult(self.tool.spec.name, data, seconds=self._end())

    def _faulty(self, error: BaseException) -> ToolResult:
        seconds = self._end()
        if isinstance(error, RAISED):
            raise error
        return ToolResult(self.tool.spec.name, fault=fault_of(error), seconds=seconds)

    def _end(self) -> float:
        self.ran_ns = max(1, time.perf_counter_ns() - self.started)
        return self.ran_ns / 1e9


def as_data(value: Any, most: int) -> Any:
    """A result as JSON can hold it: bytes in base64, times in ISO 8601.

    Raises:
        UnusableResult: it can't, or takes more than ``most`` bytes.
    """
    from pydantic_core import PydanticSerializationError, from_json, to_json

    try:
        text = to_json(value, bytes_mode="base64", inf_nan_mode="strings")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise UnusableResult(f"what it returned is no data: {error}") from None
    if len(text) > most:
        raise UnusableResult(f"its result takes {len(text):,} bytes, of {most:,} allowed")
    try:
        return from_json(text)
    except ValueError:  # it reads 200 levels and no more; what writes goes a little deeper
        return json.loads(text)
