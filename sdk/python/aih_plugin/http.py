"""HTTP to the addresses that `grants.http` allows."""

from __future__ import annotations

import json as _json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from typing import Union as _Union
from urllib.parse import urlencode

from . import _wit
from ._errors import ConnectionFailed, HostError, InvalidRequest, NotGranted, TimedOut, ToolError, TooLarge
from ._values import dumps

__all__ = ["Headers", "Response", "StatusError", "delete", "get", "head", "patch", "post", "put", "request"]

_KINDS: dict[str, type[HostError]] = {
    "NotGranted": NotGranted, "Invalid": InvalidRequest, "TimedOut": TimedOut, "Connection": ConnectionFailed,
}
Params: TypeAlias = _Union[Mapping[str, Any], Sequence[tuple[str, Any]]]


class StatusError(ToolError):
    """The server answered with a status of 400 or more. `response` is the answer."""

    def __init__(self, message: str, response: Response) -> None:
        super().__init__(message)
        self.response = response


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case. A header that came several times is joined by commas."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        self._table: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self._table.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._table[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def get_all(self, name: str) -> list[str]:
        """Each value of a header by itself, for `set-cookie`."""
        return list(self._table.get(name.lower(), []))


@dataclass(frozen=True)
class Response:
    """An answer, read whole."""

    status: int
    #: The address that answered, after redirects.
    url: str
    headers: Headers
    content: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def text(self) -> str:
        """The body as text, by the charset of its type, else as UTF-8."""
        charset = "utf-8"
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset" and value.strip():
                charset = value.strip().strip("\"'")
        try:
            return self.content.decode(charset, "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body read as JSON."""
        return _json.loads(self.content)

    def raise_for_status(self) -> Response:
        """Answers itself, or raises `StatusError` where the status is 400 or more."""
        if not self.ok:
            raise StatusError(f"{self.url} answered {self.status}: {self.text[:200].strip()}".rstrip(": "), self)
        return self


def request(method: str, url: str, *, params: Params | None = None, headers: Mapping[str, str] | None = None,
            json: Any = None, data: bytes | str | Params | None = None, timeout: float | None = None,
            follow_redirects: bool = True) -> Response:
    """Sends a request and reads the whole answer.

    Args:
        method: Such as `GET`.
        url: Absolute, http or https.
        params: What is added to the query.
        headers: Headers of the request.
        json: A body that is written as JSON.
        data: A body as it is, or, given as a dict or pairs, as a form.
        timeout: Seconds for the whole exchange. The call's own deadline holds besides.
        follow_redirects: At most 10, each address checked by the hub.

    Raises:
        NotGranted: `grants.http` does not allow the address.
        InvalidRequest, TimedOut, TooLarge, ConnectionFailed, HostError: As they say.
    """
    kinds = _wit.types("http")
    if params:
        base, hash_mark, fragment = url.partition("#")
        url = f"{base}{'&' if '?' in base else '?'}{urlencode(params, doseq=True)}{hash_mark}{fragment}"
    pairs = [(str(name), str(value)) for name, value in (headers or {}).items()]
    names = {name.lower() for name, _ in pairs}
    body: bytes | None = None
    kind: str | None = None
    if json is not None:
        if data is not None:
            raise TypeError("http: give json or data, not both")
        body, kind = dumps(json).encode("utf-8"), "application/json"
    elif isinstance(data, str):
        body, kind = data.encode("utf-8"), "text/plain; charset=utf-8"
    elif isinstance(data, (bytes, bytearray, memoryview)):
        body = bytes(data)
    elif data is not None:
        body, kind = urlencode(data, doseq=True).encode("ascii"), "application/x-www-form-urlencoded"
    if kind and "content-type" not in names:
        pairs.append(("content-type", kind))
    if not follow_redirects:
        pairs.append(("aih-redirect", "manual"))
    milliseconds = None if timeout is None else max(1, round(timeout * 1000))
    sent = kinds.Request(method.upper(), url, pairs, body, milliseconds)
    host = _wit.host("http")
    try:
        got = host.send(sent)
    except _wit.err_type() as error:
        value = getattr(error, "value", None)
        what = f"http: {method.upper()} {url}"
        if type(value).__name__ == "Error_TooLarge":
            limit: int = getattr(value, "value", 0)
            raise TooLarge(f"{what}: the response is larger than {limit} bytes", limit) from None
        nothing: Response = _wit.raise_host_error(what, error, _KINDS)
        return nothing
    return Response(got.status, got.url, Headers(got.headers), bytes(got.body))


def get(url: str, **options: Any) -> Response:
    """`request("GET", …)`."""
    return request("GET", url, **options)


def head(url: str, **options: Any) -> Response:
    """`request("HEAD", …)`."""
    return request("HEAD", url, **options)


def post(url: str, **options: Any) -> Response:
    """`request("POST", …)`."""
    return request("POST", url, **options)


def put(url: str, **options: Any) -> Response:
    """`request("PUT", …)`."""
    return request("PUT", url, **options)


def patch(url: str, **options: Any) -> Response:
    """`request("PATCH", …)`."""
    return request("PATCH", url, **options)


def delete(url: str, **options: Any) -> Response:
    """`request("DELETE", …)`."""
    return request("DELETE", url, **options)
