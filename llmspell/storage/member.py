"""One write of those that share a transaction."""

from __future__ import annotations

from llmspell.errors import ClosedError
from llmspell.quota import Reservation
from llmspell.storage.write import Applied, Write

__all__ = ["Member"]


class Member:
    """A write on its way to the log, and what became of it; guarded by its queue."""

    __slots__ = (
        "applied",
        "bytes",
        "error",
        "has_place",
        "hold",
        "is_acknowledged",
        "is_done",
        "write",
    )

    def __init__(self, write: Write, hold: Reservation | None = None) -> None:
        """Describe a write that waits for its commit.

        Args:
            hold: what the ledger holds for it from now on, and with it one of the flusher's places;
                None where the transaction reserves.
        """
        self.write = write
        self.hold = hold
        self.has_place = hold is not None
        #: Bytes of its records.
        self.bytes = write.storage
        #: Its call has returned: nobody is there to take an error.
        self.is_acknowledged = False
        #: Committed or refused, and seen in the views.
        self.is_done = False
        self.applied: Applied | None = None
        self.error: Exception | None = None

    @property
    def records(self) -> int:
        """Records that it writes."""
        return len(self.write.puts)

    def give_back(self) -> None:
        """Give back what the ledger holds for it; does nothing where that is settled."""
        hold, self.hold = self.hold, None
        if hold is not None:
            try:  # noqa: SIM105 - three calls more would be in each write
                hold.cancel()
            except ClosedError:
                pass  # with the slot of a dropped tenant all is gone that was held in it

    def outcome(self) -> Applied:
        """What it did; raises what refused it."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                # Else its traceback keeps, by way of this, the handle that the caller lets go.
                del error
        assert self.applied is not None
        return self.applied
