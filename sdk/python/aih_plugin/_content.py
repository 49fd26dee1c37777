"""What a tool can return, and how it becomes MCP's content."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from typing import Union as _Union

from . import _wit
from ._values import dumps, to_json

__all__ = ["Audio", "Content", "Image", "Output", "Resource", "ResourceLink", "Text"]


@dataclass(frozen=True)
class Text:
    """A text that stands as it is."""

    text: str


@dataclass(frozen=True)
class Image:
    """A picture. The type is seen from the data where it is not given (PNG, JPEG, GIF, WebP)."""

    data: bytes
    mime_type: str = ""


@dataclass(frozen=True)
class Audio:
    """Sound."""

    data: bytes
    mime_type: str = "audio/wav"


@dataclass(frozen=True)
class Resource:
    """A document inside the result: give `text` or `data`."""

    uri: str
    text: str | None = None
    data: bytes | None = None
    mime_type: str | None = None

    def to_block(self) -> dict[str, Any]:
        """MCP's content block."""
        if (self.text is None) == (self.data is None):
            raise TypeError(f"Resource({self.uri!r}) takes either text or data")
        inner: dict[str, Any] = {"uri": self.uri}
        mime_type = self.mime_type or mimetypes.guess_type(self.uri)[0]
        if mime_type:
            inner["mimeType"] = mime_type
        if self.text is not None:
            inner["text"] = self.text
        elif self.data is not None:
            inner["blob"] = base64.b64encode(self.data).decode("ascii")
        return {"type": "resource", "resource": inner}


@dataclass(frozen=True)
class ResourceLink:
    """The address of a document that the client may read later."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None

    def to_block(self) -> dict[str, Any]:
        """MCP's content block."""
        said = {"title": self.title, "description": self.description, "mimeType": self.mime_type, "size": self.size}
        block = {"type": "resource_link", "uri": self.uri, "name": self.name}
        return block | {name: value for name, value in said.items() if value is not None}


Content: TypeAlias = _Union[str, Text, Image, Audio, Resource, ResourceLink]
"""What may stand in a list of contents; a `str` is a text."""
_BLOCKS = (Text, Image, Audio, Resource, ResourceLink)


@dataclass
class Output:
    """A result in full: contents, a JSON object beside them, whether it is an error, and MCP's `_meta`."""

    content: Content | Sequence[Content] = ()
    structured: Any = None
    is_error: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)


def _image_type(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data.startswith(b"GIF8"):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise TypeError("Image: the type of the data is not seen from it; give mime_type")


def _block(value: Any) -> Any:
    kinds = _wit.types("types")
    match value:
        case str():
            return kinds.Content_Text(value)
        case Text():
            return kinds.Content_Text(value.text)
        case Image():
            return kinds.Content_Image(kinds.Blob(value.mime_type or _image_type(value.data), bytes(value.data)))
        case Audio():
            return kinds.Content_Audio(kinds.Blob(value.mime_type, bytes(value.data)))
        case Resource() | ResourceLink():
            return kinds.Content_ResourceJson(dumps(value.to_block()))
    return kinds.Content_Text(dumps(value))


def to_output(value: Any) -> Output:
    """What a function returned, as an `Output`.

    A text is a text; a dict or a dataclass is structured, with its JSON as the text; a list without contents in it
    is structured as `{"result": […]}`; contents, alone or in a list, are contents.
    """
    if isinstance(value, Output):
        return value
    if value is None:
        return Output()
    if isinstance(value, (str, *_BLOCKS)):
        return Output([value])
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("a tool cannot return bytes: return Image, Audio or Resource")
    if isinstance(value, (list, tuple)) and any(isinstance(part, _BLOCKS) for part in value):
        return Output(list(value))
    plain = to_json(value)
    if isinstance(plain, dict):
        return Output(dumps(plain), plain)
    if isinstance(plain, list):
        return Output(dumps(plain), {"result": plain})
    return Output(plain if isinstance(plain, str) else dumps(plain))


def to_wit(output: Output) -> Any:
    """An `Output` as the record of the contract."""
    kinds = _wit.types("types")
    parts: Any = output.content
    if isinstance(parts, (str, *_BLOCKS)):
        parts = [parts]
    blocks = [_block(part) for part in parts]
    structured = None
    if output.structured is not None:
        plain = to_json(output.structured)
        structured = dumps(plain if isinstance(plain, dict) else {"result": plain})
        if not blocks:
            blocks = [kinds.Content_Text(structured)]
    extras = [("meta", dumps(output.meta))] if output.meta else []
    return kinds.Output(blocks, structured, output.is_error, extras)


def error_output(message: str) -> Any:
    """A result that the model sees as an error."""
    return to_wit(Output(message, is_error=True))
