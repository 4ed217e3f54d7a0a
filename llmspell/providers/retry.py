"""When a call of a model is made again, and how long it waits before."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell.errors import (
    BadProviderResponse,
    ConfigError,
    ProviderError,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderResponseTooLarge,
    ProviderTimeout,
    ProviderUnreachable,
)
from llmspell.providers.settings import check_seconds
from llmspell.remote import wait_before

__all__ = ["Retry"]

_NOT_SENT = (ProviderUnreachable, ProviderRateLimited, ProviderOverloaded)
_SENT = (*_NOT_SENT, ProviderInterrupted, ProviderTimeout, BadProviderResponse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Retries with doubling waits and full jitter; see :func:`llmspell.remote.wait_before`.

    Args:
        retries: calls at most after the first.
        base: seconds; before retry n it waits for a random part of ``base * 2 ** n``, n from 0.
        longest: seconds that it waits at most. Where a provider's ``Retry-After`` asks for more,
            the call fails at once, with that in the error.
        sent: whether a call is made again that the provider may have worked on, and may bill twice.
    """

    retries: int = 3
    base: float = 0.1
    longest: float = 20.0
    sent: bool = False

    def __post_init__(self) -> None:
        count = self.retries
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= 20:
            raise ConfigError(f"retries must be an int from 0 to 20, got {count!r}")
        check_seconds("base", self.base)
        check_seconds("longest", self.longest)
        if not isinstance(self.sent, bool):
            raise ConfigError(f"sent must be a bool, got {self.sent!r}")

    def takes(self, error: ProviderError) -> bool:
        """Whether a call that failed so may be made again at all."""
        if isinstance(error, ProviderResponseTooLarge):
            return False  # it would be so again
        return isinstance(error, _SENT if self.sent else _NOT_SENT) and (
            self.sent or not error.is_sent
        )

    def wait(self, error: ProviderError, number: int) -> float | None:
        """Seconds before retry ``number``, from 0; None where there is none."""
        if not self.takes(error):
            return None
        return wait_before(
            number,
            retries=self.retries,
            base=self.base,
            longest=self.longest,
            asked=error.retry_after,
        )
