"""One call of a remote embedder: its batches side by side, and what they cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from llmspell.errors import (
    ClosedError,
    InvalidEmbedding,
    QuotaExceeded,
    TenantNotFound,
    TenantSuspended,
    TextTooLong,
)
from llmspell.rag.embedding.charges import charge_tokens
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.service import CallTime
from llmspell.rag.embedding.vectors import unit_rows

if TYPE_CHECKING:
    from llmspell.rag.embedding.remote import RemoteEmbedder
    from llmspell.tenancy import Hold

__all__ = ["EmbeddingCall"]

# What is left of a text that a service finds too long, until it doesn't.
_CUT: Final = 0.75
# A larger answer takes some milliseconds to be read, in which no other could go on.
_READ_ASIDE_BYTES: Final = 256 << 10


class EmbeddingCall:
    """One call of ``embed``: its batches, and what they cost."""

    def __init__(
        self,
        owner: RemoteEmbedder,
        texts: list[str],
        counts: list[int],
        hold: Hold | None,
        task: Task,
        truncate: bool,
    ) -> None:
        self.rows = np.empty((len(texts), owner.dim), dtype=np.float32)
        self._owner = owner
        self._texts = texts
        self._counts = counts
        self._hold = hold
        self._held = sum(counts)
        self._task: Task = task
        self._truncate = truncate
        self._used = 0
        self._is_begun = False

    async def run(self, planned: Sequence[list[int]]) -> None:
        """Run all batches, some at once; the operation that this is in is charged.

        Where one fails, those under way end by themselves, for they may be billed, and no other
        begins. Where it is cancelled, those under way are, too.
        """
        self._is_begun = True
        self._until = CallTime(self._owner._settings.timeout)
        workers = min(self._owner._settings.concurrency, len(planned))
        waiting = iter(planned)
        pending: set[asyncio.Task[None]] = set()
        try:
            while True:
                for positions in islice(waiting, workers - len(pending)):
                    pending.add(asyncio.create_task(self._send(positions)))
                if not pending:
                    break
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                await self._settle()
        except BaseException as error:
            self._until.stop()
            try:
                if pending and isinstance(error, Exception):
                    await asyncio.wait(pending)
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                # What was done is charged as far as it fits; that the call failed says more.
                with suppress(ClosedError, QuotaExceeded, TenantNotFound, TenantSuspended):
                    await self._settle(at_end=True)
            raise
        await self._settle(at_end=True)

    async def _send(self, positions: list[int]) -> None:
        """Embed a batch, in halves where the service finds it too large as a whole."""
        owner = self._owner
        texts = [self._texts[position] for position in positions]
        path, body = owner._request(texts, self._task, self._truncate)
        guess = sum(self._counts[position] for position in positions)

        def sent() -> None:
            if self._hold is not None:
                self._hold.begin()

        def lost() -> None:  # nobody says what it took
            self._used += guess

        try:
            answer = await owner._service.post(
                owner._url + path,
                body,
                self._until,
                numbers=len(texts) * owner.dim,
                on_send=sent,
                on_lost=lost,
            )
        except TextTooLong as error:
            if len(texts) > 1:
                middle = len(texts) // 2
                await self._send(positions[:middle])
                await self._send(positions[middle:])
                return
            if not self._truncate or len(texts[0]) < 2:
                raise TextTooLong(
                    f"text {positions[0]}: {error}; split it, or pass truncate=True"
                ) from error
            self._texts[positions[0]] = texts[0][: int(len(texts[0]) * _CUT)]
            await self._send(positions)
            return
        try:
            if len(answer) > _READ_ASIDE_BYTES:
                tokens = await asyncio.to_thread(self._take, answer, positions)
            else:
                tokens = self._take(answer, positions)
        except InvalidEmbedding as error:
            error.is_sent = True
            lost()
            raise
        except asyncio.CancelledError:
            lost()
            raise
        used = guess if tokens is None else tokens
        owner._count(len(texts), used)
        # What the tokenizer counts, at least: it is what was said before.
        self._used += max(used, guess) if owner._counter.is_exact else used

    def _take(self, answer: bytes, positions: list[int]) -> int | None:
        """Put the vectors of an answer where they belong; the tokens that it tells."""
        owner = self._owner
        try:
            reply = owner._reply(json.loads(answer), len(positions))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InvalidEmbedding(
                f"{owner.provider} answered with something else than embeddings"
            ) from error
        self.rows[positions] = unit_rows(
            reply.rows, count=len(positions), dim=owner.dim, model=owner.model_id
        )
        return reply.tokens

    def give_back(self) -> None:
        """Give back what is set aside, unless it is run, and settles that itself."""
        if self._hold is not None and not self._is_begun:
            self._hold.release()

    async def _settle(self, *, at_end: bool = False) -> None:
        """Charge what was used, which may ask a server: out of what is held, once at the end.

        Where that is used up before, at once, so that no request is sent beyond the quota.
        """
        if self._hold is not None and not at_end and self._used <= self._held:
            return
        used, self._used = self._used, 0
        hold, self._hold = self._hold, None
        if used or hold is not None:
            price = self._owner._settings.price
            await asyncio.to_thread(charge_tokens, used, hold, price=price)
