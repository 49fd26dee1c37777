"""Type hints to shapes."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import pathlib
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

from . import _docs
from ._field import Field
from ._shapes import (
    BOOLEAN, INTEGER, MISSING, NULL, NUMBER, STRING, Array, Bounded, Bytes, Choice, Mapping, Member, Object, Shape,
    Text, Tuple, Union,
)
from ._values import to_json

_SCALARS: dict[Any, Shape] = {
    str: STRING, int: INTEGER, float: NUMBER, bool: BOOLEAN, None: NULL, type(None): NULL, bytes: Bytes(),
    Any: Shape(), object: Shape(), inspect.Parameter.empty: Shape(),
    datetime.datetime: Text("a date and time (RFC 3339)", datetime.datetime.fromisoformat, "date-time"),
    datetime.date: Text("a date (YYYY-MM-DD)", datetime.date.fromisoformat, "date"),
    datetime.time: Text("a time of day", datetime.time.fromisoformat, "time"),
    uuid.UUID: Text("a UUID", uuid.UUID, "uuid"),
    decimal.Decimal: Text("a decimal number in a string", decimal.Decimal),
    pathlib.Path: Text("a path", pathlib.Path), pathlib.PurePath: Text("a path", pathlib.PurePath),
    pathlib.PurePosixPath: Text("a path", pathlib.PurePosixPath),
}
_ARRAYS: dict[Any, tuple[Callable[[list[Any]], Any], bool]] = {
    list: (list, False), abc.Sequence: (list, False), abc.MutableSequence: (list, False), abc.Iterable: (list, False),
    abc.Collection: (list, False), set: (set, True), abc.MutableSet: (set, True), frozenset: (frozenset, True),
    abc.Set: (frozenset, True),
}
_WRAPPERS = {typing.Required, typing.NotRequired, typing.Final, typing.ClassVar, dataclasses.InitVar}
_NO_PARAMETER_KINDS = (inspect.Parameter.VAR_POSITIONAL,)


class Hints:
    """Makes shapes of hints; a class that is met twice, or in itself, is one shape."""

    def __init__(self) -> None:
        self.classes: dict[Any, Object] = {}

    def shape(self, hint: Any, where: str) -> Shape:
        """The shape of a hint. What JSON cannot say is a `TypeError` that names `where` the hint stands."""
        try:
            known = _SCALARS.get(hint)
        except TypeError:
            known = None
        if known is not None:
            return known
        if isinstance(hint, typing.TypeAliasType) if hasattr(typing, "TypeAliasType") else False:
            return self.shape(hint.__value__, where)
        if isinstance(hint, typing.NewType):
            return self.shape(hint.__supertype__, where)
        if isinstance(hint, typing.TypeVar):
            options = hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ is not None else ())
            return Union([self.shape(o, where) for o in options]) if len(options) > 1 else \
                self.shape(options[0] if options else Any, where)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self._annotated(args[0], args[1:], where)
        if origin in _WRAPPERS:
            return self.shape(args[0] if args else Any, where)
        if origin is typing.Literal:
            return Choice([(to_json(value), value) for value in args])
        if origin in (typing.Union, types.UnionType):
            return Union([self.shape(option, where) for option in args])
        base = origin or hint
        if base in _ARRAYS:
            make, unique = _ARRAYS[base]
            return Array(self.shape(args[0] if args else Any, where), make, unique)
        if base is tuple:
            if not args or (len(args) == 2 and args[1] is Ellipsis):
                return Array(self.shape(args[0] if args else Any, where), tuple)
            return Tuple([self.shape(part, where) for part in args if part != ()])
        if base in (dict, abc.Mapping, abc.MutableMapping):
            return self._mapping(args, where)
        if isinstance(base, type):
            made = self._class(base, where)
            if made is not None:
                return made
        raise TypeError(f"{where}: {_name(hint)} cannot be said in JSON Schema; use a dataclass, a TypedDict, "
                        "a list, a dict, a string, a number, a Literal or an Enum")

    def _annotated(self, inner: Any, extras: tuple[Any, ...], where: str) -> Shape:
        shape = self.shape(inner, where)
        for extra in extras:
            if isinstance(extra, str):
                extra = Field(description=extra)
            if isinstance(extra, Field):
                shape = Bounded(shape, extra)
        return shape

    def _mapping(self, args: tuple[Any, ...], where: str) -> Shape:
        key, value = args if len(args) == 2 else (str, Any)
        value_shape = self.shape(value, where)
        if key is int:
            return Mapping(None, int, value_shape)
        key_shape = self.shape(key, where)
        if key_shape is STRING or type(key_shape) is Shape:
            return Mapping(None, None, value_shape)
        if isinstance(key_shape, (Choice, Bounded, Text)):
            return Mapping(key_shape, None, value_shape)
        raise TypeError(f"{where}: the keys of a JSON object are strings, not {_name(key)}")

    def _class(self, cls: type, where: str) -> Shape | None:
        if issubclass(cls, enum.Enum):
            return Choice([(to_json(member.value), member) for member in cls])
        if cls in self.classes:
            return self.classes[cls]
        if dataclasses.is_dataclass(cls):
            return self._dataclass(cls, where)
        if typing.is_typeddict(cls):
            return self._typed_dict(cls, where)
        return None

    def _dataclass(self, cls: type, where: str) -> Object:
        doc = _docs.parse(None if (cls.__doc__ or "").startswith(f"{cls.__name__}(") else cls.__doc__)
        made = Object(cls.__name__, lambda values: cls(**values), doc.description or None)
        self.classes[cls] = made
        hints = _resolve(cls, where)
        for field in dataclasses.fields(cls):
            if not field.init:
                continue
            default: Any = MISSING
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if field.default is not dataclasses.MISSING:
                default = _default(field.default)
            elif field.default_factory in (list, dict, set):
                default = to_json(field.default_factory())
            shape = self.shape(hints[field.name], f"{where}, {cls.__name__}.{field.name}")
            made.members.append(Member(field.name, shape, required, default, doc.parameters.get(field.name)))
        return made

    def _typed_dict(self, cls: type, where: str) -> Object:
        doc = _docs.parse(cls.__doc__)
        made = Object(cls.__name__, dict, doc.description or None)
        self.classes[cls] = made
        required: frozenset[str] = cls.__required_keys__  # type: ignore[attr-defined]
        for name, hint in _resolve(cls, where).items():
            origin = typing.get_origin(hint)
            needed = origin is not typing.NotRequired and (name in required or origin is typing.Required)
            shape = self.shape(hint, f"{where}, {cls.__name__}[{name!r}]")
            made.members.append(Member(name, shape, needed, MISSING, doc.parameters.get(name)))
        return made


def parameters(function: Callable[..., Any], doc: _docs.Doc) -> Object:
    """The parameters of a function as the shape of an object, which loads keyword arguments."""
    name = getattr(function, "__qualname__", repr(function))
    hints, maker = _resolve(function, name), Hints()
    made = Object(name, lambda values: values)
    for parameter in inspect.signature(function).parameters.values():
        where = f"{name}({parameter.name})"
        if parameter.kind in _NO_PARAMETER_KINDS:
            raise TypeError(f"{where}: *{parameter.name} has no name that a caller could give; take a list")
        hint = hints.get(parameter.name, parameter.annotation)
        said = doc.parameters.get(parameter.name)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            made.extra = maker.shape(hint, where)
            continue
        required, default = parameter.default is inspect.Parameter.empty, MISSING
        if not required:
            default = _default(parameter.default)
            if hint is inspect.Parameter.empty and type(parameter.default) in (str, int, float, bool):
                hint = type(parameter.default)
        made.members.append(Member(parameter.name, maker.shape(hint, where), required, default, said))
    return made


def output(function: Callable[..., Any]) -> Object | None:
    """The shape of what a function returns, where it is a dataclass or a TypedDict."""
    name = getattr(function, "__qualname__", repr(function))
    hint = _resolve(function, name).get("return")
    while typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)) \
            and not hint.__module__.startswith("aih_plugin."):
        shape = Hints().shape(hint, f"{name}, what it returns")
        return shape if isinstance(shape, Object) else None
    return None


def _resolve(thing: Any, where: str) -> dict[str, Any]:
    while isinstance(thing, functools.partial):
        thing = thing.func
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise TypeError(f"{where}: a type hint names what is not there: {error}") from None


def _default(value: Any) -> Any:
    try:
        return to_json(value)
    except TypeError:
        return MISSING


def _name(hint: Any) -> str:
    return getattr(hint, "__qualname__", None) or repr(hint)
