"""A resolver of the tests: a zone of names, whose answers may change between look-ups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Answer = Sequence[str] | Callable[[], Sequence[str]]


class Zone:
    """Answers from a mapping; a callable is asked anew each time. Keeps what it was asked."""

    def __init__(self, names: Mapping[str, Answer], default: Answer = ()) -> None:
        self.names = dict(names)
        self.default = default
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.names.get(host, self.default)
        return answer() if callable(answer) else answer
