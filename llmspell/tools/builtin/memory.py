"""What an agent remembers between its runs: notes in its tenant's state."""

from __future__ import annotations

from typing import Any, Final

from llmspell.errors import ConfigError, InputError, StateConflict
from llmspell.security import SecurityLevel
from llmspell.state import NOTHING, AsyncState
from llmspell.tools import FunctionTool, ToolContext, tool

__all__ = ["MEMORY", "memory_tools"]

#: Below these parts of keys of the state notes lie: all of a namespace are one mapping at its name.
MEMORY: Final = ("agents", "memory")
_MAX_NAMESPACE: Final = 64
_MAX_KEY: Final = 200
_MOST_BYTES: Final = 256 << 10
_MOST_NOTES: Final = 10_000
#: Calls side by side change the same mapping, each in turn.
_TRIES: Final = 64

# What is between a worker and the tenant's store is more than these few lines could do.
_here = tool(trusted=True, level=SecurityLevel.SAFE, idempotent=True)


def memory_tools(
    namespace: str, *, max_notes: int = 100, max_bytes: int = 16_384
) -> tuple[FunctionTool[..., Any], ...]:
    """``remember``, ``recall`` and ``forget``: notes that outlast a run, in the tenant's state.

    They lie at ``("agents", "memory", namespace)`` of the tenant on whose behalf the tool is
    called: charged to it, and gone with it. Each call is one to three calls of the state, more
    where others change the notes at the same time.

    Args:
        namespace: whose notes these are, such as the agent's name: 1 to 64 characters. No model
            sees or chooses it.
        max_notes: that are kept, 1 to 10,000; a further one is refused until another is forgotten.
        max_bytes: of keys and texts together, in UTF-8, 1 to 262,144; ``recall`` gives no more.

    Raises:
        ConfigError: an argument out of range.
    """
    is_name = isinstance(namespace, str) and 1 <= len(namespace) <= _MAX_NAMESPACE
    if not is_name or "\0" in namespace:
        raise ConfigError(f"namespace must have 1 to {_MAX_NAMESPACE} characters: {namespace!r}")
    for name, value, most in (
        ("max_notes", max_notes, _MOST_NOTES),
        ("max_bytes", max_bytes, _MOST_BYTES),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise ConfigError(f"{name} must be an int of 1 to {most:,}, got {value!r}")
    return (
        remember.bind(namespace=namespace, max_notes=max_notes, max_bytes=max_bytes),
        recall.bind(namespace=namespace),
        forget.bind(namespace=namespace),
    )


@_here
async def remember(
    key: str, text: str, namespace: str, max_notes: int, max_bytes: int, *, context: ToolContext
) -> dict[str, int]:
    """Keep a note for later; a note of the same key is replaced.

    Args:
        key: what it is about, in few words.
        text: what is to be remembered.
    """
    if not key.strip() or len(key) > _MAX_KEY:
        raise InputError(f"a key has 1 to {_MAX_KEY} characters that aren't all blank")
    state = context.async_tenant.state
    for _ in range(_TRIES):
        notes = await _notes(state, namespace)
        kept = {**(notes or {}), key: text}
        size = sum(len(part.encode()) for note in kept.items() for part in note)
        if len(kept) > max_notes or size > max_bytes:
            raise InputError(
                f"the memory is full: {len(kept):,} notes of {size:,} bytes, where {max_notes:,} "
                f"of {max_bytes:,} bytes may be; forget some, or shorten this one"
            )
        if await _replace(state, namespace, notes, kept):
            return {"notes": len(kept), "bytes_left": max_bytes - size}
    raise _contended(namespace)


@_here
async def recall(words: str = "", *, namespace: str, context: ToolContext) -> list[dict[str, str]]:
    """Give the notes that were kept, those of the same words, in the order of their keys.

    Args:
        words: that all stand in a note or its key, in whatever case; all notes without any.
    """
    notes = await _notes(context.async_tenant.state, namespace) or {}
    wanted = words.casefold().split()
    return [
        {"key": key, "text": text}
        for key, text in sorted(notes.items())
        if all(word in f"{key}\n{text}".casefold() for word in wanted)
    ]


@_here
async def forget(key: str, *, namespace: str, context: ToolContext) -> bool:
    """Remove a note; tells whether there was one.

    Args:
        key: of the note, as recall tells it.
    """
    state = context.async_tenant.state
    for _ in range(_TRIES):
        notes = await _notes(state, namespace)
        if notes is None or key not in notes:
            return False
        kept = {name: text for name, text in notes.items() if name != key}
        if await _replace(state, namespace, notes, kept):
            return True
    raise _contended(namespace)


async def _notes(state: AsyncState, namespace: str) -> dict[str, str] | None:
    """None where nothing was remembered yet."""
    found: dict[str, str] | None = await state.get((*MEMORY, namespace))
    return found


async def _replace(
    state: AsyncState, namespace: str, notes: dict[str, str] | None, kept: dict[str, str]
) -> bool:
    expected = NOTHING if notes is None else notes
    return await state.compare_and_set((*MEMORY, namespace), expected, kept)


def _contended(namespace: str) -> StateConflict:
    return StateConflict(
        f"the notes of {namespace!r} were changed by others {_TRIES} times meanwhile; try again"
    )
