"""A model that says again what a transcript has, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import cast

from llmspell.agents.history import Answer, History
from llmspell.agents.transcript import Entry
from llmspell.errors import RunConflict
from llmspell.providers import (
    ChatRequest,
    ChatResponse,
    Finish,
    Price,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)

__all__ = ["ReplayModel"]


class ReplayModel:
    """Gives the answers of a transcript, in order: a run with it needs no model, key or network.

    Tools are called as ever; a run whose tools give something else than they did goes on with what
    the transcript has. Nothing is charged. Thread-safe.

    Args:
        entries: of the transcript, as ``Transcript.read`` gives them.

    Raises:
        TranscriptDamaged: no run has written such entries.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        history = History()
        for entry in entries:
            history.take(entry)
        self._before = sum(said.role == "assistant" for said in history.earlier)
        self._answers = [turn.answer for turn in history.turns]

    @property
    def provider(self) -> str:
        """``replay``."""
        return "replay"

    @property
    def model_id(self) -> str:
        """Of the model that had answered."""
        return self._answers[0].model if self._answers else ""

    @property
    def price(self) -> Price:
        """Nothing."""
        return Price(input=0.0, output=0.0)

    def complete(self, request: ChatRequest) -> ChatResponse:
        """The answer that comes behind those that the request has.

        Raises:
            RunConflict: the transcript has no more.
        """
        said = sum(message.role == "assistant" for message in request.messages)
        number = said - self._before
        if not 0 <= number < len(self._answers):
            raise RunConflict(
                f"the transcript has {len(self._answers)} answers, and the run asks for another: "
                "it does something else than the one that wrote it"
            )
        return _response(self._answers[number])

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        """As :meth:`complete`."""
        await asyncio.sleep(0)
        return self.complete(request)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """As :meth:`complete`, the text in one piece."""
        response = await self.acomplete(request)
        if response.text:
            yield TextDelta(response.text)
        yield response


def _response(answer: Answer) -> ChatResponse:
    return ChatResponse(
        answer.text,
        tuple(ToolCall(call.id, call.tool, call.arguments) for call in answer.calls),
        cast("Finish", answer.finish),
        Usage(answer.input_tokens, answer.output_tokens),
        "replay",
        answer.model,
    )
