"""What clients of MCP may read: fixed resources, templates, and a tenant's documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from llmspell.errors import ConfigError
from llmspell.tenancy import AsyncTenant, Tenant
from llmspell.tools.arguments import context_parameter, parameters
from llmspell.tools.context import ToolContext
from llmspell.tools.mcp.completion import Completer, Completions, checked_completions
from llmspell.tools.mcp.invoking import invoked
from llmspell.tools.mcp.sdk import require_mcp

__all__ = ["Listed", "ListedPage", "Offer", "Resource", "ResourceTemplate", "Template"]

MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A resource as a client is told of it."""

    uri: str
    name: str
    description: str = ""
    mime_type: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Some of them; the cursor goes on behind them."""

    resources: list[Listed]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template of URIs as a client is told of it."""

    uri_template: str
    name: str
    description: str
    mime_type: str | None = None
    complete: Mapping[str, Completer]


class Offer(Protocol):
    """Resources of one kind."""

    @property
    def template(self) -> Template | None:
        """Of their URIs, where they have one."""

    async def page(self, tenant: Tenant | AsyncTenant, cursor: str | None) -> ListedPage:
        """Those that are listed, page by page."""

    def reads(self, uri: str) -> Callable[[ToolContext], Any] | None:
        """What reads a URI, awaited: a text or bytes, and its type; None for another's URI."""

    async def mark(self, tenant: Tenant | AsyncTenant, uri: str) -> object | None:
        """What is other when the resource is; None where only the program can tell."""


class Resource:
    """One resource; given to :class:`McpServer`. Immutable.

    Args:
        uri: such as ``"notes://today"``.
        read: a function that gives its text or bytes, sync, which runs in a thread, or async; an
            argument of type :class:`llmspell.tools.ToolContext` is given to it. At most 4 MiB.
        name: for people; the URI where None.
        description: what it is.
        mime_type: of what is read.

    Raises:
        ConfigError: a URI without a scheme, or a function with other arguments.
    """

    template = None

    def __init__(
        self,
        uri: str,
        read: Callable[..., Any],
        *,
        name: str | None = None,
        description: str = "",
        mime_type: str = "text/plain",
    ) -> None:
        self.uri = _checked_uri(uri)
        self._read = _Reader(uri, read, set())
        self._listed = Listed(
            uri=uri, name=name or uri, description=description, mime_type=mime_type
        )
        self._mime_type = mime_type

    def __repr__(self) -> str:
        return f"Resource({self.uri!r})"

    async def page(self, tenant: Tenant | AsyncTenant, cursor: str | None) -> ListedPage:
        """It alone."""
        return ListedPage([self._listed])

    def reads(self, uri: str) -> Callable[[ToolContext], Any] | None:
        """What reads it."""
        return self._read.with_values({}, self._mime_type) if uri == self.uri else None

    async def mark(self, tenant: Tenant | AsyncTenant, uri: str) -> None:
        """None: only the program can tell."""
        return None


class ResourceTemplate:
    """Resources whose URIs fit a template; given to :class:`McpServer`. Immutable.

    Args:
        uri_template: of RFC 6570, such as ``"notes://{day}"``.
        read: as of a :class:`Resource`; the template's variables are its arguments, each a str.
            Clients choose them: an absolute path, or one with ``..`` out of its folder, reads as
            what isn't there.
        name: for people.
        description: what they are.
        mime_type: of what is read.
        complete: see :class:`PromptTemplate`.

    Raises:
        ConfigError: a template that can't be used, or a function with other arguments.
    """

    def __init__(
        self,
        uri_template: str,
        read: Callable[..., Any],
        *,
        name: str,
        description: str = "",
        mime_type: str = "text/plain",
        complete: Completions | None = None,
    ) -> None:
        require_mcp()
        from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

        try:
            self._parsed = UriTemplate.parse(_checked_uri(uri_template))
        except InvalidUriTemplate as error:
            raise ConfigError(
                f"{uri_template!r} is no template that can be used: {error}"
            ) from None
        names = {variable.name for variable in self._parsed.variables}
        self._read = _Reader(uri_template, read, names)
        self._mime_type = mime_type
        self.template = Template(
            uri_template=uri_template,
            name=name,
            description=description,
            mime_type=mime_type,
            complete=checked_completions(uri_template, complete, names),
        )

    def __repr__(self) -> str:
        return f"ResourceTemplate({self.template.uri_template!r})"

    async def page(self, tenant: Tenant | AsyncTenant, cursor: str | None) -> ListedPage:
        """None: they aren't listed."""
        return ListedPage([])

    def reads(self, uri: str) -> Callable[[ToolContext], Any] | None:
        """What reads one; a value that would climb out of a folder is none of its URIs."""
        from mcp.shared.path_security import contains_path_traversal, is_absolute_path

        values = self._parsed.match(uri)
        if values is None:
            return None
        for value in values.values():
            parts = value if isinstance(value, list) else [value]
            if any(
                "\0" in part or contains_path_traversal(part) or is_absolute_path(part)
                for part in parts
            ):
                return None
        return self._read.with_values(values, self._mime_type)

    async def mark(self, tenant: Tenant | AsyncTenant, uri: str) -> None:
        """None: only the program can tell."""
        return None


class _Reader:
    """A function that reads, with the arguments that it is to have."""

    def __init__(self, uri: str, read: Callable[..., Any], names: set[str]) -> None:
        if not callable(read):
            raise ConfigError(f"{uri}: a resource is read by a function, got {read!r}")
        self._function = read
        takes = parameters(read)
        self._context_name = context_parameter(takes)
        wanted = {one.name for one in takes} - {self._context_name}
        if wanted != names:
            raise ConfigError(
                f"{uri}: its function must have the arguments {sorted(names)}, and may have a "
                f"ToolContext; it has {sorted(wanted)}"
            )

    def with_values(
        self, values: Mapping[str, Any], mime_type: str
    ) -> Callable[[ToolContext], Any]:
        async def read(context: ToolContext) -> tuple[str | bytes, str]:
            given = dict(values)
            if self._context_name is not None:
                given[self._context_name] = context
            found = await invoked(lambda: self._function(**given), self._function)
            if not isinstance(found, str | bytes):
                raise TypeError(f"a resource is text or bytes, got {type(found).__name__}")
            size = len(found.encode()) if isinstance(found, str) else len(found)
            if size > MAX_BYTES:
                raise ValueError(f"a resource has at most {MAX_BYTES:,} bytes, got {size:,}")
            return found, mime_type

        return read


def _checked_uri(uri: object) -> str:
    scheme = uri.partition("://")[0] if isinstance(uri, str) else ""
    if not isinstance(uri, str) or "://" not in uri or not scheme.isascii() or not scheme:
        raise ConfigError(f"a resource's URI begins with a scheme and '://', got {uri!r}")
    return uri
