"""A model that says what a test has written down."""

from __future__ import annotations

import json
from typing import Any

from llmspell.agents import Answer, Call, ModelRequest


def say(text: str, *, tokens: int = 10) -> Answer:
    """An answer without calls, of so many tokens, to a prompt of as many."""
    return Answer(text, input_tokens=tokens, output_tokens=tokens, model="script")


def call(*calls: tuple[str, dict[str, Any]], text: str = "", tokens: int = 10) -> Answer:
    """An answer with calls of tools."""
    made = [Call("", f"id{n}", tool, json.dumps(given)) for n, (tool, given) in enumerate(calls)]
    return Answer(text, tuple(made), tokens, tokens, model="script")


class Script:
    """Gives its answers in turn, and notes what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[ModelRequest] = []

    async def answer(self, request: ModelRequest) -> Answer:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if request.on_text is not None:
            for start in range(0, len(answer.text), 3):
                await request.on_text(answer.text[start : start + 3])
        return answer

    def told(self, number: int) -> list[str]:
        """Texts of the messages of a request."""
        messages = self.asked[number].messages
        return [one[1].text if isinstance(one, tuple) else one.text for one in messages]
