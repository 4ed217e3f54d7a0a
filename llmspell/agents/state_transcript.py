"""Transcripts in a tenant's state: durable, counted, and gone with the tenant."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from llmspell.agents.transcript import Entry
from llmspell.errors import QuotaExceeded, RunConflict, StateConflict, TranscriptDamaged
from llmspell.state import Append, AsyncState, CheckLength, Edit

__all__ = ["RUNS", "StateTranscript"]

#: Below these parts of keys transcripts lie, each at the id of its run.
RUNS: Final = ("agents", "runs")
_CALLS: Final = "calls"
#: Entries read by one call of the state.
_PAGE: Final = 1_000
#: A refusal by the rate of API calls ends within so many seconds, or isn't waited for.
_MAX_WAIT: Final = 60.0


class StateTranscript:
    """The list at ``("agents", "runs", RUN)`` of a tenant's state; an entry is a text of JSON.

    Each append is one durable write, charged as one API call. Where the tenant has made too many of
    these a minute it waits, up to a minute: what was done must not be forgotten. An append raises
    RunConflict where another run, in this process or another, has appended meanwhile.
    """

    def __init__(self, state: AsyncState, run_id: str, *calls: str) -> None:
        self._state = state
        self._key: tuple[str, ...] = (*RUNS, run_id)
        for call_id in calls:
            self._key = (*self._key, _CALLS, call_id)
        self._calls = calls
        self._run_id = run_id
        self._length = 0
        self._turn = asyncio.Lock()

    async def read(self) -> list[Entry]:
        """As :meth:`Transcript.read`; raises TranscriptDamaged."""
        texts: list[Any] = []
        while True:
            page = await self._state.items(self._key, len(texts), _PAGE)
            texts.extend(page.values)
            if len(texts) >= page.length:
                break
        self._length = len(texts)
        return [self._decoded(text) for text in texts]

    async def append(self, *entries: Entry) -> None:
        """As :meth:`Transcript.append`."""
        await self.append_with((), *entries)

    async def append_with(self, edits: tuple[Edit, ...], *entries: Entry) -> None:
        """Append entries, and do edits of the state with them, all or none."""
        texts = [storable(json.dumps(entry, ensure_ascii=False)) for entry in entries]
        async with self._turn:
            await self._write(
                CheckLength(self._key, self._length), Append(self._key, texts), *edits
            )
            self._length += len(texts)

    async def _write(self, *edits: Edit) -> None:
        waited = 0.0
        while True:
            try:
                await self._state.write(edits)
                return
            except StateConflict as error:
                raise RunConflict(
                    f"run {self._run_id!r} went on elsewhere meanwhile, or its transcript was "
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
        """Remove it, with those of sub-agents; returns how many of them there were."""
        return await self._state.clear(self._key)

    def _decoded(self, text: object) -> Entry:
        try:
            entry = json.loads(text) if isinstance(text, str) else None
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise TranscriptDamaged(
                f"run {self._run_id!r}: the state has something else than its entries",
                run_id=self._run_id,
            )
        return entry


def storable(text: str) -> str:
    """A text as the state takes it: what a model says may hold unpaired surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
