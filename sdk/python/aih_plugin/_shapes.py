"""What JSON a type takes: each shape gives its JSON Schema, and checks and converts a value."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ._field import Field
from ._values import to_json

Schema = dict[str, Any]
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()


class Problems(list[str]):
    """What is wrong with a value, each with its path."""

    def add(self, path: str, message: str) -> Any:
        self.append(f"{path or 'arguments'}: {message}")
        return None


class Context:
    """Knows which types a schema is in, to find those that contain themselves."""

    def __init__(self) -> None:
        self.open: list[Any] = []


def child(path: str, name: str | int) -> str:
    """The path of a part: `a.b`, `a[0]`."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def show(value: Any) -> str:
    """A value for an error message: its kind, and the value where it is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            text = json.dumps(value, ensure_ascii=False)
            return f"the string {text}" if len(text) <= 60 else f"a string of {len(value)} characters"
        case list():
            return "an array"
        case dict():
            return "an object"
    return type(value).__name__


class Shape:
    """Anything, and the base of the others."""

    words = "anything"

    def schema(self, context: Context) -> Schema:
        return {}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        return value

    def wrong(self, value: Any, path: str, problems: Problems) -> Any:
        return problems.add(path, f"expected {self.words}, got {show(value)}")


class Scalar(Shape):
    """A string, a number, a boolean or null."""

    def __init__(self, name: str, words: str, test: Callable[[Any], bool], convert: Callable[[Any], Any] | None = None):
        self.name, self.words, self.test, self.convert = name, words, test, convert

    def schema(self, context: Context) -> Schema:
        return {"type": self.name}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not self.test(value):
            return self.wrong(value, path, problems)
        return self.convert(value) if self.convert else value


def _is_integer(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


STRING = Scalar("string", "a string", lambda v: isinstance(v, str))
INTEGER = Scalar("integer", "an integer", _is_integer, int)
NUMBER = Scalar("number", "a number", _is_number, float)
BOOLEAN = Scalar("boolean", "true or false", lambda v: isinstance(v, bool))
NULL = Scalar("null", "null", lambda v: v is None)


class Text(Shape):
    """A string that stands for another type: a date, a UUID, a path."""

    def __init__(self, words: str, convert: Callable[[str], Any], format_name: str | None = None) -> None:
        self.words, self.convert, self.format = words, convert, format_name

    def schema(self, context: Context) -> Schema:
        return {"type": "string", "format": self.format} if self.format else {"type": "string"}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str):
            return self.wrong(value, path, problems)
        try:
            return self.convert(value)
        except (ValueError, ArithmeticError):
            return self.wrong(value, path, problems)


class Bytes(Shape):
    """Bytes travel as base64. Line breaks in it are taken, as mail programs write them."""

    words = "base64"

    def schema(self, context: Context) -> Schema:
        return {"type": "string", "contentEncoding": "base64"}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, str):
            return self.wrong(value, path, problems)
        if any(space in value for space in "\r\n\t "):
            value = "".join(value.split())
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            return problems.add(path, f"expected base64: {error}")


class Choice(Shape):
    """One of some values: a `Literal` or an `Enum`."""

    def __init__(self, values: Sequence[tuple[Any, Any]], description: str | None = None) -> None:
        self.values = list(values)
        self.description = description
        self.words = "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value, _ in self.values)

    def schema(self, context: Context) -> Schema:
        kinds = {_json_type(value) for value, _ in self.values}
        schema: Schema = {"type": kinds.pop()} if len(kinds) == 1 else {}
        schema["enum"] = [value for value, _ in self.values]
        return schema

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        for known, result in self.values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return result
        near = difflib.get_close_matches(value, [v for v, _ in self.values if isinstance(v, str)], 1) \
            if isinstance(value, str) else []
        hint = f"; did you mean {json.dumps(near[0], ensure_ascii=False)}?" if near else ""
        return problems.add(path, f"expected {self.words}, got {show(value)}{hint}")


def _json_type(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "object")


class Array(Shape):
    """A list, a set, a frozen set or a tuple of one type."""

    words = "an array"

    def __init__(self, item: Shape, make: Callable[[list[Any]], Any], unique: bool = False) -> None:
        self.item, self.make, self.unique = item, make, unique

    def schema(self, context: Context) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema(context)}
        return schema | {"uniqueItems": True} if self.unique else schema

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, list):
            return self.wrong(value, path, problems)
        before = len(problems)
        items = [self.item.load(item, child(path, index), problems) for index, item in enumerate(value)]
        if len(problems) > before:
            return None
        try:
            made = self.make(items)
        except TypeError as error:
            return problems.add(path, str(error))
        if self.unique and len(made) != len(items):
            return problems.add(path, "the elements must differ from one another")
        return made


class Tuple(Shape):
    """A tuple of fixed length."""

    def __init__(self, items: Sequence[Shape]) -> None:
        self.items = list(items)
        self.words = f"an array of {len(self.items)}"

    def schema(self, context: Context) -> Schema:
        count = len(self.items)
        items: Any = [item.schema(context) for item in self.items]
        # Without `"items": false`, which says the same as `maxItems` and which some clients cannot convert.
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, list) or len(value) != len(self.items):
            got = f"an array of {len(value)}" if isinstance(value, list) else show(value)
            return problems.add(path, f"expected {self.words}, got {got}")
        pairs = enumerate(zip(self.items, value, strict=True))
        return tuple(shape.load(part, child(path, index), problems) for index, (shape, part) in pairs)


class Mapping(Shape):
    """A dict with keys of one type."""

    words = "an object"

    def __init__(self, key: Shape | None, key_load: Callable[[str], Any] | None, value: Shape) -> None:
        self.key, self.key_load, self.value = key, key_load, value

    def schema(self, context: Context) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.value.schema(context) or True}
        if self.key is not None:
            schema["propertyNames"] = self.key.schema(context)
        elif self.key_load is not None:
            schema["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        return schema

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, problems)
        made = {}
        for name, part in value.items():
            key: Any = name
            if self.key is not None:
                key = self.key.load(name, f"{path or 'arguments'}, the key {json.dumps(name)}", problems)
            elif self.key_load is not None:
                try:
                    key = self.key_load(name)
                except ValueError:
                    problems.add(path, f"expected integers as keys, got {show(name)}")
                    continue
            made[key] = self.value.load(part, child(path, name), problems)
        return made


class Union(Shape):
    """One of several shapes, tried in order."""

    def __init__(self, options: Sequence[Shape]) -> None:
        self.options = list(options)
        self.words = " or ".join(option.words for option in self.options)

    def schema(self, context: Context) -> Schema:
        return {"anyOf": [option.schema(context) for option in self.options]}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        deepest: Problems | None = None
        # An integer fits `float | int` as well as `int | float`: the exact type is preferred.
        ordered = sorted(self.options, key=lambda option: not _exact(option, value))
        for option in ordered:
            own = Problems()
            made = option.load(value, path, own)
            if not own:
                return made
            inner = f"{path or 'arguments'}: expected {option.words}, got"
            if not own[0].startswith(inner):
                deepest = deepest or own
        if deepest is not None:
            problems.extend(deepest)
            return None
        return self.wrong(value, path, problems)


def _exact(option: Shape, value: Any) -> bool:
    if isinstance(option, Bounded):
        option = option.inner
    return (option is INTEGER and isinstance(value, int)) or (option is NUMBER and isinstance(value, float))


class Bounded(Shape):
    """Another shape with the bounds and the words of a `Field`."""

    def __init__(self, inner: Shape, field: Field) -> None:
        self.inner, self.field = inner, field
        self.words = inner.words
        self.pattern = re.compile(field.pattern) if field.pattern is not None else None

    def schema(self, context: Context) -> Schema:
        field, schema = self.field, dict(self.inner.schema(context))
        # `Annotated[list[int] | None, …]`: the bounds are those of the part that is not null.
        parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
        first = parts[0] if parts else {}
        kind = first.get("type")
        suffix = {"array": "Items", "object": "Properties"}.get(kind if isinstance(kind, str) else "", "Length")
        # base64 is longer than the bytes it holds: 4 characters for every 3.
        coded = first.get("contentEncoding") == "base64"
        said: list[tuple[str, Any]] = [
            ("title", field.title), ("description", field.description),
            ("minimum", field.ge), ("exclusiveMinimum", field.gt),
            ("maximum", field.le), ("exclusiveMaximum", field.lt), ("multipleOf", field.multiple_of),
            (f"min{suffix}", _coded(field.min_length, coded)),
            (f"max{suffix}", None if coded else field.max_length),
            ("pattern", field.pattern), ("format", field.format), ("examples", to_json(field.examples)),
            ("deprecated", field.deprecated or None),
        ]
        return schema | {name: value for name, value in said if value is not None}

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        before = len(problems)
        made = self.inner.load(value, path, problems)
        if len(problems) > before or value is None:
            return made
        field = self.field
        if _is_number(made):
            if field.ge is not None and made < field.ge:
                problems.add(path, f"must be at least {field.ge}, got {made}")
            if field.gt is not None and made <= field.gt:
                problems.add(path, f"must be greater than {field.gt}, got {made}")
            if field.le is not None and made > field.le:
                problems.add(path, f"must be at most {field.le}, got {made}")
            if field.lt is not None and made >= field.lt:
                problems.add(path, f"must be less than {field.lt}, got {made}")
            if field.multiple_of is not None and not _divides(field.multiple_of, made):
                problems.add(path, f"must be a multiple of {field.multiple_of}, got {made}")
        if hasattr(made, "__len__"):
            if field.min_length is not None and len(made) < field.min_length:
                problems.add(path, f"must have a length of at least {field.min_length}, has {len(made)}")
            if field.max_length is not None and len(made) > field.max_length:
                problems.add(path, f"must have a length of at most {field.max_length}, has {len(made)}")
        if self.pattern is not None and isinstance(value, str) and not self.pattern.search(value):
            problems.add(path, f"must match the pattern {field.pattern}, got {show(value)}")
        return made


def _coded(length: int | None, coded: bool) -> int | None:
    return -(-length // 3) * 4 if coded and length is not None else length


def _divides(step: float, value: float) -> bool:
    ratio = value / step
    return math.isclose(ratio, round(ratio), rel_tol=1e-9, abs_tol=1e-9)


@dataclass
class Member:
    """A field of an object."""

    name: str
    shape: Shape
    required: bool
    default: Any = MISSING
    description: str | None = None


class Object(Shape):
    """A dataclass, a TypedDict or the parameters of a function."""

    words = "an object"

    def __init__(self, name: str, make: Callable[[dict[str, Any]], Any], description: str | None = None,
                 title: str | None = None) -> None:
        self.name, self.make, self.description, self.title = name, make, description, title
        self.members: list[Member] = []
        self.extra: Shape | None = None

    def schema(self, context: Context) -> Schema:
        described: Schema = {"description": self.description} if self.description else {}
        if any(open_shape is self for open_shape in context.open):
            # A type that holds itself: some clients cannot convert a reference that leads back to itself.
            return {"type": "object"} | described
        context.open.append(self)
        properties: Schema = {}
        for member in self.members:
            part = dict(member.shape.schema(context))
            if not member.required and (member.default is MISSING or member.default is None):
                part = _without_null(part)
            if member.description and "description" not in part:
                part["description"] = member.description
            if member.default is not MISSING and member.default is not None:
                part["default"] = member.default
            properties[member.name] = part
        context.open.pop()
        schema: Schema = {"type": "object"} | described | {"properties": properties}
        required = [member.name for member in self.members if member.required]
        if required:
            schema["required"] = required
        schema["additionalProperties"] = self.extra.schema(context) or True if self.extra else False
        return schema

    def load(self, value: Any, path: str, problems: Problems) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, problems)
        before = len(problems)
        loaded: dict[str, Any] = {}
        known = {member.name for member in self.members}
        for member in self.members:
            if member.name in value:
                loaded[member.name] = member.shape.load(value[member.name], child(path, member.name), problems)
            elif member.required:
                problems.add(child(path, member.name), "is missing")
        for name in value:
            if name in known:
                continue
            if self.extra is not None:
                loaded[name] = self.extra.load(value[name], child(path, name), problems)
                continue
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
            problems.add(child(path, name), f"is not known; {hint}")
        if len(problems) > before:
            return None
        try:
            return self.make(loaded)
        except (ValueError, TypeError) as error:
            return problems.add(path, str(error))


def _without_null(schema: Schema) -> Schema:
    """The schema of what may be left out, which says the same as `null`. Some clients cannot convert `null`."""
    options = schema.get("anyOf", [])
    rest = [option for option in options if option != {"type": "null"}]
    if len(rest) == len(options):
        return schema
    others = {name: value for name, value in schema.items() if name != "anyOf"}
    return dict(rest[0]) | others if len(rest) == 1 else others | {"anyOf": rest}


def root_schema(shape: Shape) -> Schema:
    """The schema of a shape that stands alone."""
    return shape.schema(Context())
