"""Requests of a shared ledger to its Redis server: one script, one round trip."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgpack  # type: ignore[import-untyped]

from llmspell.errors import ConfigError, LedgerUnavailable, MissingDependency
from llmspell.quota.lease import Granted

__all__ = ["Refusal", "Reply", "Server"]

# Both keys have one hash tag, so that a cluster keeps them together.
PREFIX = "{llmspell}:quota:"
MARK = PREFIX + "server"


class Refusal(NamedTuple):
    """Which quota refused, numbered from 1 as Lua counts; -1 us where waiting doesn't help."""

    quota: int
    limit: int
    used: int
    retry_us: int


class Reply(NamedTuple):
    """What the script answered. Of "stale" and "forgotten" only the status is filled in."""

    status: str
    epoch: str
    parts: list[Granted]
    refusal: Refusal | None
    recovering_us: int


class Server:
    """The connection pool and the script. Thread-safe."""

    def __init__(self, url: str, timeout: float) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise MissingDependency("redis", "redis") from error
        self._errors = (redis.RedisError, OSError)
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                # A pooled connection may be one to a server that has restarted since.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError:
            # Neither it, nor what is said of it: a password may be in both.
            raise ConfigError(
                "url must be one that redis-py takes, as redis://HOST:PORT/NUMBER; letters such as "
                "'#', '/' and '[' in a password are to be written by their percent codes"
            ) from None
        # Errors and logs show the place without the password.
        where = self._client.connection_pool.connection_kwargs
        self.where = str(where.get("path") or f"{where.get('host')}:{where.get('port')}")
        from importlib.resources import files  # with all that it loads

        lua = files("llmspell.quota").joinpath("shared.lua").read_text(encoding="utf-8")
        self._script = self._client.register_script(lua)

    def ask(self, key: bytes, request: dict[str, Any]) -> Reply:
        """Run the script for one tenant; raises LedgerUnavailable."""
        keys = [PREFIX + key.hex(), MARK]
        try:
            packed = cast(bytes, self._script(keys=keys, args=[msgpack.packb(request)]))
        except self._errors as error:
            raise self._away(error) from error
        reply = msgpack.unpackb(packed)
        return Reply(
            reply["status"],
            reply.get("epoch", ""),
            [Granted(*part) for part in reply.get("parts", ())],
            Refusal(*reply["refusal"]) if reply.get("refusal") else None,
            int(reply.get("recovering", 0)),
        )

    def epoch(self) -> str:
        """Which life of the server's data it is; raises LedgerUnavailable."""
        try:
            mark = cast(list[bytes | None], self._client.hmget(MARK, ["run", "since"]))
        except self._errors as error:
            raise self._away(error) from error
        return b"".join(part or b"" for part in mark).decode()

    def _away(self, error: Exception) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"the quota server at {self.where} can't be asked ({error}); nothing was charged; "
            "try again, or choose when_away='local' or 'open'"
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
