"""Operations as objects: what they are, and how a handle runs them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from numpy.typing import ArrayLike

from llmspell.errors import InputError
from llmspell.tenancy.current import begin, begin_async
from llmspell.tenancy.documents import Progress
from llmspell.tenancy.operation import OPERATION_LEASE_S, Allowance
from llmspell.tenancy.ports import IngestSource
from llmspell.tenancy.retrieving import Retrieve

if TYPE_CHECKING:
    from llmspell.tenancy.aio import AsyncTenant
    from llmspell.tenancy.searching import Consistency
    from llmspell.tenancy.tenant import Tenant

__all__ = ["Ingest", "RunAgent", "Search", "TenantOperation", "execute", "execute_async"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Ingest:
    """:meth:`Tenant.ingest` as an object; gives an :class:`llmspell.IngestReport`."""

    source: IngestSource
    progress: Progress | bool | None = None
    change_model: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """:meth:`Tenant.search` as an object; gives :class:`llmspell.Hits`, or a list of them."""

    query: str | ArrayLike | Sequence[str]
    k: int = 10
    filter: Mapping[str, Any] | None = None
    threshold: float | None = None
    ef_search: int | None = None
    recall: float | None = None
    consistency: Consistency = "strong"


@dataclass(frozen=True, slots=True)
class RunAgent(Generic[ResultT]):
    """A call of an agent, or of anything that takes one input, as an operation of the tenant.

    It runs as in :meth:`Tenant.operation`: what it may use is reserved first, and it reports by
    ``current_operation().use(...)`` what it really used.

    Args:
        agent: called with ``input``. An async one is for :class:`llmspell.AsyncTenant`, which
            awaits it; one that isn't runs in a worker thread there.
        input: what it is given.
        tokens, embeddings, cost, lease: as :meth:`Tenant.operation` takes them.
    """

    agent: Callable[[Any], ResultT]
    input: Any
    tokens: int = 0
    embeddings: int = 0
    cost: float = 0.0
    lease: float = OPERATION_LEASE_S

    def _allowance(self) -> Allowance:
        return Allowance(self.tokens, self.embeddings, self.cost, lease=self.lease)


TenantOperation: TypeAlias = Ingest | Search | Retrieve | RunAgent[Any]


def execute(tenant: Tenant, operation: TenantOperation) -> Any:
    """See :meth:`llmspell.Tenant.execute`."""
    if isinstance(operation, RunAgent):
        if _is_async(operation.agent):
            raise InputError("the agent is async; await AsyncTenant.execute")
        with begin(tenant, operation._allowance(), tenant._instruments.run_agent):
            result = operation.agent(operation.input)
            if inspect.iscoroutine(result):
                result.close()
                raise InputError("the agent gave a coroutine; await AsyncTenant.execute")
            return result
    return _call(operation)(tenant)


async def execute_async(handle: AsyncTenant, operation: TenantOperation) -> Any:
    """See :meth:`llmspell.AsyncTenant.execute`."""
    if not isinstance(operation, RunAgent):
        return await _call(operation)(handle)
    instrument = handle._tenant._instruments.run_agent
    async with begin_async(handle, operation._allowance(), instrument):
        if _is_async(operation.agent):
            return await operation.agent(operation.input)
        result = await handle._workers.run(operation.agent, operation.input)
        return await result if isinstance(result, Coroutine) else result


def _call(operation: object) -> Callable[[Any], Any]:
    """The call of a handle, sync or async, that the operation stands for."""
    if isinstance(operation, Ingest):
        ingest = operation
        return lambda handle: handle.ingest(
            ingest.source, progress=ingest.progress, change_model=ingest.change_model
        )
    if isinstance(operation, Search):
        search = operation
        return lambda handle: handle.search(
            search.query,
            search.k,
            filter=search.filter,
            threshold=search.threshold,
            ef_search=search.ef_search,
            recall=search.recall,
            consistency=search.consistency,
        )
    if isinstance(operation, Retrieve):
        asked = operation
        return lambda handle: handle._retrieve(asked)
    kind = type(operation).__name__
    raise InputError(f"an operation is an Ingest, Search, Retrieve or RunAgent, got {kind}")


def _is_async(agent: object) -> bool:
    call = getattr(type(agent), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(agent) or inspect.iscoroutinefunction(call)
