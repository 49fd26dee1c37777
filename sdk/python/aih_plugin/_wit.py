"""The one place that touches the modules which the component's build generates from the WIT files.

Outside a component there is no `wit_world`; `aih_plugin.testing` puts its own in place. While the component is being
built the host cannot be called: its functions are traps then, so that asking is turned into an error that says so.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from ._errors import HostError, NotGranted

_INTERFACES = ("log", "config", "state", "mcp", "http", "progress", "client", "types")


class _Modules:
    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.err: type[BaseException] = type("Err", (Exception,), {})
        self.active = False
        self.rehearsing = False
        try:
            self.err = importlib.import_module("componentize_py_types").Err
            for name in _INTERFACES:
                self.table[name] = importlib.import_module(f"wit_world.imports.{name}")
        except ModuleNotFoundError:
            pass


_modules = _Modules()


def types(name: str) -> Any:
    """The generated module of an interface, for its types."""
    try:
        return _modules.table[name]
    except KeyError:
        raise RuntimeError(
            f"there is no hub here to ask for `{name}`; in tests use `aih_plugin.testing.Host`"
        ) from None


def host(name: str) -> Any:
    """The generated module of an interface, for its functions."""
    module = types(name)
    if not _modules.active:
        raise RuntimeError(
            f"the hub cannot be asked for `{name}` while the plugin is built: "
            "its top level runs once, at build time; ask from within a tool"
        )
    return module


def active() -> bool:
    """Whether a call is going on, so that the host may be asked."""
    return _modules.active and bool(_modules.table)


def set_active(value: bool) -> None:
    """Said at a call's begin and end. In a rehearsal there is no host."""
    _modules.active = value and not _modules.rehearsing


def set_rehearsing(value: bool) -> None:
    """Said while the calls are not real ones."""
    _modules.rehearsing = value


def err_type() -> type[BaseException]:
    """The exception that generated code raises for a WIT `err`, and takes for one."""
    return _modules.err


def failure(case: str, message: str) -> BaseException:
    """An `err(failure)` for the component's own exports."""
    make: Any = _modules.err
    made: BaseException = make(getattr(types("types"), f"Failure_{case}")(message))
    return made


def raise_host_error(what: str, error: BaseException, kinds: dict[str, type[HostError]]) -> Any:
    """Raises the exception for a WIT error variant. `kinds` maps the case's name to its class."""
    value = getattr(error, "value", None)
    case = type(value).__name__.removeprefix("Error_")
    detail = getattr(value, "value", None)
    text = f"{what}: {detail}" if isinstance(detail, str) and detail else f"{what}: {_WORDS.get(case, case)}"
    kind = kinds.get(case, HostError)
    if kind is NotGranted and isinstance(detail, str) and detail:
        text = f"{what}: not granted: {detail}"
    raise kind(text) from None


_WORDS = {
    "NotGranted": "the operator's configuration does not grant it",
    "TimedOut": "no answer in time",
    "Cancelled": "the call was cancelled",
    "DepthExceeded": "plugins call one another too deeply",
}


def install(table: dict[str, Any], err: type[BaseException]) -> SimpleNamespace:
    """Puts other modules in place, and answers what was there. For tests."""
    before = SimpleNamespace(table=_modules.table, err=_modules.err, active=_modules.active)
    _modules.table, _modules.err = table, err
    return before


def restore(before: SimpleNamespace) -> None:
    """Undoes `install`."""
    _modules.table, _modules.err, _modules.active = before.table, before.err, before.active
