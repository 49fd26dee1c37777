"""Keys and values that belong to this plugin and outlive the call. Each call has a fresh sandbox: this is its memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import _wit
from ._errors import Conflict, HostError, NotGranted, QuotaExceeded
from ._values import dumps

__all__ = ["Entry", "delete", "entry", "get", "get_json", "keys", "set", "set_json", "update_json"]

_PAGE = 1000
_TRIES = 100
_KINDS = {"NotGranted": NotGranted, "Quota": QuotaExceeded}


@dataclass(frozen=True)
class Entry:
    """A value, and the version that a later `set` can expect."""

    value: bytes
    version: int

    @property
    def text(self) -> str:
        """The value as UTF-8."""
        return self.value.decode("utf-8")

    def json(self) -> Any:
        """The value read as JSON."""
        return json.loads(self.value)


def entry(key: str) -> Entry | None:
    """The value of a key with its version, or `None`."""
    return _entry(_ask(f"state: get {key!r}", lambda host: host.get(key)))


def _entry(found: Any) -> Entry | None:
    return None if found is None else Entry(bytes(found.value), found.version)


def get(key: str, default: bytes | None = None) -> bytes | None:
    """The value of a key, or `default` where it has none."""
    found = entry(key)
    return default if found is None else found.value


def get_json(key: str, default: Any = None) -> Any:
    """The value of a key read as JSON, or `default` where it has none."""
    found = entry(key)
    return default if found is None else found.json()


def set(key: str, value: bytes | str, expect: int | None = None) -> int:
    """Writes a value and answers its version.

    `expect` is the version that was last read, 0 for a key without a value; where another call was first it raises
    `Conflict`. Without `expect` it writes over whatever is there. Raises `QuotaExceeded` where it does not fit.
    """
    data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    version: int = _ask(f"state: set {key!r}", lambda host: host.set(key, data, expect))
    return version


def set_json(key: str, value: Any, expect: int | None = None) -> int:
    """Like `set`, with a value that is written as JSON."""
    return set(key, dumps(value), expect)


def update_json(key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
    """Writes `change(value)` and answers it, however many calls do so at the same time.

    Calls of this function take turns at a key, within their time. Where another call was faster all the same, because
    it wrote without this function or `change` took longer than a second, it reads anew and does it again. Raises
    `HostError` after 100 tries: `change` writes the key itself.

    >>> state.update_json("count", lambda n: n + 1, default=0)
    """
    for _ in range(_TRIES):
        found = _entry(_ask(f"state: update {key!r}", lambda host: host.get_for_update(key)))
        value = change(default if found is None else found.json())
        try:
            set_json(key, value, expect=0 if found is None else found.version)
            return value
        except Conflict:
            continue
    raise HostError(f"state: {key!r} changed {_TRIES} times while it was being updated")


def delete(key: str) -> None:
    """Removes a key. Removing a key that is not there is not an error."""
    _ask(f"state: delete {key!r}", lambda host: host.delete(key))


def keys(prefix: str = "") -> Iterator[str]:
    """The keys that begin with `prefix`, in order."""
    cursor: str | None = None
    while True:
        page, cursor = _ask("state: keys", lambda host: host.keys(prefix, cursor, _PAGE))
        yield from page
        if cursor is None:
            return


def _ask(what: str, question: Callable[[Any], Any]) -> Any:
    host = _wit.host("state")
    try:
        return question(host)
    except _wit.err_type() as error:
        value = getattr(error, "value", None)
        if type(value).__name__ == "Error_Conflict":
            version: int = getattr(value, "value", 0)
            raise Conflict(f"{what}: another call changed it; its version is {version} now", version) from None
        return _wit.raise_host_error(what, error, dict(_KINDS))
