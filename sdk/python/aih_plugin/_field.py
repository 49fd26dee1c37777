"""What a type hint cannot say: `Annotated[int, Field(ge=1, description="…")]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Field"]


@dataclass(frozen=True)
class Field:
    """Describes and bounds a parameter or a field; each bound is checked and stands in the schema.

    `min_length` and `max_length` count the characters of a string, the bytes of `bytes`, the elements of a list,
    the entries of a dict. `pattern` is searched for, as in JSON Schema: anchor it to match the whole.
    """

    description: str | None = None
    title: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    examples: list[Any] | None = None
    deprecated: bool = False
