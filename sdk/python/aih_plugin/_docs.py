"""What a docstring says: a description, and a text for each parameter. Google, NumPy and reST style."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_ARGUMENTS = {"args", "arguments", "parameters", "params", "attributes", "keyword args", "keyword arguments",
              "other parameters", "fields"}
_DROPPED = {"raises", "warns"}
_KEPT = {"returns", "return", "yields", "examples", "example", "note", "notes", "see also", "warnings", "references"}
_SECTIONS = _ARGUMENTS | _DROPPED | _KEPT
_GOOGLE_HEAD = re.compile(r"^([A-Za-z][A-Za-z ]*):\s*$")
_GOOGLE_ITEM = re.compile(r"^\*{0,2}([A-Za-z_]\w*)\s*(?:\(([^)]*(?:\([^)]*\))?[^)]*)\))?\s*:\s*(.*)$")
_NUMPY_ITEM = re.compile(r"^(\*{0,2}[A-Za-z_]\w*(?:\s*,\s*\*{0,2}[A-Za-z_]\w*)*)\s*(?::.*)?$")
_REST = re.compile(r"^:(\w+)\s*([^:]*):\s*(.*)$")


@dataclass
class Doc:
    """A docstring in parts."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse(text: str | None) -> Doc:
    """Takes a docstring apart. What is in no style that it knows is description."""
    doc = Doc()
    if not text:
        return doc
    lines = inspect.cleandoc(text).splitlines()
    kept: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        following = lines[index + 1] if index + 1 < len(lines) else ""
        numpy = line.strip().lower() in _SECTIONS and re.fullmatch(r"\s*-{3,}\s*", following)
        google = _GOOGLE_HEAD.match(line)
        rest = _REST.match(line)
        if numpy:
            name, start = line.strip().lower(), index + 2
            index = _numpy_end(lines, start)
            body = lines[start:index]
            if name in _ARGUMENTS:
                _numpy_items(body, doc)
            elif name not in _DROPPED:
                kept += [f"{line.strip()}:", *body]
        elif google and google.group(1).lower() in _SECTIONS:
            name, start = google.group(1).lower(), index + 1
            index = _indented_end(lines, start)
            body = lines[start:index]
            if name in _ARGUMENTS:
                _google_items(body, doc)
            elif name not in _DROPPED:
                kept += [line, *body]
        elif rest and rest.group(1) in _REST_FIELDS:
            start = index
            index = _indented_end(lines, index + 1)
            words = [rest.group(3).strip(), *(part.strip() for part in lines[start + 1:index])]
            said = " ".join(word for word in words if word)
            if rest.group(1) in _REST_PARAMETERS and rest.group(2).split():
                doc.parameters[rest.group(2).split()[-1].lstrip("*")] = said
            elif rest.group(1) in ("return", "returns") and said:
                kept.append(f"Returns: {said}")
        else:
            kept.append(line)
            index += 1
    doc.description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return doc


_REST_PARAMETERS = {"param", "parameter", "arg", "argument", "key", "keyword", "ivar", "var"}
_REST_FIELDS = _REST_PARAMETERS | {"type", "return", "returns", "rtype", "raise", "raises", "except", "exception"}


def _indented_end(lines: list[str], start: int) -> int:
    """Where the block that is indented, blank lines between included, ends."""
    end = index = start
    while index < len(lines):
        if lines[index].strip():
            if not lines[index][0].isspace():
                break
            end = index + 1
        index += 1
    return end


def _numpy_end(lines: list[str], start: int) -> int:
    for index in range(start, len(lines)):
        under = lines[index + 1] if index + 1 < len(lines) else ""
        if lines[index].strip() and re.fullmatch(r"-{3,}", under.strip()):
            return index
    return len(lines)


def _google_items(body: list[str], doc: Doc) -> None:
    indent = min((len(line) - len(line.lstrip()) for line in body if line.strip()), default=0)
    name = ""
    for line in body:
        item = _GOOGLE_ITEM.match(line[indent:]) if line[indent:indent + 1].strip() else None
        if item:
            name = item.group(1)
            doc.parameters[name] = item.group(3).strip()
        elif name and line.strip():
            doc.parameters[name] = f"{doc.parameters[name]} {line.strip()}".strip()


def _numpy_items(body: list[str], doc: Doc) -> None:
    names: list[str] = []
    for line in body:
        if line.strip() and not line[0].isspace():
            item = _NUMPY_ITEM.match(line)
            names = [part.strip().lstrip("*") for part in item.group(1).split(",")] if item else []
            for name in names:
                doc.parameters[name] = ""
        elif line.strip():
            for name in names:
                doc.parameters[name] = f"{doc.parameters[name]} {line.strip()}".strip()
