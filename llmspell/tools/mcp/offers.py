"""What an MCP server offers besides tools: prompts, resources and completion."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from llmspell.errors import IdNotFound
from llmspell.tools.context import ToolContext
from llmspell.tools.mcp.caller import InputNeeded, McpCaller
from llmspell.tools.mcp.completion import MAX_COMPLETIONS, completed
from llmspell.tools.mcp.faults import busy, invalid, told
from llmspell.tools.mcp.invoking import kept_by_threads
from llmspell.tools.mcp.prompts import PromptTemplate
from llmspell.tools.mcp.resources import Listed, Offer
from llmspell.tools.mcp.sessions import own_session
from llmspell.tools.tenant_tools import TenantTools

__all__ = ["Offers"]

_MAX_URI: Final = 8_192

ToolsOf = Callable[[Any], TenantTools]


@dataclass(slots=True)
class Offers:
    """Prompts and resources, as the handlers of the SDK's server ask for them.

    Args:
        prompts: by name.
        resources: in the order of their list.
        tools_of: whose a request is.
    """

    prompts: dict[str, PromptTemplate]
    resources: Sequence[Offer]
    tools_of: ToolsOf

    @property
    def completes(self) -> bool:
        """Whether an argument of any of them can be completed."""
        return any(one.complete for one in self.prompts.values()) or any(
            one.template.complete for one in self.resources if one.template is not None
        )

    async def list_prompts(self, context: Any, params: Any) -> Any:
        """All of them, on one page."""
        from mcp import types

        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=one.name,
                    title=one.title,
                    description=one.description,
                    arguments=[
                        types.PromptArgument(
                            name=name, description=about or None, required=is_required
                        )
                        for name, (is_required, about) in one.arguments.items()
                    ],
                )
                for one in self.prompts.values()
            ]
        )

    async def get_prompt(self, context: Any, params: Any) -> Any:
        """The messages of one."""
        from mcp import types

        prompt = self.prompts.get(params.name)
        if prompt is None:
            raise invalid(f"there is no prompt {params.name[:128]!r}")
        try:
            async with self._charged(context, params, prompt.name) as made:
                messages = await prompt.make(params.arguments or {}, made)
        except InputNeeded as needed:
            return needed.result
        return types.GetPromptResult(description=prompt.description, messages=messages)

    async def list_resources(self, context: Any, params: Any) -> Any:
        """A page of them: those of one kind after those of the other."""
        from mcp import types

        tenant = self.tools_of(context).tenant
        place, inner = self._place(None if params is None else params.cursor)
        found: list[Listed] = []
        following = None
        with told("resources", context):
            while place < len(self.resources):
                page = await self.resources[place].page(tenant, inner)
                found += page.resources
                if page.cursor is not None:
                    following = f"{place}:{page.cursor}"
                    break
                place, inner = place + 1, None
        return types.ListResourcesResult(
            resources=[
                types.Resource(
                    uri=one.uri,
                    name=one.name,
                    description=one.description or None,
                    mime_type=one.mime_type,
                    annotations=(
                        types.Annotations(last_modified=one.modified) if one.modified else None
                    ),
                )
                for one in found
            ],
            next_cursor=following,
        )

    async def list_templates(self, context: Any, params: Any) -> Any:
        """All of them, on one page."""
        from mcp import types

        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=one.uri_template,
                    name=one.name,
                    description=one.description or None,
                    mime_type=one.mime_type,
                )
                for one in (offer.template for offer in self.resources)
                if one is not None
            ]
        )

    async def read_resource(self, context: Any, params: Any) -> Any:
        """What one holds."""
        from mcp import types

        uri = str(params.uri)
        with told(uri, context):
            offer = self.offer_of(uri)
        read = offer.reads(uri)
        assert read is not None
        try:
            async with self._charged(context, params, uri) as made:
                found, mime_type = await read(made)
        except InputNeeded as needed:
            return needed.result
        contents: Any
        if isinstance(found, str):
            contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=found)
        else:
            blob = base64.b64encode(found).decode()
            contents = types.BlobResourceContents(uri=uri, mime_type=mime_type, blob=blob)
        return types.ReadResourceResult(contents=[contents])

    async def complete(self, context: Any, params: Any) -> Any:
        """What may be given for an argument."""
        from mcp import types

        ref, argument = params.ref, params.argument
        if isinstance(ref, types.PromptReference):
            prompt = self.prompts.get(ref.name)
            if prompt is None:
                raise invalid(f"there is no prompt {ref.name[:128]!r}")
            completer, name = prompt.complete.get(argument.name), prompt.name
        else:
            name = str(ref.uri)
            templates = [one.template for one in self.resources if one.template is not None]
            found = next((one for one in templates if one.uri_template == name), None)
            if found is None:
                raise invalid(f"there is no template {name[:128]!r}")
            completer = found.complete.get(argument.name)
        values: list[str] = []
        if completer is not None and not callable(completer):
            made = ToolContext(self.tools_of(context).tenant, None, name)  # type: ignore[arg-type]
            values = await completed(completer, argument.value, made)
        elif completer is not None:
            async with self._charged(context, params, name) as made:
                assert made.client is not None
                # Who types isn't asked in between.
                silent = replace(made, client=made.client.within(False))
                values = await completed(completer, argument.value, silent)
        has_more = len(values) > MAX_COMPLETIONS
        return types.CompleteResult(
            completion=types.Completion(
                values=values[:MAX_COMPLETIONS],
                total=None if has_more else len(values),
                has_more=has_more,
            )
        )

    async def set_level(self, context: Any, params: Any) -> Any:
        """The level of logs from which on the session is told."""
        from mcp import types

        own_session().log_level = params.level
        return types.EmptyResult()

    def _place(self, cursor: str | None) -> tuple[int, str | None]:
        if cursor is None:
            return 0, None
        place, _, inner = cursor.partition(":")
        if not place.isascii() or not place.isdigit() or int(place[:9]) >= len(self.resources):
            raise invalid("the cursor is none that was given here")
        return int(place[:9]), inner

    def offer_of(self, uri: str) -> Offer:
        """Whose a URI is; raises IdNotFound where it is nobody's."""
        if len(uri) <= _MAX_URI:
            for offer in self.resources:
                if offer.reads(uri) is not None:
                    return offer
        raise IdNotFound(f"there is no resource {uri[:200]!r}")

    @asynccontextmanager
    async def _charged(self, context: Any, params: Any, name: str) -> AsyncIterator[ToolContext]:
        """A request, charged to its tenant; what goes wrong in it is told as far as it may be."""
        tools = self.tools_of(context)
        with told(name, context):
            async with tools.charged() as operation:
                with ExitStack() as held:
                    place = await tools.place()
                    if place is None:
                        waited = tools.policy.max_wait
                        raise busy(f"too many calls at one time; none ended in {waited:g} s")
                    held.callback(place.give_back)
                    with kept_by_threads(held):
                        caller = McpCaller(context, params)
                        yield ToolContext(tools.tenant, operation, name, caller)
