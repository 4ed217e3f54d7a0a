"""How a reservation ends as a context manager, of whatever ledger it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["HeldInBlock"]


class HeldInBlock(ABC):
    """Settles where its block ends, and gives back where it raises, unless either was done."""

    _open = False

    @abstractmethod
    def settle(self) -> None:
        """Keep what was reserved."""

    @abstractmethod
    def cancel(self) -> None:
        """Give everything back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        if kind is None:
            self.settle()
        else:
            self.cancel()
