"""Lines for the operator's log. `logging` and `print` reach it too."""

from __future__ import annotations

import logging
import sys
from typing import Any

from . import _wit
from ._values import dumps

__all__ = ["HubHandler", "debug", "error", "info", "trace", "warning", "write"]


def write(level: str, message: str, **fields: Any) -> None:
    """Writes a line; `level` is trace, debug, info, warn or error, `fields` stand beside the message.

    While the plugin is being built there is no log, and the line goes to the error output of the build.
    """
    if not _wit.active():
        print(f"{level}: {message}", file=sys.stderr)
        return
    levels = _wit.types("log").Level
    _wit.host("log").write(getattr(levels, level.upper()), str(message), _fields(fields) if fields else None)


def _fields(fields: dict[str, Any]) -> str:
    try:
        return dumps(fields)
    except (TypeError, ValueError):
        return dumps({name: repr(value) for name, value in fields.items()})


def trace(message: str, **fields: Any) -> None:
    """The finest detail."""
    write("trace", message, **fields)


def debug(message: str, **fields: Any) -> None:
    """What helps to find a fault."""
    write("debug", message, **fields)


def info(message: str, **fields: Any) -> None:
    """What an operator may want to know."""
    write("info", message, **fields)


def warning(message: str, **fields: Any) -> None:
    """What an operator should look at."""
    write("warn", message, **fields)


def error(message: str, **fields: Any) -> None:
    """What went wrong."""
    write("error", message, **fields)


class HubHandler(logging.Handler):
    """Sends the records of `logging` to the hub. It is on the root logger from the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, with the logger's name and the traceback as fields."""
        try:
            fields: dict[str, Any] = {"logger": record.name}
            if record.exc_info and record.exc_info[0] is not None:
                fields["traceback"] = (self.formatter or logging.Formatter()).formatException(record.exc_info)
            level = ("error" if record.levelno >= logging.ERROR else "warn" if record.levelno >= logging.WARNING else
                     "info" if record.levelno >= logging.INFO else "debug" if record.levelno >= logging.DEBUG else "trace")
            write(level, record.getMessage(), **fields)
        except Exception:
            self.handleError(record)


def _install() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, HubHandler) for handler in root.handlers):
        root.addHandler(HubHandler())
        if root.level == logging.WARNING:
            root.setLevel(logging.INFO)
