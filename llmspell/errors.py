"""Every error that llmspell raises.

All descend from :class:`LlmspellError`; each also descends from the built-in exception that a
caller would expect, so ``except ValueError`` and ``except KeyError`` do what they say::

    LlmspellError
    ├── AgentError                          a run of an agent that came to no result
    │   ├── AgentCancelled                  it was cancelled
    │   ├── AgentLimitExceeded              it would use more than its limits allow
    │   ├── CallNotWaiting (ValueError)     a decision about a call that doesn't wait for one
    │   ├── OutputInvalid (ValueError)      the model's last answer isn't what was to come out
    │   ├── RunConflict                     a run of another agent, or one that another took over
    │   ├── RunNotFound (KeyError)          there is no run of that id
    │   └── TranscriptDamaged (ValueError)  a transcript that no run can have written
    ├── ConfigError (ValueError)            a setting out of range, or settings that disagree
    ├── InputError (ValueError)             data that a call can't take
    │   ├── DtypeError (TypeError)          an array of a type that isn't accepted
    │   ├── ShapeError                      an array with the wrong number of axes or rows
    │   ├── DimensionMismatch               vectors of another dimension than the index
    │   ├── EmbedderMismatch                a text, for vectors that another model made
    │   ├── MetricMismatch                  an export of a tenant that compares by another metric
    │   ├── NonFiniteVector                 NaN or infinity in a vector
    │   ├── ZeroVector                      a vector of length zero under the cosine metric
    │   ├── InvalidArguments                arguments of a tool that don't fit its schema
    │   ├── InvalidId                       an id that is neither str nor a 64-bit integer
    │   ├── InvalidCursor                   a cursor of another tenant, or a damaged one
    │   ├── InvalidStateKey                 a key of the state that there can't be
    │   ├── InvalidStateValue               a value of the state that isn't JSON-like, or too long
    │   ├── MetadataError                   metadata that isn't JSON-like, or not as declared
    │   ├── TextTooLong                     a text that is longer than the embedding model takes
    │   └── FilterError                     a filter that can't be understood or never matches
    ├── DuplicateId (KeyError)              add or insert of an id that is there already
    ├── IdNotFound (KeyError)               an id that isn't there
    ├── SearchTimeout (TimeoutError)        a search that took longer than it was given
    ├── SearchCancelled                     a search whose token was cancelled
    ├── StorageError (OSError)              the disk, the log or a file
    │   ├── CorruptFile                     a file or record whose checksum or bounds don't hold
    │   ├── UnsupportedFormat               a file of a kind or version that can't be read
    │   ├── DatabaseLocked                  another process writes to this tenant
    │   ├── StorageFull                     the map or the disk has no room left
    │   ├── CommitFailed                    the disk failed in a commit; says what became of it
    │   ├── FlushFailed                     acknowledged writes that couldn't be committed, and wait
    │   └── UseAfterFork                    a handle from before fork() used in the child
    ├── ClosedError (RuntimeError)          a handle used after close()
    ├── CloseFailed (RuntimeError)          tools that raised when they were closed
    ├── StateConflict                       the state has something else under a key
    ├── TenantNotFound (KeyError)
    ├── TenantExists (KeyError)
    ├── TenantSuspended                     suspended by its operator, as a whole or for writes
    ├── QuotaExceeded                       a quota refused the whole operation
    ├── LoopLimitExceeded                   a loop of a workflow whose condition never held
    ├── LedgerUnavailable (ConnectionError) the server of a shared ledger can't be asked
    ├── ReservationExpired (TimeoutError)   a reservation that was given back as its lease passed
    ├── IngestError (ValueError)            a source that can't be read, decoded or split
    ├── EmbeddingError (RuntimeError)       the embedding model failed
    │   ├── EmbeddingDenied (PermissionError) its service refuses the key, or what the key may do
    │   ├── EmbeddingRateLimited            its service has had too many requests
    │   ├── EmbeddingUnavailable (ConnectionError) its service can't be reached, or fails
    │   │   └── EmbeddingTimeout (TimeoutError) it hasn't answered in time
    │   └── InvalidEmbedding (ValueError)   what came back isn't one finite vector for each text
    ├── RerankError (RuntimeError)          a reranker gave no scores
    ├── ProviderError (RuntimeError)        a chat model's provider failed or refused
    │   ├── BadProviderResponse (ValueError) a response that isn't of the format, or is cut short
    │   │   └── ProviderResponseTooLarge    one that goes on beyond its bound of bytes
    │   ├── CircuitOpen                     a model that isn't called for a while after failures
    │   ├── ProviderBusy                    our own limits have no place for a call in time
    │   ├── ProviderDenied (PermissionError) a key that isn't accepted for this
    │   ├── ProviderInterrupted (ConnectionError) the connection ended before the answer
    │   ├── ProviderOverloaded              the provider has too much to do, or a fault
    │   ├── ProviderRateLimited             the provider's rate for this key is used up
    │   ├── ProviderRefused (ValueError)    a request that the provider doesn't take
    │   │   └── ContextTooLong              more tokens than the model takes
    │   ├── ProviderTimeout (TimeoutError)  no answer in time
    │   └── ProviderUnreachable (ConnectionError) no connection; nothing was sent
    ├── SecurityError                       what the security layer refuses
    │   ├── AuditDamaged (OSError)          an audit log whose chain doesn't hold
    │   ├── AuditFailed (OSError)           a record that can't be written to the audit log
    │   ├── CommandDenied (PermissionError) a program or an argument that isn't allowed
    │   ├── EgressDenied (PermissionError)  a request that the broker refuses
    │   ├── EgressFailed (ConnectionError)  a request that failed on its way, or at its host
    │   │   ├── EgressTimeout (TimeoutError) it took too long
    │   │   └── HttpStatusError             a response whose status is 400 or more
    │   ├── HostUnresolved (ConnectionError) a host's addresses can't be found
    │   │   └── ResolveTimeout (TimeoutError) not in time
    │   ├── InsecureFile (PermissionError)  a file of secrets that others can read or replace
    │   ├── InvalidCommand (ValueError)     a command line that needs a shell, or can't be split
    │   ├── InvalidPath (ValueError)        a path that no file should have
    │   ├── InvalidSecretRef (ValueError)   a text that refers to no secret
    │   ├── InvalidUrl (ValueError)         a URL on whose host or port clients could disagree
    │   ├── LevelMismatch (ValueError)      a tool whose requirements are of another level
    │   ├── PathEscape (PermissionError)    a path that leads out of its root by a link or ".."
    │   ├── PathNotAllowed (PermissionError) a file or an access that the sandbox doesn't allow
    │   ├── PatternLimitExceeded (ValueError) a text or a search beyond the limits of a pattern
    │   ├── RequirementDenied (ValueError)  a requirement that its level doesn't allow
    │   ├── SandboxUnavailable (RuntimeError) this host can't enforce what a tool's level needs
    │   ├── SecretDenied (PermissionError)  a secret that this handle, or this process, may not read
    │   ├── SecretExposed (TypeError)       a secret was about to leave the process as data
    │   ├── SecretNotFound (KeyError)       a secret that is in none of the places asked
    │   ├── SecretUnavailable (ConnectionError) a secret whose backend can't be asked
    │   ├── SecretsDamaged (ValueError)     an encrypted store that was changed or is damaged
    │   ├── TextRefused (ValueError)        hidden characters, look-alikes, too much, unquotable
    │   ├── ToolDenied (PermissionError)    a call of a tool that isn't allowed or approved
    │   ├── ToolFailed (RuntimeError)       a tool raised, or its process ended
    │   │   ├── ToolChanged                 its MCP server says of it something else than at first
    │   │   ├── ToolInterrupted (ConnectionError) its MCP server was lost; it may have run
    │   │   ├── ToolLimitExceeded           it took more memory or processor time than it may
    │   │   ├── ToolNotLoaded               its module isn't there, or failed when it was loaded
    │   │   └── ToolTimeout (TimeoutError)  it wasn't done in time, and was killed
    │   ├── UnreadableSecret (ValueError)   what is kept as a secret is no text, or too long
    │   ├── UnsafePattern (ValueError)      a pattern whose work per character has no bound
    │   ├── UrlDenied (PermissionError)     a URL that leads where it isn't allowed to
    │   └── WrongKey (ValueError)           an encrypted store that none of the keys opens
    └── MissingDependency (ImportError)     an optional extra is not installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AgentCancelled",
    "AgentError",
    "AgentLimitExceeded",
    "AuditDamaged",
    "AuditFailed",
    "BadProviderResponse",
    "CallNotWaiting",
    "CircuitOpen",
    "CloseFailed",
    "ClosedError",
    "CommandDenied",
    "CommitFailed",
    "ConfigError",
    "ContextTooLong",
    "CorruptFile",
    "DatabaseLocked",
    "DimensionMismatch",
    "DtypeError",
    "DuplicateId",
    "EmbedderMismatch",
    "EgressDenied",
    "EgressFailed",
    "EgressTimeout",
    "EmbeddingDenied",
    "EmbeddingError",
    "EmbeddingRateLimited",
    "EmbeddingTimeout",
    "EmbeddingUnavailable",
    "FilterError",
    "FlushFailed",
    "HostUnresolved",
    "HttpStatusError",
    "IdNotFound",
    "IngestError",
    "InputError",
    "InsecureFile",
    "InvalidArguments",
    "InvalidCommand",
    "InvalidCursor",
    "InvalidEmbedding",
    "InvalidId",
    "InvalidPath",
    "InvalidSecretRef",
    "InvalidStateKey",
    "InvalidStateValue",
    "InvalidUrl",
    "LedgerUnavailable",
    "LevelMismatch",
    "LlmspellError",
    "LoopLimitExceeded",
    "MetadataError",
    "MetricMismatch",
    "MissingDependency",
    "NonFiniteVector",
    "OutputInvalid",
    "PathEscape",
    "PathNotAllowed",
    "PatternLimitExceeded",
    "ProviderBusy",
    "ProviderDenied",
    "ProviderError",
    "ProviderInterrupted",
    "ProviderOverloaded",
    "ProviderRateLimited",
    "ProviderRefused",
    "ProviderResponseTooLarge",
    "ProviderTimeout",
    "ProviderUnreachable",
    "QuotaExceeded",
    "RequirementDenied",
    "RerankError",
    "ReservationExpired",
    "ResolveTimeout",
    "RunConflict",
    "RunNotFound",
    "SandboxUnavailable",
    "SearchCancelled",
    "SearchTimeout",
    "SecretDenied",
    "SecretExposed",
    "SecretNotFound",
    "SecretUnavailable",
    "SecretsDamaged",
    "SecurityError",
    "ShapeError",
    "StateConflict",
    "StorageError",
    "StorageFull",
    "TenantExists",
    "TenantNotFound",
    "TenantSuspended",
    "TextRefused",
    "TextTooLong",
    "ToolChanged",
    "ToolDenied",
    "ToolFailed",
    "ToolInterrupted",
    "ToolLimitExceeded",
    "ToolNotLoaded",
    "ToolTimeout",
    "TranscriptDamaged",
    "UnreadableSecret",
    "UnsafePattern",
    "UnsupportedFormat",
    "UrlDenied",
    "UseAfterFork",
    "WrongKey",
    "ZeroVector",
]


class LlmspellError(Exception):
    """Base of every error raised by llmspell."""

    # KeyError prints the repr of its argument; ours are sentences.
    __str__ = Exception.__str__


class AgentError(LlmspellError):
    """A run of an agent came to no result; what was done stands in its transcript.

    Attributes: ``run_id``, by which the run may be resumed, or None.
    """

    def __init__(self, message: str, *, run_id: str | None = None):
        super().__init__(message)
        self.run_id = run_id


class AgentCancelled(AgentError):
    """A run was cancelled."""


class AgentLimitExceeded(AgentError):
    """A run would use more than its limits allow; it can be resumed with larger ones.

    Attributes:
        limit: name of the limit, as in :class:`llmspell.agents.AgentLimits`.
        value: its value.
    """

    def __init__(self, *, limit: str, value: float, run_id: str | None = None):
        super().__init__(
            f"{limit}: the run has used the {value:g} that it may; resume it with larger limits, "
            "or look in its transcript what it spent them on",
            run_id=run_id,
        )
        self.limit = limit
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_agent_limit, (self.limit, self.value, self.run_id))


def _rebuild_agent_limit(limit: str, value: float, run_id: str | None) -> AgentLimitExceeded:
    return AgentLimitExceeded(limit=limit, value=value, run_id=run_id)


class OutputInvalid(AgentError, ValueError):
    """The model's answer isn't of the type, or by the schema, that was to come out.

    Attributes: ``text``, the model's last answer.
    """

    def __init__(self, message: str, *, text: str = "", run_id: str | None = None):
        super().__init__(message, run_id=run_id)
        self.text = text


class RunConflict(AgentError):
    """A run is of another agent, has ended, or was taken over by another process meanwhile."""


class CallNotWaiting(AgentError, ValueError):
    """A decision about a call that there isn't, that nobody was asked about, or decided otherwise.

    Nothing was done.
    """


class RunNotFound(AgentError, KeyError):
    """There is no run of that id."""


class TranscriptDamaged(AgentError, ValueError):
    """A transcript has entries that no run can have written so."""


class LoopLimitExceeded(LlmspellError):
    """A loop of a workflow went on for all of its rounds, and its condition never held.

    Attributes:
        max_rounds: rounds that it had.
        value: what the last of them gave.
    """

    def __init__(self, max_rounds: int, value: object):
        super().__init__(
            f"the loop's condition didn't hold in {max_rounds} rounds; raise max_rounds, or look "
            "at the error's value, which the last of them gave"
        )
        self.max_rounds = max_rounds
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        return (LoopLimitExceeded, (self.max_rounds, self.value))


class ConfigError(LlmspellError, ValueError):
    """A setting is out of range, or two settings disagree."""


class InputError(LlmspellError, ValueError):
    """Data that the call can't take."""


