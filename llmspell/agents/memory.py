"""What an agent remembers between runs, in its tenant's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmspell.agents.history import Said
from llmspell.agents.state_transcript import StateTranscript, storable
from llmspell.agents.transcript import Entry, Transcript
from llmspell.errors import ConfigError
from llmspell.state import Append, AsyncState

__all__ = ["SESSIONS", "Session"]

#: Below these parts of keys the messages of sessions lie, each at the session's name.
SESSIONS: Final = ("agents", "sessions")
MAX_MESSAGES: Final = 10_000


class Session:
    """What was said in a session: the list at ``("agents", "sessions", NAME)`` of the state.

    Args:
        state: of the tenant.
        name: of the session.
        max_messages: the newest ones, which a run is told; older ones stay in the list.

    Raises:
        ConfigError: ``max_messages`` is out of range.
    """

    def __init__(self, state: AsyncState, name: str, *, max_messages: int = 40) -> None:
        if not isinstance(max_messages, int) or not 0 <= max_messages <= MAX_MESSAGES:
            raise ConfigError(
                f"max_messages must be from 0 to {MAX_MESSAGES:,}, got {max_messages!r}"
            )
        self._state = state
        self._key = (*SESSIONS, name)
        self._max_messages = max_messages

    async def messages(self) -> Sequence[Said]:
        """The newest messages, oldest first."""
        if not self._max_messages:
            return []
        page = await self._state.items(self._key, -self._max_messages, self._max_messages)
        return [Said(one["role"], one["text"]) for one in page.values]

    async def end(
        self, transcript: Transcript, entries: Sequence[Entry], asked: str, answered: str
    ) -> None:
        """Remember what was said, with the last entries of the run's transcript.

        Both are one write where the transcript is in the state too.
        """
        said = Append(
            self._key,
            [
                {"role": "user", "text": storable(asked)},
                {"role": "assistant", "text": storable(answered)},
            ],
        )
        if isinstance(transcript, StateTranscript):
            await transcript.append_with((said,), *entries)
            return
        await self._state.write([said])
        await transcript.append(*entries)

    async def forget(self) -> bool:
        """Remove it; returns whether there was anything."""
        return await self._state.delete(self._key)
