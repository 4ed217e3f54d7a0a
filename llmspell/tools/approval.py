"""Asking somebody before a tool is called."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llmspell.errors import ToolFailed

if TYPE_CHECKING:
    from llmspell.tools.client import ToolClient

__all__ = ["Approval", "ApprovalHook", "ApprovalPending", "ToolCall", "ask_client"]

#: What a person reads before a yes; more isn't read.
_SHOWN: Final = 4_000
_FORM: Final = {
    "type": "object",
    "properties": {"allow": {"type": "boolean", "title": "Allow this call", "default": False}},
    "required": ["allow"],
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that is to be approved.

    Args:
        tenant: id of the tenant on whose behalf it is.
        tool: name.
        arguments: as they will be used; those that fit the schema alone.
        client: who asked for it, where it can be spoken with; None otherwise.
    """

    tenant: str
    tool: str
    arguments: dict[str, Any]
    client: ToolClient | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Approval:
    """What was decided.

    Args:
        is_given: whether the call may be made.
        reason: told to the model where it may not.
    """

    is_given: bool
    reason: str = ""


class ApprovalPending(Exception):
    """Raised by a hook where nobody decides now: the call is made again later, with an answer."""

    #: Of a span that it leaves.
    is_failure = False


#: Decides, sync or async; True and False are an :class:`Approval` without a reason.
ApprovalHook: TypeAlias = Callable[[ToolCall], bool | Approval | Awaitable[bool | Approval]]


async def ask_client(call: ToolCall) -> Approval:
    """An approval hook that asks whoever is at the client, by a form that shows the call as JSON.

    Signs that aren't printed, or change how others are, are shown by their numbers.

    Take it where those who use the client may decide: a client can answer without asking anybody.
    It is a no where the client can't be asked, where the arguments as JSON have more than 4,000
    characters, and where nobody answers within five minutes.
    """
    if call.client is None:
        return Approval(False, "nobody is there to approve it")
    text = json.dumps(call.arguments, ensure_ascii=False, default=str)
    # A model chose them: what turns round or hides a part would show another call than is made.
    shown = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
    if len(shown) > _SHOWN:
        return Approval(False, "its arguments are too long to be shown to anybody")
    try:
        answer = await call.client.elicit(f"Call the tool {call.tool} with {shown}?", _FORM)
    except ToolFailed as error:
        return Approval(False, str(error))
    if answer.action == "accept" and answer.content.get("allow") is True:
        return Approval(True)
    return Approval(
        False, "the client's user said no" if answer.action != "cancel" else "no answer"
    )