class DtypeError(InputError, TypeError):
    """An array has an element type that isn't accepted."""


class ShapeError(InputError):
    """An array has the wrong number of axes, or two arrays disagree in length."""


class DimensionMismatch(InputError):
    """Vectors have another dimension than the index.

    Attributes: ``expected`` and ``actual``, both int.
    """

    def __init__(self, message: str, *, expected: int | None = None, actual: int | None = None):
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class EmbedderMismatch(InputError):
    """Texts are to be embedded by another model than that of the tenant's documents.

    Attributes:
        held: documents of the tenant by the model, as "provider/model", that made their vectors.
        asked: the model that is to embed.
    """

    def __init__(
        self, message: str, *, held: Mapping[str, int] | None = None, asked: str | None = None
    ):
        super().__init__(message)
        self.held = dict(held or {})
        self.asked = asked


class MetricMismatch(InputError):
    """Vectors come from a tenant that compares by another metric; scores would mean another thing.

    Attributes: ``expected`` and ``actual``, both str.
    """

    def __init__(self, message: str, *, expected: str | None = None, actual: str | None = None):
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class NonFiniteVector(InputError):
    """A vector holds NaN or infinity."""


class ZeroVector(InputError):
    """A vector of length zero has no direction, so cosine is undefined for it."""


