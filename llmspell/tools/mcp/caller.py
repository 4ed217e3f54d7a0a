"""The client of one request of MCP, as a tool may speak with it."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from llmspell.errors import ToolFailed
from llmspell.tools.client import Answer, CallAgain, LogLevel, Sampled
from llmspell.tools.mcp.schemas import mistakes_by
from llmspell.tools.mcp.sessions import current_session

__all__ = ["InputNeeded", "McpCaller"]

#: Of all answers to one call's questions, as the client carries them.
_MAX_STATE: Final = 64 << 10
_LEVELS: Final = get_args(LogLevel)


class InputNeeded(CallAgain):
    """The request is to come again, with the client's answer.

    Args:
        key: that the answer is to have.
        request: what is asked, of the SDK.
        answered: what was answered so far, which comes again too.
    """

    def __init__(self, key: str, request: Any, answered: str) -> None:
        super().__init__("the client's answer comes with another call")
        self._key, self._request, self._answered = key, request, answered

    @property
    def result(self) -> Any:
        """What says so to the client."""
        from mcp import types

        return types.InputRequiredResult(
            input_requests={self._key: self._request}, request_state=self._answered
        )


class McpCaller:
    """The client of one request.

    Since the protocol of 2026-07-28 a server can't ask by itself: what is asked is a result that
    wants the same request again with the answer, and the tool then runs from its beginning. So only
    one that is idempotent may ask there; before anything runs, anything may be asked.

    Args:
        context: of the request, of the SDK.
        params: of the request.
    """

    def __init__(self, context: Any, params: Any = None) -> None:
        from mcp.types import version

        self._context = context
        self._is_modern = context.protocol_version in version.MODERN_PROTOCOL_VERSIONS
        self._may_return = self._is_modern
        self._session = current_session()
        #: What was answered in this request and those before it, by the key of the question.
        self._answers: dict[str, Any] = _earlier(getattr(params, "request_state", None))
        for key, answer in (getattr(params, "input_responses", None) or {}).items():
            self._answers[key] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)

    def within(self, is_idempotent: bool) -> McpCaller:
        """The client as a tool that runs may speak with it."""
        found = copy.copy(self)
        found._may_return = self._may_return and is_idempotent
        return found

    @property
    def can_elicit(self) -> bool:
        """Whether a person can be asked while the tool runs."""
        return self._has_forms and self._can_ask

    @property
    def can_sample(self) -> bool:
        """Whether a model of the client's can be asked while the tool runs."""
        has = self._capabilities is not None and self._capabilities.sampling is not None
        return has and self._can_ask

    async def log(self, level: LogLevel, data: Any, *, logger: str | None = None) -> None:
        """Tell of something."""
        from mcp import types

        if level not in _LEVELS:
            raise ToolFailed(
                f"there is no level {level!r} of logs; these are: {', '.join(_LEVELS)}"
            )
        least = self._least
        if least is None or _LEVELS.index(level) < _LEVELS.index(least):
            return
        params = types.LoggingMessageNotificationParams(level=level, data=data, logger=logger)
        await self._context.session.send_notification(
            types.LoggingMessageNotification(params=params),
            related_request_id=self._context.request_id,
        )

    async def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell how far the call has come."""
        await self._context.session.report_progress(done, total, message)

    async def elicit(
        self, message: str, schema: Mapping[str, Any], *, timeout: float = 300.0
    ) -> Answer:
        """Ask a person by a form."""
        from mcp import types

        if not self._has_forms:
            raise ToolFailed("the client offers nobody to be asked by a form")
        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message=message, requested_schema=dict(schema))
        )
        found = await self._asked(request, types.ElicitResult, timeout)
        if found.action != "accept":
            return Answer(found.action)
        content = dict(found.content or {})
        try:
            wrong = next(iter(mistakes_by(schema, content)), None)
        except ValueError as error:
            raise ToolFailed(f"the form's schema can't be used: {error}") from error
        if wrong is not None:
            raise ToolFailed(f"the client's answer doesn't fit the form: {wrong.message[:200]}")
        return Answer("accept", content)

    async def sample(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        max_tokens: int,
        system: str | None = None,
        timeout: float = 300.0,
    ) -> Sampled:
        """Ask a model of the client's."""
        from mcp import types

        if not self.can_sample:
            raise ToolFailed("the client offers no model to be asked")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": {"type": "text", "text": messages}}]
        params = types.CreateMessageRequestParams.model_validate(
            {"messages": list(messages), "maxTokens": max_tokens, "systemPrompt": system}
        )
        request = types.CreateMessageRequest(params=params)
        found = await self._asked(request, types.CreateMessageResult, timeout)
        listed = found.content if isinstance(found.content, list) else [found.content]
        blocks = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in listed]
        text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        return Sampled(text, found.model, found.stop_reason, blocks)

    async def hang_up(self) -> None:
        """Have it fetch the result later."""
        is_kept = self._session is not None and self._session.keeps_events
        if is_kept and self._context.close_sse_stream is not None:
            await self._context.close_sse_stream()

    @property
    def _capabilities(self) -> Any:
        return self._context.session.client_capabilities

    @property
    def _has_forms(self) -> bool:
        """Without a word of its kinds it is the forms that a client offers."""
        offered = None if self._capabilities is None else self._capabilities.elicitation
        return offered is not None and (offered.form is not None or offered.url is None)

    @property
    def _least(self) -> LogLevel | None:
        """The level from which on the client is told; None for nothing."""
        if not self._is_modern:
            return "info" if self._session is None else self._session.log_level
        from mcp.types import LOG_LEVEL_META_KEY

        wanted = (self._context.meta or {}).get(LOG_LEVEL_META_KEY)
        return wanted if wanted in _LEVELS else None

    @property
    def _can_ask(self) -> bool:
        return self._may_return if self._is_modern else self._context.session.can_send_request

    def _answered(self) -> str:
        found = json.dumps(self._answers)
        if len(found) > _MAX_STATE:
            raise ToolFailed(f"the client was asked for more than {_MAX_STATE:,} characters")
        return found

    async def _asked(self, request: Any, result: Any, timeout: float) -> Any:
        from mcp import MCPError
        from mcp.shared.message import ServerMessageMetadata
        from pydantic import ValidationError

        if self._is_modern and not self._may_return:
            raise ToolFailed(
                "this client's answers come with another call, which runs the tool again: it must "
                "be idempotent to ask"
            )
        try:
            if self._is_modern:
                key = _key(request)
                if key not in self._answers:
                    raise InputNeeded(key, request, self._answered())
                return result.model_validate(self._answers[key], by_name=False)
            return await self._context.session.send_request(
                request,
                result,
                request_read_timeout_seconds=timeout,
                # On the line of the call: the client may have no other open.
                metadata=ServerMessageMetadata(related_request_id=self._context.request_id),
            )
        except MCPError as error:
            raise ToolFailed(f"the client didn't answer: {str(error)[:500]}") from error
        except ValidationError as error:
            raise ToolFailed("the client's answer can't be read") from error


def _earlier(state: str | None) -> dict[str, Any]:
    """What the request before gave, whose seal the SDK has looked at."""
    if state is None:
        return {}
    found = json.loads(state)
    return found if isinstance(found, dict) else {}


def _key(request: Any) -> str:
    asked = request.model_dump_json(by_alias=True, exclude_none=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]
