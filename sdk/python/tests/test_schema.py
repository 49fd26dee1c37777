"""Type hints to JSON Schema, and arguments to values."""

from __future__ import annotations

import datetime
import enum
import pathlib
import unittest
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, Required, TypedDict, Union

from aih_plugin import Field, InvalidArguments, _hints, _shapes
from aih_plugin._docs import parse


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    """A place.

    Attributes:
        x: To the right.
    """

    x: int
    y: float = 0.5


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


@dataclass
class Left:
    right: Optional["Right"] = None


@dataclass
class Right:
    left: Optional["Left"] = None


@dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError("value must be positive")


class Options(TypedDict):
    name: str
    size: NotRequired[int]


class Loose(TypedDict, total=False):
    name: Required[str]
    note: str


UserId = NewType("UserId", int)


def shape(hint: Any) -> _shapes.Shape:
    return _hints.Hints().shape(hint, "test")


def schema(hint: Any) -> Any:
    return _shapes.root_schema(shape(hint))


def load(hint: Any, value: Any) -> Any:
    problems = _shapes.Problems()
    made = shape(hint).load(value, "v", problems)
    if problems:
        raise InvalidArguments("; ".join(problems))
    return made


class Schemas(unittest.TestCase):
    def test_each_hint_has_its_schema(self) -> None:
        cases: list[tuple[Any, Any]] = [
            (str, {"type": "string"}), (int, {"type": "integer"}), (float, {"type": "number"}),
            (bool, {"type": "boolean"}), (None, {"type": "null"}), (Any, {}), (object, {}),
            (bytes, {"type": "string", "contentEncoding": "base64"}),
            (datetime.datetime, {"type": "string", "format": "date-time"}),
            (datetime.date, {"type": "string", "format": "date"}), (uuid.UUID, {"type": "string", "format": "uuid"}),
            (pathlib.Path, {"type": "string"}),
            (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
            (Union[int, None, str], {"anyOf": [{"type": "integer"}, {"type": "null"}, {"type": "string"}]}),
            (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}), (Literal[1, "b"], {"enum": [1, "b"]}),
            (Colour, {"type": "string", "enum": ["red", "blue"]}), (Level, {"type": "integer", "enum": [1, 2]}),
            (list, {"type": "array", "items": {}}), (list[int], {"type": "array", "items": {"type": "integer"}}),
            (Sequence[str], {"type": "array", "items": {"type": "string"}}),
            (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
            (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
            (tuple[int, str], {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
                               "minItems": 2, "maxItems": 2}),
            (dict, {"type": "object", "additionalProperties": True}),
            (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
            (dict[int, str], {"type": "object", "additionalProperties": {"type": "string"},
                              "propertyNames": {"pattern": "^-?[0-9]+$"}}),
            (dict[Colour, str], {"type": "object", "additionalProperties": {"type": "string"},
                                 "propertyNames": {"type": "string", "enum": ["red", "blue"]}}),
            (UserId, {"type": "integer"}),
            (Annotated[int, Field(ge=1, lt=10, multiple_of=2)],
             {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2}),
            (Annotated[str, Field(description="d", min_length=1, max_length=3, pattern="^a", examples=["a"])],
             {"type": "string", "description": "d", "minLength": 1, "maxLength": 3, "pattern": "^a", "examples": ["a"]}),
            (Annotated[str, "only words"], {"type": "string", "description": "only words"}),
            (Annotated[list[int], Field(min_length=1, max_length=2)],
             {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}),
            (Annotated[list[int] | None, Field(max_length=2)],
             {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}], "maxItems": 2}),
            (Annotated[bytes, Field(min_length=4)], {"type": "string", "contentEncoding": "base64", "minLength": 8}),
        ]
        for hint, expected in cases:
            with self.subTest(hint=hint):
                self.assertEqual(schema(hint), expected)

    def test_a_dataclass_is_an_object_with_words_from_its_docstring(self) -> None:
        self.assertEqual(schema(Point), {
            "type": "object", "description": "A place.", "required": ["x"], "additionalProperties": False,
            "properties": {"x": {"type": "integer", "description": "To the right."},
                           "y": {"type": "number", "default": 0.5}}})

    def test_typed_dicts_know_what_is_required(self) -> None:
        self.assertEqual(schema(Options)["required"], ["name"])
        self.assertEqual(schema(Options)["properties"]["size"], {"type": "integer"})
        self.assertEqual(schema(Loose)["required"], ["name"])

    def test_what_may_be_left_out_is_not_null(self) -> None:
        def call(needed: int | None, size: int | None = None, kind: int | str | None = None,
                 limits: Annotated[list[int] | None, Field(max_length=2)] = None) -> None: ...

        made = _hints.parameters(call, parse(None))
        properties = _shapes.root_schema(made)["properties"]
        self.assertEqual(properties, {
            "needed": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "size": {"type": "integer"},
            "kind": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "limits": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
        })
        problems = _shapes.Problems()
        loaded = made.load({"needed": None, "size": None}, "", problems)
        self.assertEqual((loaded, problems), ({"needed": None, "size": None}, []))

    def test_types_that_contain_themselves_end_in_an_object(self) -> None:
        made = schema(Node)
        self.assertEqual(made["type"], "object")
        self.assertEqual(made["properties"]["children"]["items"], {"type": "object"})
        self.assertEqual(schema(list[Node])["items"], made)
        for hint in (Node, list[Node], Left):
            self.assertNotIn("$ref", str(schema(hint)))
            self.assertNotIn("$defs", str(schema(hint)))
        tree = load(Node, {"name": "a", "children": [{"name": "b"}]})
        self.assertEqual(tree, Node("a", [Node("b")]))

    def test_what_json_cannot_say_is_an_error_that_names_it(self) -> None:
        for hint in (complex, type(lambda: 0), dict[tuple[int, int], str]):
            with self.subTest(hint=hint), self.assertRaises(TypeError) as caught:
                shape(hint)
            self.assertIn("test", str(caught.exception))


class Values(unittest.TestCase):
    def test_values_are_converted(self) -> None:
        when = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)
        cases: list[tuple[Any, Any, Any]] = [
            (int, 3.0, 3), (float, 3, 3.0), (bytes, "aGk=", b"hi"), (bytes, "aG\nk=\r\n", b"hi"),
            (datetime.datetime, "2026-01-02T03:04:00Z", when), (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
            (Colour, "red", Colour.RED), (Level, 2, Level.HIGH), (set[int], [1, 2], {1, 2}),
            (tuple[int, str], [1, "a"], (1, "a")), (tuple[int, ...], [1, 2], (1, 2)), (dict[int, str], {"1": "a"}, {1: "a"}),
            (dict[Colour, int], {"red": 1}, {Colour.RED: 1}), (Optional[int], None, None),
            (Point, {"x": 1}, Point(1)), (list[Point], [{"x": 1, "y": 2}], [Point(1, 2.0)]),
            (int | float, 1, 1), (float | int, 2, 2), (Point | str, "a", "a"), (Options, {"name": "n"}, {"name": "n"}),
            (pathlib.Path, "a/b", pathlib.Path("a/b")),
        ]
        for hint, given, expected in cases:
            with self.subTest(hint=hint):
                made = load(hint, given)
                self.assertEqual(made, expected)
                self.assertIs(type(made), type(expected))

    def test_what_is_wrong_is_said_with_its_path(self) -> None:
        cases: list[tuple[Any, Any, str]] = [
            (int, "3", 'v: expected an integer, got the string "3"'), (int, True, "v: expected an integer, got true"),
            (int, 3.5, "v: expected an integer, got the number 3.5"), (str, None, "v: expected a string, got null"),
            (bool, 1, "v: expected true or false, got the number 1"), (bytes, "a*b", "v: expected base64"),
            (list[int], [1, "b"], 'v[1]: expected an integer, got the string "b"'),
            (list[Point], [{"x": 1}, {"y": 2}], "v[1].x: is missing"),
            (Point, {"x": 1, "yy": 2}, "v.yy: is not known; did you mean y?"),
            (dict[str, list[int]], {"k": [None]}, "v.k[0]: expected an integer, got null"),
            (Literal["fast", "slow"], "fasst", 'v: expected one of "fast", "slow", got the string "fasst"; did you mean "fast"?'),
            (Literal[1], True, "v: expected one of 1, got true"),
            (int | str, [], "v: expected an integer or a string, got an array"),
            (Optional[Point], {"x": "a"}, 'v.x: expected an integer, got the string "a"'),
            (Annotated[int, Field(ge=1)], 0, "v: must be at least 1, got 0"),
            (Annotated[int, Field(lt=1)], 1, "v: must be less than 1, got 1"),
            (Annotated[float, Field(multiple_of=0.1)], 0.25, "v: must be a multiple of 0.1"),
            (Annotated[str, Field(pattern="^a")], "b", "v: must match the pattern ^a"),
            (Annotated[bytes, Field(max_length=1)], "aGk=", "v: must have a length of at most 1, has 2"),
            (set[int], [1, 1], "v: the elements must differ"), (set[Options], [{"name": "a"}], "unhashable"),
            (tuple[int, str], [1], "v: expected an array of 2, got an array of 1"),
            (datetime.date, "tomorrow", "v: expected a date"), (Positive, {"value": 0}, "v: value must be positive"),
            (str, 5, "v: expected a string, got the number 5"), (int, "x" * 100, "got a string of 100 characters"),
        ]
        for hint, given, expected in cases:
            with self.subTest(hint=hint, given=given), self.assertRaises(InvalidArguments) as caught:
                load(hint, given)
            self.assertIn(expected, str(caught.exception))


class Docstrings(unittest.TestCase):
    def check(self, text: str, description: str, parameters: dict[str, str]) -> None:
        doc = parse(text)
        self.assertEqual(doc.description, description)
        self.assertEqual(doc.parameters, parameters)

    def test_google(self) -> None:
        self.check("""Finds things.

            More words.

            Args:
                query (str): What to look for,
                    in plain words.
                limit: How many: at most.
                **more: The rest.

            Returns:
                The things.

            Raises:
                ValueError: Never.
            """, "Finds things.\n\nMore words.\n\nReturns:\n    The things.",
            {"query": "What to look for, in plain words.", "limit": "How many: at most.", "more": "The rest."})

    def test_numpy(self) -> None:
        self.check("""Finds things.

            Parameters
            ----------
            query : str
                What to look for,
                in plain words.
            a, b : int, optional
                Both.

            Returns
            -------
            str
                The things.
            """, "Finds things.\n\nReturns:\nstr\n    The things.",
            {"query": "What to look for, in plain words.", "a": "Both.", "b": "Both."})

    def test_rest(self) -> None:
        self.check("""Finds things.

            :param query: What to look for,
                in plain words.
            :param int limit: How many.
            :type query: str
            :raises ValueError: never
            :returns: The things.
            """, "Finds things.\n\nReturns: The things.",
            {"query": "What to look for, in plain words.", "limit": "How many."})

    def test_none_of_them(self) -> None:
        self.check("Note: this is text.\nAnd https://example.com: too.", "Note: this is text.\nAnd https://example.com: too.", {})
        self.check("", "", {})


class Functions(unittest.TestCase):
    def test_parameters(self) -> None:
        def function(a: int, /, b: str = "x", *, c: Colour = Colour.RED, d=3, e: object = ...) -> None: ...  # type: ignore[no-untyped-def]

        made = _shapes.root_schema(_hints.parameters(function, parse("x\n\nArgs:\n  a: The first.")))
        self.assertEqual(made, {
            "type": "object", "required": ["a"], "additionalProperties": False,
            "properties": {"a": {"type": "integer", "description": "The first."}, "b": {"type": "string", "default": "x"},
                           "c": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                           "d": {"type": "integer", "default": 3}, "e": {}}})

    def test_any_keyword_is_taken_by_its_type(self) -> None:
        def function(**more: int) -> None: ...

        shape = _hints.parameters(function, parse(None))
        self.assertEqual(_shapes.root_schema(shape)["additionalProperties"], {"type": "integer"})
        problems = _shapes.Problems()
        shape.load({"a": "b"}, "", problems)
        self.assertEqual(list(problems), ['a: expected an integer, got the string "b"'])

    def test_positional_rests_are_refused(self) -> None:
        def function(*rest: int) -> None: ...

        with self.assertRaisesRegex(TypeError, "take a list"):
            _hints.parameters(function, parse(None))


if __name__ == "__main__":
    unittest.main()
