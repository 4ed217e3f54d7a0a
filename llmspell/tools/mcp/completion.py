"""What may be given for an argument of a prompt, or of a template of resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

from llmspell.errors import ConfigError
from llmspell.tools.context import ToolContext
from llmspell.tools.mcp.invoking import invoked

__all__ = ["MAX_COMPLETIONS", "Completer", "Completions", "checked_completions", "completed"]

#: That are told at once; MCP's own bound.
MAX_COMPLETIONS: Final = 100

#: Texts, or a function of what was typed.
Completer: TypeAlias = (
    Collection[str] | Callable[[str, ToolContext], Iterable[str] | Awaitable[Iterable[str]]]
)
Completions: TypeAlias = Mapping[str, Completer]


def checked_completions(
    whose: str, given: Completions | None, arguments: Collection[str]
) -> dict[str, Completer]:
    """A copy. Raises ConfigError for an argument that there isn't, or what completes nothing."""
    found = dict(given or {})
    for name, completer in found.items():
        if name not in arguments:
            raise ConfigError(f"{whose} has no argument {name!r} to complete")
        if isinstance(completer, str) or not (
            callable(completer) or isinstance(completer, Collection)
        ):
            raise ConfigError(
                f"{whose}: {name!r} is completed by several texts, or by a function of what was "
                f"typed and the context; got {completer!r}"
            )
    return found


async def completed(completer: Completer, typed: str, context: ToolContext) -> list[str]:
    """What fits, one more than is told at most: it says that there is more."""
    if not callable(completer):
        found: Iterable[Any] = (one for one in completer if one.startswith(typed))
    else:
        found = await invoked(lambda: completer(typed, context), completer)
    return [str(one) for one, _ in zip(found, range(MAX_COMPLETIONS + 1), strict=False)]