class InvalidArguments(InputError):
    """Arguments of a tool don't fit its schema; the message names each mistake."""


class InvalidId(InputError):
    """An id is neither a str nor an integer of 64 bits."""


class InvalidCursor(InputError):
    """A cursor is damaged, or of another tenant, a former one of the same id included."""


class InvalidStateKey(InputError):
    """A key of a tenant's state is no path of texts and integers, or too long."""


class InvalidStateValue(InputError):
    """A value for a tenant's state isn't JSON-like, or too long."""


class MetadataError(InputError):
    """Metadata isn't JSON-like values and times, of their declared types; names the part."""


class TextTooLong(InputError):
    """A text has more tokens than the embedding model takes; split it, or have it cut."""


class FilterError(InputError):
    """A metadata filter can't be understood, or can never match; the message names the part."""


class DuplicateId(LlmspellError, KeyError):
    """An id that is to be added is there already."""


class IdNotFound(LlmspellError, KeyError):
    """An id that is asked for isn't there."""


class SearchTimeout(LlmspellError, TimeoutError):
    """A search took longer than its ``timeout``; the index is as before."""


class SearchCancelled(LlmspellError):
    """A search's :class:`llmspell.CancelToken` was cancelled; the index is as before."""


class StorageError(LlmspellError, OSError):
    """The disk, the log or a file failed."""


