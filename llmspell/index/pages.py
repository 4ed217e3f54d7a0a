"""Results page by page."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from llmspell import _core
from llmspell.index.neighbors import Neighbors
from llmspell.index.watch import CancelToken, watching

__all__ = ["SearchPages"]


class SearchPages:
    """An iterator over pages of :class:`llmspell.Neighbors`, from :meth:`llmspell.Index.iterate`.

    A page goes on where the one before it stopped, until everything has come. Every page is as long
    as was asked for, but the last. Within a page the best come first; a walk of a graph is
    approximate, so that a page may hold one that is better than the last of the page before.

    The index may change between pages:

    - an id comes once at most, also where its vector is replaced after it came;
    - one that was deleted before a page is taken is not in it, nor in a later one;
    - one that is there all the time comes;
    - one that is added comes too, in place where the walk still meets it, else at the end.

    After many deletes the walk may have to begin anew, which costs as much as the pages so far;
    what has come doesn't come again.

    Holds 2 bytes for each vector of the index, and 8 for each that the walk has met, until it ends
    or is closed. Thread-safe: each page goes to one of the threads that ask.
    """

    __slots__ = ("_cancel", "_core", "_neighbors", "_size", "_timeout")

    def __init__(
        self,
        core: _core.Pages,
        neighbors: type[Neighbors],
        page_size: int,
        timeout: float | None,
        cancel: CancelToken | None,
    ) -> None:
        self._core: _core.Pages | None = core
        self._neighbors = neighbors
        self._size = page_size
        self._timeout = timeout
        self._cancel = cancel

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Neighbors:
        core = self._core
        if core is None:
            raise StopIteration
        with watching(self._timeout, self._cancel, None) as watch:
            page = self._neighbors(core.next(self._size, watch))
        if len(page.ids) < self._size:
            self.close()
        if len(page.ids) == 0:
            raise StopIteration
        return page

    def close(self) -> None:
        """Give the memory back; no page comes after."""
        self._core = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
