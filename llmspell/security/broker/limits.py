"""How much a sandboxed tool may make the broker do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmspell.errors import ConfigError

__all__ = ["BrokerLimits"]

MIB = 1 << 20
DAY = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerLimits:
    """The bounds of each request, and of all requests of a session together.

    Args:
        requests: of a session; each redirect that is followed, and each message that is refused,
            is one.
        redirects: that are followed from one request.
        session_bytes: of a session: what is sent and what is received, headers included.
        session_seconds: from the making of a session.
        request_headers: how many a request has.
        request_header_bytes: of all its names and values.
        request_bytes: of its body.
        response_headers: how many a response has.
        response_header_bytes: of its status line, names and values.
        response_bytes: of its body as it is sent, for nothing is decompressed. Twice as many bytes
            are read, headers aside, where the framing of chunks takes more than the chunks.
        response_parts: of a response: reads, chunks and lines of headers. It bounds the work on
            many small ones, which their bytes don't.
        session_parts: of a session, tunnels and what the proxy is asked included.
        resolve_seconds: for the look-up of a name.
        connect_seconds: for connecting, to all addresses of a name together.
        tls_seconds: for the TLS handshake.
        first_byte_seconds: from the end of sending to the first byte of the response; for a tunnel
            of the proxy, how long it may be silent.
        total_seconds: for a request with all its redirects.
        connections: that a session keeps open for the next request, and that its proxy serves at
            one time.

    Raises:
        ConfigError: a limit that isn't a number above 0, or more seconds than a day has;
            ``redirects`` may be 0.
    """

    requests: int = 100
    redirects: int = 5
    session_bytes: int = 64 * MIB
    session_seconds: float = 300.0
    request_headers: int = 64
    request_header_bytes: int = 16 * 1024
    request_bytes: int = MIB
    response_headers: int = 128
    response_header_bytes: int = 64 * 1024
    response_bytes: int = 8 * MIB
    response_parts: int = 1 << 16
    session_parts: int = 1 << 18
    resolve_seconds: float = 5.0
    connect_seconds: float = 5.0
    tls_seconds: float = 5.0
    first_byte_seconds: float = 30.0
    total_seconds: float = 60.0
    connections: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            seconds = field.name.endswith("seconds")
            number = isinstance(value, int | float if seconds else int)
            least = 0 if field.name == "redirects" else 1
            # A comparison with NaN is false.
            right = 0 < value <= DAY if number and seconds else number and value >= least
            if not right or isinstance(value, bool):
                above = (
                    f"a number of seconds above 0, at most {DAY:,}"
                    if seconds
                    else (f"an int of {least} or more")
                )
                raise ConfigError(f"{field.name} must be {above}, got {value!r}")
