"""Transcripts in a tenant's state: durable, counted, and gone with the tenant."""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

from llmspell.agents.transcript import Entry
from llmspell.errors import QuotaExceeded, RunConflict, StateConflict
from llmspell.state import Append, AsyncState, Check, Edit

__all__ = ["RUNS", "StateTranscript"]

#: Below these parts of keys transcripts lie, each at the id of its run.
RUNS: Final = ("agents", "runs")
_OWNER: Final = "owner"
_CALLS: Final = "calls"
#: Entries read by one call of the state.
_PAGE: Final = 1_000
#: A refusal by the rate of API calls ends within so many seconds, or isn't waited for.
_MAX_WAIT: Final = 60.0


class StateTranscript:
    """The list at ``("agents", "runs", RUN)`` of a tenant's state.

    Each append is one durable write, charged as one API call. Where the tenant has made too many of
    these a minute it waits, up to a minute: what was done must not be forgotten. Who opens it takes
    it over from whoever had opened it before, in this process or another, whose next append raises
    RunConflict.
    """

    def __init__(self, state: AsyncState, run_id: str, *calls: str) -> None:
        self._state = state
        self._key: tuple[str, ...] = (*RUNS, run_id)
        for call_id in calls:
            self._key = (*self._key, _CALLS, call_id)
        self._calls = calls
        self._run_id = run_id
        self._token: str | None = None

    async def open(self) -> list[Entry]:
        """As :meth:`Transcript.open`."""
        self._token = uuid.uuid4().hex
        await self._state.set((*self._key, _OWNER), self._token)
        entries: list[Entry] = []
        while True:
            page = await self._state.items(self._key, len(entries), _PAGE)
            entries.extend(page.values)
            if len(entries) >= page.length:
                return entries

    async def append(self, *entries: Entry) -> None:
        """As :meth:`Transcript.append`."""
        await self._write(Append(self._key, entries))

    async def end(self, entry: Entry, *edits: Edit) -> None:
        """Append the last entry, and do edits of the state with it, all or none."""
        await self._write(Append(self._key, [entry]), *edits)

    async def _write(self, *edits: Edit) -> None:
        guarded = [Check((*self._key, _OWNER), self._token), *edits]
        waited = 0.0
        while True:
            try:
                await self._state.write(guarded)
                return
            except StateConflict as error:
                raise RunConflict(
                    f"run {self._run_id!r} was resumed elsewhere meanwhile, or its transcript was "
                    "removed; nothing was written",
                    run_id=self._run_id,
                ) from error
            except QuotaExceeded as error:
                delay = error.retry_after
                if error.quota != "max_api_calls_per_minute" or delay is None:
                    raise
                waited += delay
                if waited > _MAX_WAIT:
                    raise
                await asyncio.sleep(delay)

    def child(self, call_id: str) -> StateTranscript:
        """As :meth:`Transcript.child`."""
        return StateTranscript(self._state, self._run_id, *self._calls, call_id)

    async def forget(self) -> int:
        """Remove it, with those of sub-agents; returns how many keys are gone."""
        return await self._state.clear(self._key)
