"""Tools: functions, and objects with state, that a model may call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Generic, ParamSpec, Self, TypeVar, Unpack

from llmspell.errors import ConfigError
from llmspell.tools.arguments import Arguments, context_parameter, parameters
from llmspell.tools.docstring import Described, describe
from llmspell.tools.options import OptionValues, ToolOptions
from llmspell.tools.spec import ToolSpec

__all__ = ["ArgumentCheck", "FunctionTool", "Tool"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Looks at arguments that fit the schema, in this process, and gives those that are to be used.
ArgumentCheck = Callable[[dict[str, Any]], Mapping[str, Any]]


class Tool:
    """A tool that is an object. Derive a class from it with a typed method ``run``, sync or async.

    Such a tool keeps its state in this process, so it runs here: its options say ``trusted=True``.
    Calls may come from several threads at once. What its class says as ``name``, ``description``
    and ``options`` an object may say for itself; without the first two the names and the docstring
    of the class, or of ``run``, are told. For a function there is :func:`tool`.

    One that holds something, such as a connection, has a method ``close`` without arguments, sync
    or async, which is called when the :class:`ToolRegistry` that it is in is closed. Calls aren't
    waited for then: one that is late may run on in its thread.
    """

    name: str = ""
    description: str = ""
    options: ToolOptions = ToolOptions()

    #: The method of derived classes, of whatever arguments.
    run: ClassVar[Callable[..., Any]]
    #: The method of those that hold something.
    close: ClassVar[Callable[..., Any]]

    @property
    def function(self) -> Callable[..., Any]:
        """What a call runs."""
        found = getattr(self, "run", None)
        if not callable(found):
            raise ConfigError(f"{type(self).__name__} has no method run")
        return found  # type: ignore[no-any-return]

    @property
    def own_name(self) -> str:
        """The name that it is called by; of a class, without one, its own in lower case."""
        return self.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def bound(self) -> Mapping[str, Any]:
        """Arguments that are fixed, and that no model sees."""
        return {}

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether what it runs is to be awaited."""
        function = self.function
        call = getattr(type(function), "__call__", None)  # noqa: B004
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    @functools.cached_property
    def context_name(self) -> str | None:
        """Name of the argument that takes the :class:`ToolContext`, if there is one."""
        return context_parameter(self._takes)

    @functools.cached_property
    def spec(self) -> ToolSpec:
        """What a model is told of it; made when it is first asked for.

        Raises:
            ConfigError: a name that models' interfaces don't take, no description, or arguments
                that JSON Schema can't describe.
            MissingDependency: the extra ``tools`` is not installed.
        """
        name, options = self.own_name, self.options
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"a tool's name is 1 to 64 of the letters, digits, _ and -; got {name!r}"
            )
        description = self.description or self._said.summary or self._of_class()
        if not description:
            raise ConfigError(f"{name}: a model is told what a tool does; give it a docstring")
        timeout = options.timeout
        if timeout is None and options.requirements is not None:
            timeout = options.requirements.timeout_seconds
        assert not isinstance(options.level, str) and options.level is not None
        return ToolSpec(
            name=name,
            description=description,
            parameters=self._schema(),
            level=options.level,
            is_confined=not options.trusted,
            timeout=timeout,
            cost=options.cost,
            needs_approval=options.needs_approval,
            idempotent=options.idempotent,
        )

    def validate(self, arguments: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """The arguments as ``run`` takes them: of its types, and those that are fixed with them.

        Args:
            arguments: by name, or as JSON.

        Raises:
            InvalidArguments: they don't fit the schema; the message names each mistake.
            MissingDependency: the extra ``tools`` is not installed.
        """
        return {**self._arguments.validated(arguments), **self.bound}

    def _schema(self) -> dict[str, Any]:
        return self._arguments.schema

    def _of_class(self) -> str:
        own = type(self).__doc__
        return "" if own is None or type(self) is Tool else inspect.cleandoc(own)

    @functools.cached_property
    def _arguments(self) -> Arguments:
        hidden = {*self.bound, self.context_name}
        given = [parameter for parameter in self._takes if parameter.name not in hidden]
        return Arguments(self.function, given, self._said.arguments)

    @functools.cached_property
    def _takes(self) -> list[inspect.Parameter]:
        return parameters(self.function)

    @functools.cached_property
    def _said(self) -> Described:
        return describe(self.function)


class FunctionTool(Tool, Generic[_P, _R]):
    """A function as a tool, made by :func:`tool`; it can be called as before. Immutable."""

    def __init__(
        self,
        function: Callable[_P, _R],
        *,
        name: str | None = None,
        description: str | None = None,
        options: ToolOptions | None = None,
        bound: Mapping[str, Any] | None = None,
        check: ArgumentCheck | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigError(f"a tool is made of a function, got {function!r}")
        if isinstance(function, functools.partial):
            raise ConfigError(
                f"a tool is made of a function, got {function!r:.200}; make one of its func, and "
                "fix the arguments by bind"
            )
        self._function = function
        self.name = getattr(function, "__name__", "") if name is None else name
        self.description = description or ""
        self.options = options or ToolOptions()
        self._bound = dict(bound or {})
        self._check = check
        names = {parameter.name for parameter in self._takes}
        unknown = self._bound.keys() - names
        if unknown:
            raise ConfigError(f"{self.name} has no argument {min(unknown)!r}")
        if self.context_name is not None and not self.options.trusted:
            raise ConfigError(
                f"{self.name}: a confined tool can't be given the context, which holds the "
                "tenant's handle; leave it out, or make the tool trusted"
            )
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *given: _P.args, **named: _P.kwargs) -> _R:
        return self._function(*given, **named)

    def __repr__(self) -> str:
        return f"FunctionTool({self.name!r})"

    @property
    def function(self) -> Callable[..., Any]:
        """The function."""
        return self._function

    @property
    def bound(self) -> Mapping[str, Any]:
        """Arguments that are fixed."""
        return self._bound

    def validate(self, arguments: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
        """As :meth:`Tool.validate`; what was given by :meth:`checked` looks at them too."""
        found = super().validate(arguments)
        return found if self._check is None else dict(self._check(found))

    def bind(self, **fixed: Any) -> Self:
        """The tool with arguments fixed: they leave its schema.

        Raises:
            ConfigError: it has no argument of that name.
        """
        return self._changed(bound={**self._bound, **fixed})

    def checked(self, check: ArgumentCheck) -> Self:
        """The tool with a check of its arguments, which runs in this process before the call.

        The check raises :class:`~llmspell.errors.InvalidArguments`, or a
        :class:`~llmspell.errors.SecurityError` to refuse; otherwise it gives the arguments to use.
        """
        return self._changed(check=check)

    def with_options(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[OptionValues],
    ) -> Self:
        """The tool under another name, another description, or with other :class:`ToolOptions`."""
        return self._changed(
            name=self.name if name is None else name,
            description=self.description if description is None else description,
            options=self.options.with_changes(**options),
        )

    def _of_class(self) -> str:
        return ""

    def _changed(self, **changes: Any) -> Self:
        kept = {
            "name": self.name,
            "description": self.description,
            "options": self.options,
            "bound": self._bound,
            "check": self._check,
        }
        return type(self)(self._function, **{**kept, **changes})
