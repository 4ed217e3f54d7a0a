"""What a pattern matched, by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PatternMatch"]


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """A match: ``spans`` are starts and ends in characters, of the whole and of each group.

    A group that took no part has the span (-1, -1) and the text None.
    """

    string: str = field(repr=False)
    spans: tuple[tuple[int, int], ...]
    names: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """Start and end of a group; raises ``IndexError`` for one that the pattern hasn't."""
        number = self.names.get(group, -1) if isinstance(group, str) else group
        if not 0 <= number < len(self.spans):
            raise IndexError(f"the pattern has no group {group!r}")
        return self.spans[number]

    def start(self, group: int | str = 0) -> int:
        """Where a group starts."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Where a group ends."""
        return self.span(group)[1]

    def group(self, group: int | str = 0) -> str | None:
        """The text of a group."""
        start, end = self.span(group)
        return None if start < 0 else self.string[start:end]

    def groups(self) -> tuple[str | None, ...]:
        """The texts of all groups but the whole."""
        return tuple(self.group(number) for number in range(1, len(self.spans)))

    def group_dict(self) -> dict[str, str | None]:
        """The texts of named groups."""
        return {name: self.group(name) for name in self.names}
