"""One call of a remote embedder: its batches side by side, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import numpy as np

from llmspell.errors import InvalidEmbedding, QuotaExceeded, TextTooLong
from llmspell.rag.embedding.embedder import Task
from llmspell.rag.embedding.service import Deadline
from llmspell.rag.embedding.vectors import unit_rows

if TYPE_CHECKING:
    from llmspell.rag.embedding.remote import RemoteEmbedder

__all__ = ["EmbeddingCall"]

# What is left of a text that a service finds too long, until it doesn't.
_CUT: Final = 0.75


class EmbeddingCall:
    """One call of ``embed``: its batches, and what they cost."""

    def __init__(
        self,
        owner: RemoteEmbedder,
        texts: list[str],
        counts: list[int],
        known: list[int],
        task: Task,
        truncate: bool,
    ) -> None:
        self.rows = np.empty((len(texts), owner.dim), dtype=np.float32)
        self._owner = owner
        self._texts = texts
        self._counts = counts
        self._known = known
        self._task: Task = task
        self._truncate = truncate
        self._deadline = Deadline(owner._settings.timeout)
        self._late: SimpleQueue[int] = SimpleQueue()

    def run(self, planned: Sequence[list[int]]) -> None:
        """Run all batches, some at once; the operation of this thread is charged."""
        try:
            if len(planned) == 1:
                self._send(planned[0])
                self._settle()
            elif planned:
                self._run_side_by_side(planned)
        except BaseException:
            # What was done is charged as far as it fits; that the call failed says more.
            with suppress(QuotaExceeded):
                self._settle()
            raise

    def _run_side_by_side(self, planned: Sequence[list[int]]) -> None:
        workers = min(self._owner._settings.concurrency, len(planned))
        waiting = iter(planned)
        pending: set[Future[None]] = set()
        with ThreadPoolExecutor(workers, "llmspell-embed") as pool:
            try:
                while True:
                    for positions in islice(waiting, workers - len(pending)):
                        pending.add(pool.submit(self._send, positions))
                    if not pending:
                        return
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    self._settle()
            except BaseException:
                self._deadline.stop()
                raise

    def _send(self, positions: list[int]) -> None:
        """Embed a batch, in halves where the service finds it too large as a whole."""
        owner = self._owner
        texts = [self._texts[position] for position in positions]
        path, body = owner._request(texts, self._task, self._truncate)
        try:
            answer = owner._service.post(
                owner._url + path, body, self._deadline, numbers=len(texts) * owner.dim
            )
        except TextTooLong as error:
            if len(texts) > 1:
                middle = len(texts) // 2
                self._send(positions[:middle])
                self._send(positions[middle:])
                return
            if not self._truncate or len(texts[0]) < 2:
                raise TextTooLong(
                    f"text {positions[0]}: {error}; split it, or pass truncate=True"
                ) from error
            self._texts[positions[0]] = texts[0][: int(len(texts[0]) * _CUT)]
            self._send(positions)
            return
        try:
            reply = owner._reply(answer, len(texts))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InvalidEmbedding(
                f"{owner.provider} answered with something else than embeddings"
            ) from error
        guess = sum(self._counts[position] for position in positions)
        used = guess if reply.tokens is None else reply.tokens
        owner._count(len(texts), used)
        self._late.put(max(used - sum(self._known[position] for position in positions), 0))
        self.rows[positions] = unit_rows(
            reply.rows, count=len(texts), dim=owner.dim, model=owner.model_id
        )

    def _settle(self) -> None:
        """Charge what came on top; in the thread that the operation is of."""
        late = 0
        while not self._late.empty():
            late += self._late.get()
        self._owner._charge(late)
