"""Imports that stand inside functions.

A component has no file system to import from: what is not loaded when it is built is not there. So the build reads
every module of the plugin and its packages for imports inside functions, and loads what those name. What is not
installed stays missing, as it would be anywhere else.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

# What the standard library itself imports only when it is used, and plugins use.
_STANDARD = (
    "_strptime", "asyncio.runners", "asyncio.taskgroups", "asyncio.timeouts", "base64", "binascii", "bisect",
    "calendar", "collections.abc", "copy", "csv", "dataclasses", "decimal", "difflib", "email.message", "email.parser",
    "email.policy", "fnmatch", "glob", "gzip", "hashlib", "heapq", "hmac", "html.entities", "html.parser", "linecache",
    "mimetypes", "random", "secrets", "shutil", "stringprep", "struct", "tempfile", "textwrap", "traceback",
    "unicodedata", "urllib.parse", "uuid", "zipfile", "zlib",
)
_CODECS = (
    "ascii", "base64_codec", "big5", "charmap", "cp437", "cp850", "cp932", "cp949", "cp950", "cp1250", "cp1251",
    "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "euc_jp", "euc_kr", "gb18030", "gb2312",
    "gbk", "hex_codec", "idna", "iso2022_jp", "iso8859_1", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_9",
    "iso8859_15", "koi8_r", "koi8_u", "latin_1", "mac_roman", "punycode", "quopri_codec", "raw_unicode_escape",
    "rot_13", "shift_jis", "tis_620", "unicode_escape", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be",
    "utf_32_le", "utf_7", "utf_8", "utf_8_sig", "zlib_codec",
)


def load_standard() -> None:
    """Loads parts of the standard library that are imported late."""
    for name in (*_STANDARD, *(f"encodings.{codec}" for codec in _CODECS)):
        _load(name)


def load_all() -> None:
    """Loads what modules outside the standard library import inside their functions."""
    seen: set[str] = set()
    while True:
        fresh = [(name, module) for name, module in list(sys.modules.items()) if name not in seen]
        if not fresh:
            return
        seen.update(name for name, _ in fresh)
        for _, module in fresh:
            for name in _deferred(module):
                _load(name)


def _load(name: str) -> None:
    if name in sys.modules:
        return
    try:
        importlib.import_module(name)
    except Exception:
        # Not installed, or not for this platform: it fails in the same way when it is used.
        return


def _deferred(module: ModuleType) -> Iterator[str]:
    path = getattr(module, "__file__", None) or ""
    # The build mounts the folders of the plugin as /0, /1, …
    if not path.endswith(".py") or not path.lstrip("/").split("/")[0].isdigit():
        return
    if (module.__name__ or "").split(".")[0] == "aih_plugin":
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from scan(file, module.__package__ or "")
    except OSError:
        return


_IMPORT = re.compile(r"\s*(?:import\s+(?P<modules>[\w., ]+)|from\s+(?P<base>[.\w]+)\s+import\b(?P<names>.*))")


def scan(lines: Iterable[str], package: str) -> Iterator[str]:
    """The modules that imports inside functions name.

    By lines and not by a syntax tree: what a tree leaves behind in memory would be part of the component. A line of a
    docstring that looks like an import does no harm.
    """
    # The blocks that are open: how far they are indented, and whether they are functions.
    blocks: list[tuple[int, bool]] = []
    rest = iter(lines)
    for line in rest:
        bare = line.lstrip()
        if not bare or bare.startswith("#"):
            continue
        indent = len(line) - len(bare)
        while blocks and blocks[-1][0] >= indent:
            blocks.pop()
        match = _IMPORT.match(line) if any(function for _, function in blocks) else None
        blocks.append((indent, bare.startswith(("def ", "async def "))))
        if not match:
            continue
        if match["modules"]:
            yield from (name for part in match["modules"].split(",") if (name := part.split(" as ")[0].strip()))
            continue
        base, names = _absolute(match["base"], package), match["names"]
        while ("(" in names and ")" not in names) or names.rstrip().endswith("\\"):
            following = next(rest, None)
            if following is None:
                break
            names = names.rstrip().rstrip("\\") + " " + following.split("#")[0].strip()
        yield base
        # A name may be a module of its own: `from package import module`.
        loaded = sys.modules.get(base)
        for part in names.split("#")[0].strip("() \n").split(","):
            name = part.split(" as ")[0].strip()
            if loaded is not None and name.isidentifier() and not hasattr(loaded, name):
                yield f"{base}.{name}"


def _absolute(base: str, package: str) -> str:
    name = base.lstrip(".")
    level = len(base) - len(name)
    if level == 0:
        return name
    parts = package.split(".")
    above = parts[:len(parts) - level + 1]
    return ".".join([*above, name] if name else above)
