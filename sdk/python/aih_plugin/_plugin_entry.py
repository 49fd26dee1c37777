"""The module that is given to componentize-py for the world `plugin`."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

from . import _content, _rehearsal, _run, _start, _tool, _values, _wit  # noqa: F401
from ._errors import AihError, Denied, HostError, InvalidArguments, Unavailable

try:
    from wit_world.exports import Tools as _Base  # type: ignore[import-not-found]
except ModuleNotFoundError:  # In tests.
    _Base = object

if not _tool.registry:
    raise RuntimeError("the plugin offers no tool: put @tool above a function")


class Tools(_Base):  # type: ignore[misc]
    """The exports of `aih:plugin/tools`."""

    def list_tools(self) -> list[Any]:
        """Every registered tool."""
        make = _wit.types("types").Tool
        return [
            make(
                tool.name, tool.title, tool.description, json.dumps(tool.input_schema(), ensure_ascii=False),
                None if (schema := tool.output_schema()) is None else json.dumps(schema, ensure_ascii=False),
                json.dumps(tool.annotations) if tool.annotations else None, [],
            )
            for tool in _tool.registry.values()
        ]

    async def call_tool(self, call: Any) -> Any:
        """Runs a tool. Whatever it raises becomes a result or a failure: nothing may trap the component."""
        # The generated `Err` is a frozen dataclass: `contextlib` cannot carry it out, so it is raised at the very end.
        failed = ("Other", "the call did not end")
        with _run.call(call.call_id, call.tool, call.deadline_ms, call.extras):
            try:
                return _call(call)
            except _UnknownTool as error:
                failed = ("UnknownTool", str(error))
            except InvalidArguments as error:
                failed = ("InvalidArguments", str(error))
            except Denied as error:
                failed = ("Denied", str(error))
            except Unavailable as error:
                failed = ("Unavailable", str(error))
            except AihError as error:
                if isinstance(error, HostError):
                    _run.log_traceback(f"tool {call.tool}", error)
                return _content.error_output(str(error) or type(error).__name__)
            except BaseException as error:
                _run.log_traceback(f"tool {call.tool}", error)
                return _content.error_output(_run.describe(error))
        raise _wit.failure(*failed)


class _UnknownTool(Exception):
    pass


def _call(call: Any) -> Any:
    tool = _tool.registry.get(call.tool)
    if tool is None:
        raise _UnknownTool(f"there is no tool {call.tool!r}; known are {', '.join(_tool.registry)}")
    try:
        arguments = json.loads(call.arguments_json or "{}")
    except ValueError as error:
        raise InvalidArguments(f"the arguments are not JSON: {error}") from None
    args, kwargs = tool.load({} if arguments is None else arguments)
    del arguments
    output = _content.to_output(_run.invoke(tool.function, args, kwargs))
    if output.structured is not None and not output.is_error:
        tool.check_output(_values.to_json(output.structured))
    return _content.to_wit(output)


def _rehearse() -> None:
    def rehearsal(text: str, count: int = 1) -> str:
        return text * count

    arguments = itertools.cycle(['{"text":"a"}', '{"text":"a","count":2}'])

    def call() -> Any:
        return _wit.types("types").Call("c", "rehearsal", next(arguments), 1000, [("principal", "p")])

    registered = _tool.registry.copy()
    _tool.registry.clear()
    _tool.tool(rehearsal)
    try:
        _rehearsal.run(Tools(), "call_tool", call)
    finally:
        _tool.registry.clear()
        _tool.registry.update(registered)


if sys.platform == "wasi":
    _rehearse()
