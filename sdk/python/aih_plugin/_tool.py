"""`@tool`: a function becomes an MCP tool."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from . import _docs, _hints, _shapes
from ._errors import InvalidArguments

__all__ = ["tool"]

F = TypeVar("F", bound=Callable[..., Any])
# The hub puts `{plugin}__` in front, and 64 characters are all there is.
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,48}$")


@dataclass
class Tool:
    """A tool as it is registered."""

    name: str
    title: str | None
    description: str
    function: Callable[..., Any]
    arguments: _shapes.Object
    output: _shapes.Object | None
    annotations: dict[str, Any]
    #: Parameters that cannot be given by name.
    positional: tuple[str, ...]

    def load(self, arguments: Any) -> tuple[list[Any], dict[str, Any]]:
        """Checks and converts the arguments of a call. It reports all problems at once."""
        problems = _shapes.Problems()
        values: dict[str, Any] | None = self.arguments.load(arguments, "", problems)
        if problems or values is None:
            raise InvalidArguments("; ".join(problems))
        return [values.pop(name) for name in self.positional if name in values], values

    def check_output(self, plain: Any) -> None:
        """Whether what is returned fits what the annotation promises; the client may check it too."""
        if self.output is None:
            return
        problems = _shapes.Problems()
        self.output.load(plain, "result", problems)
        if problems:
            raise TypeError(f"the tool `{self.name}` returned what its annotation does not say: {'; '.join(problems)}")

    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return _shapes.root_schema(self.arguments)

    def output_schema(self) -> dict[str, Any] | None:
        """JSON Schema of the structured result."""
        return None if self.output is None else _shapes.root_schema(self.output)


registry: dict[str, Tool] = {}


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(name: str | None = None, /, *, title: str | None = None, description: str | None = None,
         read_only: bool | None = None, destructive: bool | None = None, idempotent: bool | None = None,
         open_world: bool | None = None) -> Callable[[F], F]: ...


def tool(what: Any = None, /, *, title: str | None = None, description: str | None = None,
         read_only: bool | None = None, destructive: bool | None = None, idempotent: bool | None = None,
         open_world: bool | None = None) -> Any:
    """Offers a function, sync or async, as a tool.

    The name is the function's, unless one is given; the description and those of the parameters come from the
    docstring, the schemas from the type hints. The function itself stays as it is.

    Args:
        what: The function, or the name of the tool.
        title: A name for people.
        description: In place of the docstring's.
        read_only: The tool changes nothing.
        destructive: What it changes may be lost.
        idempotent: The same call again changes nothing more.
        open_world: It reaches things outside, such as the web.
    """
    if isinstance(what, str) or what is None:
        return lambda function: _register(function, what, title, description, read_only, destructive, idempotent,
                                          open_world)
    return _register(what, None, title, description, read_only, destructive, idempotent, open_world)


def _register(function: F, name: str | None, title: str | None, description: str | None, read_only: bool | None,
              destructive: bool | None, idempotent: bool | None, open_world: bool | None) -> F:
    if not callable(function):
        raise TypeError(f"@tool is for functions, not for {function!r}")
    name = name or function.__name__
    if not _NAME.match(name):
        raise ValueError(f"@tool: {name!r} cannot be the name of a tool: use 1 to 48 of A-Z a-z 0-9 _ and -")
    if name in registry and registry[name].function.__code__ is not getattr(function, "__code__", None):
        raise ValueError(f"@tool: two tools are called {name!r}")
    doc = _docs.parse(inspect.getdoc(function))
    said = {"title": title, "readOnlyHint": read_only, "destructiveHint": destructive, "idempotentHint": idempotent,
            "openWorldHint": open_world}
    registry[name] = Tool(
        name=name,
        title=title,
        description=description if description is not None else doc.description,
        function=function,
        arguments=_hints.parameters(function, doc),
        output=_hints.output(function),
        annotations={key: value for key, value in said.items() if value is not None},
        positional=tuple(key for key, parameter in inspect.signature(function).parameters.items()
                         if parameter.kind is inspect.Parameter.POSITIONAL_ONLY),
    )
    return function
