"""What is kept of each attempt to reach something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Attempt", "AttemptOutcome"]

AttemptOutcome = Literal["answered", "refused", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt, for an audit log; no path, no query, no header, no body.

    Attributes:
        tenant: as the session was given it; None for the operator.
        method: of the allow-list, CONNECT for a tunnel, or "" where none was understood.
        scheme: "http", "https", or "" where no URL was understood.
        host: canonical, or "".
        port: or 0.
        address: that was connected to, or "".
        outcome: "answered", whatever the status; "refused" by a rule or a limit; "failed" on the
            way or at the other end.
        reason: a word of docs/reference/egress.md; "" where it was answered.
        status: of the response, or 0.
        hops: how many redirects led here.
        sent_bytes: to the host, above TLS.
        received_bytes: from the host, above TLS.
        seconds: that it took.
    """

    tenant: str | None
    method: str
    scheme: str
    host: str
    port: int
    address: str
    outcome: AttemptOutcome
    reason: str
    status: int
    hops: int
    sent_bytes: int
    received_bytes: int
    seconds: float
