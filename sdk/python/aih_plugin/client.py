"""What the client that made the call offers: its user, its model, its folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _hints, _shapes, _wit
from ._errors import Cancelled, HostError, InvalidRequest, NotGranted, TimedOut, Unsupported
from ._values import dumps

__all__ = ["Answer", "Root", "Sample", "elicit", "roots", "sample"]

_KINDS: dict[str, type[HostError]] = {
    "NotGranted": NotGranted, "Unsupported": Unsupported, "Invalid": InvalidRequest, "TimedOut": TimedOut,
    "Cancelled": Cancelled,
}


@dataclass(frozen=True)
class Answer:
    """What the person answered. `action` is `accept`, `decline` or `cancel`; `content` is there with `accept`."""

    action: str
    content: Any = None

    @property
    def accepted(self) -> bool:
        """Whether the form was filled in."""
        return self.action == "accept"


@dataclass(frozen=True)
class Sample:
    """What the client's model wrote; MCP's result unchanged in `raw`."""

    raw: dict[str, Any]

    @property
    def text(self) -> str:
        """The texts of the answer, joined."""
        content = self.raw.get("content") or []
        blocks = content if isinstance(content, list) else [content]
        return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")

    @property
    def model(self) -> str:
        """Which model answered."""
        return str(self.raw.get("model", ""))


@dataclass(frozen=True)
class Root:
    """A folder or file that the client works on."""

    uri: str
    name: str | None = None


def elicit(message: str, form: type[Any] | Mapping[str, Any]) -> Answer:
    """Asks the person at the client.

    `form` is a dataclass with plain fields (`str`, `int`, `float`, `bool`, a `Literal`), of which the answer's
    content is then an instance, or a JSON Schema.
    """
    shape: _shapes.Shape | None = None
    if isinstance(form, Mapping):
        schema: Any = dict(form)
    else:
        shape = _hints.Hints().shape(form, "client.elicit")
        schema = _shapes.root_schema(shape)
        schema.pop("additionalProperties", None)
    params = {"message": message, "requestedSchema": schema}
    result = json.loads(_ask("client: elicit", lambda host: host.elicit(dumps(params))))
    content = result.get("content")
    if shape is not None and result.get("action") == "accept":
        problems = _shapes.Problems()
        content = shape.load(content if content is not None else {}, "answer", problems)
        if problems:
            raise InvalidRequest(f"client: the form came back wrong: {'; '.join(problems)}")
    return Answer(result.get("action", "cancel"), content)


def sample(prompt: str | Sequence[Mapping[str, Any]], *, max_tokens: int = 1000, system: str | None = None,
           temperature: float | None = None, **more: Any) -> Sample:
    """Asks the client's model. `prompt` is a text, or MCP's list of messages; `more` are further MCP parameters."""
    messages: Any = prompt
    if isinstance(prompt, str):
        messages = [{"role": "user", "content": {"type": "text", "text": prompt}}]
    params: dict[str, Any] = {"messages": messages, "maxTokens": max_tokens, **more}
    if system is not None:
        params["systemPrompt"] = system
    if temperature is not None:
        params["temperature"] = temperature
    return Sample(json.loads(_ask("client: sample", lambda host: host.sample(dumps(params)))))


def roots() -> list[Root]:
    """The folders that the client works on."""
    result = json.loads(_ask("client: roots", lambda host: host.roots()))
    return [Root(root["uri"], root.get("name")) for root in result.get("roots", [])]


def _ask(what: str, question: Callable[[Any], str]) -> str:
    host = _wit.host("client")
    try:
        return question(host)
    except _wit.err_type() as error:
        nothing: str = _wit.raise_host_error(what, error, _KINDS)
        return nothing
