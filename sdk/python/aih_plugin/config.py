"""What the operator wrote in `config:` of this plugin's entry."""

from __future__ import annotations

import json
from typing import Any

from . import _wit

__all__ = ["get"]


def get(key: str, default: Any = None) -> Any:
    """A value, as JSON says it, or `default` where the operator gave none."""
    text: str | None = _wit.host("config").get(key)
    return default if text is None else json.loads(text)
