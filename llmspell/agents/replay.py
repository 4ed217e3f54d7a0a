"""A model that says again what a transcript has, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from llmspell.agents.history import Answer, History
from llmspell.agents.model import ModelRequest
from llmspell.agents.transcript import Entry
from llmspell.errors import RunConflict

__all__ = ["ReplayModel"]


class ReplayModel:
    """Gives the answers of a transcript, in order: a run with it needs no model, key or network.

    Tools are called as ever; a run whose tools give something else than they did goes on with what
    the transcript has.

    Args:
        entries: of the transcript, as ``Transcript.read`` gives them.

    Raises:
        TranscriptDamaged: no run has written such entries.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        history = History()
        for entry in entries:
            history.take(entry)
        self._answers = [turn.answer for turn in history.turns]

    async def answer(self, request: ModelRequest) -> Answer:
        """The answer that comes behind those that the request has.

        Raises:
            RunConflict: the transcript has no more.
        """
        number = sum(isinstance(message, Answer) for message in request.messages)
        if number >= len(self._answers):
            raise RunConflict(
                f"the transcript has {len(self._answers)} answers, and the run asks for another: "
                "it does something else than the one that wrote it"
            )
        answer = self._answers[number]
        if request.on_text is not None and answer.text:
            await request.on_text(answer.text)
        return answer
