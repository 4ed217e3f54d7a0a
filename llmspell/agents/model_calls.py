"""How a run asks its model, and what it makes of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell.agents.chat import ask, request_of
from llmspell.agents.events import Answered, OutputRejected, RunState, TextDelta
from llmspell.agents.history import AgentMessage, Answer
from llmspell.agents.transcript import Entry
from llmspell.errors import InputError, OutputInvalid
from llmspell.observability import model_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell.agents.memory import Session
    from llmspell.agents.run import AgentRun
    from llmspell.tools import ToolSpec

__all__ = ["ModelCalls"]


class ModelCalls:
    """Asks the model, and keeps what it answers. For one run.

    Args:
        run: whose model it is.
        specs: of the tools that the model may call.
        session: that the output is remembered in.
    """

    def __init__(self, run: AgentRun, specs: Sequence[ToolSpec], session: Session | None) -> None:
        self._run = run
        self._specs = specs
        self._session = session

    async def make(self) -> None:
        """Ask it: the answer stands in the transcript then, with the output if it is one.

        Raises:
            OutputInvalid: it isn't as the output must be, and the model may not mend it.
        """
        run = self._run
        run.budget.answer_tokens()  # where none may come no hook is asked
        messages = await run.hooks.before_model(run, list(run.history.messages()))
        price = getattr(run.agent.model, "price", None)
        token_cost = 0.0 if price is None else price.output / 1e6
        async with run.budget.answering(token_cost) as allowed:
            answer = await self._asked(messages, allowed)
        await self._settle(answer, *self._read(answer))

    async def _asked(self, messages: Sequence[AgentMessage], allowed: int) -> Answer:
        """Ask it, and count the answer."""
        run = self._run
        model = run.agent.model
        with model_call(model.provider, model.model_id) as told:
            answer = await ask(
                model,
                request_of(
                    instructions=run.agent.instructions,
                    messages=messages,
                    tools=self._specs,
                    schema=run.agent.output.schema,
                    max_tokens=allowed,
                ),
                until=run.budget.deadline,
                on_text=self._on_text if run.is_followed else None,
            )
            told.set("gen_ai.response.model", answer.model)
            told.set("gen_ai.usage.input_tokens", answer.input_tokens)
            told.set("gen_ai.usage.output_tokens", answer.output_tokens)
        run.metrics.answered(run.agent.name, answer.input_tokens, answer.output_tokens)
        run.budget.answered(
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost=answer.cost,
        )
        return answer

    async def settle_again(self, answer: Answer) -> None:
        """An answer that was refused as the output, before the run was resumed.

        Raises:
            OutputInvalid: it is still.
        """
        entries, problem = self._read(answer)
        await self._settle(answer, entries[1:], problem)

    async def _on_text(self, text: str) -> None:
        await self._run.tell(TextDelta(text))

    def _read(self, answer: Answer) -> tuple[list[Entry], InputError | OutputInvalid | None]:
        """What of an answer stands in the transcript, and what is wrong with it."""
        run = self._run
        entries = [answer.to_entry()]
        if answer.calls:
            return entries, None
        try:
            value = run.agent.output.parse(answer.text)
        except InputError as error:
            if run.history.repairs >= run.agent.limits.max_repairs:
                return entries, OutputInvalid(
                    f"run {run.id!r}: the model's answer isn't what was to come out, after "
                    f"{run.history.repairs} repairs: {error}",
                    text=answer.text,
                    run_id=run.id,
                )
            told = (
                f"Your answer can't be used: {error}. Answer again with nothing but the whole "
                "corrected JSON."
            )
            return [*entries, {"kind": "repair", "text": told}], error
        return [*entries, {"kind": "end", "output": run.agent.output.to_data(value)}], None

    async def _settle(
        self, answer: Answer, entries: list[Entry], problem: InputError | OutputInvalid | None
    ) -> None:
        """Keep what an answer came to, and tell of it."""
        run = self._run
        if entries and entries[-1]["kind"] == "end" and self._session is not None:
            end = self._session.end(run.transcript, entries, run.history.input, answer.text)
            await run.know(end, entries)
        elif entries:
            await run.keep(*entries)
        if entries and entries[0]["kind"] == "answer":
            kept = run.history.turns[-1].answer
            await run.tell(Answered(kept))
            await run.hooks.after_model(run, kept)
        if isinstance(problem, OutputInvalid):
            raise problem
        if problem is not None:
            await run.tell(OutputRejected(answer.text, str(problem)))
        if run.history.is_ended:
            await run.enter(RunState.FINISHED)
