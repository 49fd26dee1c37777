"""Python values to what `json` can write."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any


def to_json(value: Any) -> Any:
    """Converts a value and all that is in it. What cannot be said in JSON is a `TypeError` that names the type."""
    if isinstance(value, enum.Enum):
        return to_json(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(part)
            for field in dataclasses.fields(value)
            # What is `None` by default is left out, as its schema says: some clients cannot convert `null`.
            if (part := getattr(value, field.name)) is not None or field.default is not None
        }
    if isinstance(value, Mapping):
        return {_key(key): to_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(part) for part in value]
    if isinstance(value, AbstractSet):
        return [to_json(part) for part in sorted(value, key=repr)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (uuid.UUID, pathlib.PurePath)):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be said in JSON: {value!r:.80}")


def _key(key: Any) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return key
    if isinstance(key, (bool, int, float)) or key is None:
        return json.dumps(key)
    return str(to_json(key))


def dumps(value: Any) -> str:
    """JSON text, compact, with characters as they are."""
    return json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