class CorruptFile(StorageError):
    """A checksum or a bound in a file or record doesn't hold."""


class UnsupportedFormat(StorageError):
    """A file is of a kind, or was written in a version, that this release can't read."""


class DatabaseLocked(StorageError):
    """Another process holds the write lock."""


class StorageFull(StorageError):
    """The map or the disk has no room left; nothing of the batch was written."""


class CommitFailed(StorageError):
    """The disk failed while a write was committed; the file was opened again and verified.

    Attributes:
        is_durable: True where the write is there as a whole and on the disk; False where nothing of
            it is; None where that can't be told: the next operation verifies the file first, and
            reads show then what there is.
    """

    def __init__(self, message: str, *, is_durable: bool | None = None):
        super().__init__(message)
        self.is_durable = is_durable


class FlushFailed(StorageError):
    """Acknowledged writes couldn't be committed; they wait, and the next occasion tries again.

    With durability "batch" and "async" alone. ``__cause__`` is what went wrong. Of the call that
    raises it nothing is done: neither a write nor a read, which would not have seen them.
    """


class UseAfterFork(StorageError):
    """A database, or a connection, that was open when this process was forked is used in it.

    Start workers by spawn or forkserver, or open the database after the fork.
    """


class CloseFailed(LlmspellError, RuntimeError):
    """Something that ends with a registry of tools raised when it was closed; all else is closed.

    Attributes:
        errors: what was raised, in order.
    """

    def __init__(self, message: str, *, errors: tuple[Exception, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class ClosedError(LlmspellError, RuntimeError):
    """A handle is used after it was closed."""


class StateConflict(LlmspellError):
    """A tenant's state has something else under a key than the call takes; nothing was written."""


class TenantNotFound(LlmspellError, KeyError):
    """There is no tenant of that id."""


class TenantSuspended(LlmspellError):
    """The tenant is suspended, or its writes are; nothing was done or charged."""


class TenantExists(LlmspellError, KeyError):
    """There is a tenant of that id already."""


class QuotaExceeded(LlmspellError):
    """A quota refused an operation as a whole; nothing of it was done.

    Attributes:
        quota: name of the quota, as in :class:`llmspell.QuotaLimits`.
        limit: its limit, in the quota's unit; bytes for ``max_storage_mb``, millionths for
            ``max_cost_per_month``.
        used: what was in use or reserved when the operation was refused.
        requested: what the operation asked for on top.
        retry_after: seconds until the same request could succeed, or None where waiting
            doesn't help (a level such as ``max_vectors``).
    """

    def __init__(
        self, *, quota: str, limit: int, used: int, requested: int, retry_after: float | None
    ):
        self.quota = quota
        self.limit = limit
        self.used = used
        self.requested = requested
        self.retry_after = retry_after
        hint = (
            "delete data or raise the limit"
            if retry_after is None
            else f"retry after {retry_after:.3g} s"
        )
        unit = _UNITS.get(quota, "")
        super().__init__(f"{quota}: {requested} requested, {used} of {limit}{unit} in use; {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        return (
            _rebuild_quota_exceeded,
            (self.quota, self.limit, self.used, self.requested, self.retry_after),
        )


_UNITS = {"max_storage_mb": " bytes", "max_cost_per_month": " millionths"}


def _rebuild_quota_exceeded(
    quota: str, limit: int, used: int, requested: int, retry_after: float | None
) -> QuotaExceeded:
    return QuotaExceeded(
        quota=quota, limit=limit, used=used, requested=requested, retry_after=retry_after
    )


class LedgerUnavailable(LlmspellError, ConnectionError):
    """The server that hosts share their quotas by can't be asked, or has just restarted.

    Nothing was charged. The message says which; :class:`llmspell.quota.SharedLedger` lets you
    choose by ``when_away`` that work goes on.
    """


class ReservationExpired(LlmspellError, TimeoutError):
    """A reservation's lease passed and a sweep gave all of it back; nothing of it is kept.

    Its owner was paused, or worked for longer than the lease: reserve again, ask for a longer lease
    or renew it in time.
    """


class IngestError(LlmspellError, ValueError):
    """A source can't be read, decoded or split."""


class RerankError(LlmspellError, RuntimeError):
    """A reranker failed, or gave something else than a finite number for each text."""


class EmbeddingError(LlmspellError, RuntimeError):
    """The embedding model failed.

    Attributes:
        is_sent: whether a service may have worked on the request that failed, and bill it.
    """

    def __init__(self, message: str, *, is_sent: bool = False):
        super().__init__(message)
        self.is_sent = is_sent


class EmbeddingDenied(EmbeddingError, PermissionError):
    """The service of an embedding model refuses the key, or the key may not do this."""


class EmbeddingRateLimited(EmbeddingError):
    """The service of an embedding model has had too many requests, or its budget is used up.

    Attributes:
        retry_after: seconds until the service wants to be asked again, or None if it didn't say.
        is_used_up: whether a budget is used up, which waiting doesn't mend.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, is_used_up: bool = False):
        super().__init__(message)
        self.retry_after = retry_after
        self.is_used_up = is_used_up


class EmbeddingUnavailable(EmbeddingError, ConnectionError):
    """The service of an embedding model can't be reached, breaks off, or fails by itself.

    Attributes:
        retry_after: seconds until the service wants to be asked again, or None if it didn't say.
    """

    def __init__(
        self, message: str, *, is_sent: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message, is_sent=is_sent)
        self.retry_after = retry_after


class EmbeddingTimeout(EmbeddingUnavailable, TimeoutError):
    """The service of an embedding model hasn't answered in time."""


class InvalidEmbedding(EmbeddingError, ValueError):
    """What came back isn't one finite vector of the model's dimension for each text."""


class ProviderError(LlmspellError, RuntimeError):
    """A chat model's provider failed or refused; base of its errors.

    Attributes:
        is_sent: whether the provider may have worked on the request, and bill it.
        status: of its response, or None.
        retry_after: seconds that it asks to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        is_sent: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.is_sent = is_sent
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class BadProviderResponse(ProviderError, ValueError):
    """A response that isn't of the format, or ends before its end."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, is_sent=True, status=status)


class ProviderResponseTooLarge(BadProviderResponse):
    """A response, or an event of a stream, has more bytes than are read of it."""


class CircuitOpen(ProviderError):
    """A model isn't called for a while, since its calls failed one after another."""


class ProviderBusy(ProviderError):
    """Our own limit of calls side by side, of connections or of a rate has no place in time."""


class ProviderDenied(ProviderError, PermissionError):
    """The key isn't accepted, or may not use this model, or its account can't pay."""


class ProviderInterrupted(ProviderError, ConnectionError):
    """The connection ended while the request was sent or answered."""


class ProviderOverloaded(ProviderError):
    """The provider is overloaded or has a fault of its own: 500 and above."""


class ProviderRateLimited(ProviderError):
    """The provider's rate for this key is used up: 429."""


class ProviderRefused(ProviderError, ValueError):
    """The provider doesn't take such a request: the message says why."""


class ContextTooLong(ProviderRefused):
    """The request and its answer have more tokens than the model takes."""


class ProviderTimeout(ProviderError, TimeoutError):
    """There was no answer in time."""


class ProviderUnreachable(ProviderError, ConnectionError):
    """No connection to the provider; nothing was sent."""


class SecurityError(LlmspellError):
    """The security layer refuses; base of its errors."""


class AuditDamaged(SecurityError, OSError):
    """An audit log's chain doesn't hold, or what is there is no audit log.

    Attributes: ``reason``, a word from the table of docs/reference/audit.md; ``segment``, the name
    of the file, ``offset``, the byte in it, and ``seq``, the number of the record, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        segment: str | None = None,
        offset: int | None = None,
        seq: int | None = None,
    ):
        super().__init__(message)
        self.reason = reason
        self.segment = segment
        self.offset = offset
        self.seq = seq


class AuditFailed(SecurityError, OSError):
    """A record couldn't be written to the audit log; it isn't there, and whether to go on is yours.

    Full disk, failed write or sync, or a lock that another process held for too long; the message
    says which.
    """


class CommandDenied(SecurityError, PermissionError):
    """A program isn't on the allow-list, or one of its arguments isn't allowed by its rule.

    Attributes: ``program`` as it was asked for, ``argument`` that was refused or None.
    """

    def __init__(self, message: str, *, program: str = "", argument: str | None = None):
        super().__init__(message)
        self.program = program
        self.argument = argument


class EgressDenied(SecurityError, PermissionError):
    """A request of a sandboxed tool is refused: by a rule, or by a limit.

    Attributes: ``reason``, a word from the tables of docs/reference/egress.md.
    """

    def __init__(self, message: str, *, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class EgressFailed(SecurityError, ConnectionError):
    """A request of a sandboxed tool was allowed, and failed on its way or at its host.

    Attributes: ``reason``, a word from the tables of docs/reference/egress.md.
    """

    def __init__(self, message: str, *, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class EgressTimeout(EgressFailed, TimeoutError):
    """A request of a sandboxed tool took too long; it may have been carried out."""


class HttpStatusError(EgressFailed):
    """A response whose status is 400 or more, by ``raise_for_status``.

    Attributes: ``status``.
    """

    def __init__(self, message: str, *, status: int = 0):
        super().__init__(message, reason="status")
        self.status = status


class HostUnresolved(SecurityError, ConnectionError):
    """The addresses of a host can't be found, or none of its addresses can be connected to."""


class ResolveTimeout(HostUnresolved, TimeoutError):
    """The addresses of a host weren't found in time."""


class InsecureFile(SecurityError, PermissionError):
    """A file of secrets, or a directory above it, is open to others, not ours, or a link."""


class InvalidCommand(SecurityError, ValueError):
    """A command line that means something only to a shell, or that can't be split into words.

    Attributes: ``position``, the character that it was refused for, from 0; None for the whole.
    """

    def __init__(self, message: str, *, position: int | None = None):
        super().__init__(message)
        self.position = position


class InvalidPath(SecurityError, ValueError):
    """A path is of a form that no file should have: too long, or with a control character.

    Attributes: ``component`` that was refused, or None for the whole.
    """

    def __init__(self, message: str, *, component: str | None = None):
        super().__init__(message)
        self.component = component


class InvalidSecretRef(SecurityError, ValueError):
    """A text refers to no secret. The message doesn't repeat it: it may be a secret itself."""


class InvalidUrl(SecurityError, ValueError):
    """A URL is of no form on whose host and port all clients agree.

    Attributes: ``reason``, a word from the table of docs/reference/urls.md.
    """

    def __init__(self, message: str, *, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class LevelMismatch(SecurityError, ValueError):
    """A tool is declared at one security level, and its requirements are of another.

    Attributes: ``declared`` and ``required``, values of :class:`llmspell.security.SecurityLevel`.
    """

    def __init__(self, message: str, *, declared: str = "", required: str = ""):
        super().__init__(message)
        self.declared = declared
        self.required = required


class PathEscape(SecurityError, PermissionError):
    """A path leads out of its root: by ``..``, or by a symbolic link, wherever that points.

    Attributes: ``root``, and ``component`` that was refused; None where it changed meanwhile.
    """

    def __init__(self, message: str, *, root: str = "", component: str | None = None):
        super().__init__(message)
        self.root = root
        self.component = component


class PathNotAllowed(SecurityError, PermissionError):
    """The sandbox doesn't allow this: a path beneath no root, a write, a special file.

    Attributes: ``root``, empty where the path is beneath none, and ``component`` or None.
    """

    def __init__(self, message: str, *, root: str = "", component: str | None = None):
        super().__init__(message)
        self.root = root
        self.component = component


class PatternLimitExceeded(SecurityError, ValueError):
    """A text is larger than a pattern may be tried on, or a search took longer than it may.

    Attributes: ``limit``, the field of :class:`llmspell.security.PatternLimits`; of patterns on
    ``re`` "seconds", "cpu", "memory", "matches" or "text_characters".
    """

    def __init__(self, message: str, *, limit: str = ""):
        super().__init__(message)
        self.limit = limit


class RequirementDenied(SecurityError, ValueError):
    """A tool asks for more than its security level allows; nothing was built.

    Attributes: ``requirement``, the field of :class:`llmspell.security.SecurityRequirements`, and
    ``level``, the value of the level.
    """

    def __init__(self, message: str, *, requirement: str = "", level: str = ""):
        super().__init__(message)
        self.requirement = requirement
        self.level = level


class SandboxUnavailable(SecurityError, RuntimeError):
    """This host can't enforce what a tool needs, and so the tool doesn't run.

    Attributes: ``level``, the value of the tool's level, and ``missing``, what the host lacks.
    """

    def __init__(self, message: str, *, level: str = "", missing: tuple[str, ...] = ()):
        super().__init__(message)
        self.level = level
        self.missing = missing


class SecretDenied(SecurityError, PermissionError):
    """This handle may not name the secret, or its backend doesn't let this process read it."""


class SecretExposed(SecurityError, TypeError):
    """A secret was about to be pickled or taken apart; only ``reveal()`` gives its value."""


class SecretNotFound(SecurityError, KeyError):
    """A secret is in none of the places that were asked; the message names them."""


class SecretUnavailable(SecurityError, ConnectionError):
    """The backend that a secret may be in can't be asked now, so no later one was either."""


class SecretsDamaged(SecurityError, ValueError):
    """An encrypted store isn't as it was written: damaged, or changed by who hasn't its key."""


class TextRefused(SecurityError, ValueError):
    """A text breaks a rule, and nothing was changed: it was to be checked, or can't be mended.

    Attributes: ``reason``, a word from the table of docs/reference/text.md, and ``start`` and
    ``end`` in characters of the text, None where the whole of it is refused.
    """

    def __init__(
        self, message: str, *, reason: str = "", start: int | None = None, end: int | None = None
    ):
        super().__init__(message)
        self.reason = reason
        self.start = start
        self.end = end


class ToolDenied(SecurityError, PermissionError):
    """A call of a tool that the tenant isn't allowed, or that its approval hook refused."""


class ToolFailed(SecurityError, RuntimeError):
    """A confined tool raised an error, or its process ended.

    Attributes: ``error``, the name of the type that it raised, and ``trace``, its traceback: text
    from within the sandbox, not to be trusted; both may be empty.
    """

    def __init__(self, message: str, *, error: str = "", trace: str = ""):
        super().__init__(message)
        self.error = error
        self.trace = trace


class ToolChanged(ToolFailed):
    """A tool of an MCP server of which a new session says something else than the first one.

    It wasn't called: what a model was told of it, and what it was approved for, may not hold.
    """


class ToolInterrupted(ToolFailed, ConnectionError):
    """The connection to a tool's MCP server was lost during a call, which may have run there.

    It isn't made again, as the tool isn't known to be idempotent, or it was made again in vain.
    """


class ToolLimitExceeded(ToolFailed):
    """A confined tool took more than it may, and was killed or refused.

    Attributes: ``limit``: "memory" or "cpu".
    """

    def __init__(self, message: str, *, limit: str = "", error: str = "", trace: str = ""):
        super().__init__(message, error=error, trace=trace)
        self.limit = limit


class ToolNotLoaded(ToolFailed):
    """A tool's module or function isn't there, or its module failed when it was loaded."""


class ToolTimeout(ToolFailed, TimeoutError):
    """A confined tool wasn't done in the time that it had, and was killed."""


class UnreadableSecret(SecurityError, ValueError):
    """What is kept as a secret is no text in UTF-8, empty, too long, or not of the form asked."""


class UnsafePattern(SecurityError, ValueError):
    """A pattern can look at, or try, without bound; or it isn't one that can be run here.

    Attributes: ``construct`` that isn't taken, such as ``"look-ahead"``, and ``position``, its
    first character, from 0; empty and None where the pattern is refused as a whole.
    """

    def __init__(self, message: str, *, construct: str = "", position: int | None = None):
        super().__init__(message)
        self.construct = construct
        self.position = position


class UrlDenied(SecurityError, PermissionError):
    """A URL, or a redirect, leads to a host, an address or a port that isn't allowed.

    Attributes: ``reason``, a word from the table of docs/reference/urls.md.
    """

    def __init__(self, message: str, *, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class WrongKey(SecurityError, ValueError):
    """An encrypted store is sealed by a key that isn't among those given, or there is none."""


class MissingDependency(LlmspellError, ImportError):
    """An optional extra is not installed; the message gives the pip command."""

    def __init__(self, extra: str, module: str):
        self.extra = extra
        self.module = module
        super().__init__(f"{module} is not installed; run: pip install 'llmspell[{extra}]'")
