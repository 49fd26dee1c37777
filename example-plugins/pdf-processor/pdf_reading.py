"""Where a PDF comes from, what is too much of it, and how its faults are told."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated

import pdf_aes
from aih_plugin import (
    AihError, ConnectionFailed, Field, InvalidArguments, NotGranted, TimedOut, TooLarge, ToolError, config, context, http,
)
from pypdf import PdfReader, _encryption, apply_configuration
from pypdf.errors import (
    DependencyError, EmptyFileError, FileNotDecryptedError, LimitReachedError, PdfReadError, WrongPasswordError,
)

pdf_aes.install(_encryption)
# It warns of each oddity of each file; what matters is in the answer.
logging.getLogger("pypdf").setLevel(logging.ERROR)

Data = Annotated[bytes | None, Field(description="The PDF itself, in base64.")]
Path = Annotated[str | None, Field(
    description="The PDF's path in a folder that was granted to this plugin; a relative one begins in /documents.")]
Url = Annotated[str | None, Field(description="The PDF's http or https address, on a host that was granted.")]
Password = Annotated[str | None, Field(description="The password of an encrypted PDF, the user's or the owner's.")]
Pages = Annotated[str | None, Field(
    description="Which pages, counted from 1: 3, 2-5, 7-, 1,4,9-12. Without it all.", examples=["1-5", "3,7-"])]
MaxCharacters = Annotated[int, Field(ge=1, le=2_000_000, description="About how much text to answer at most.")]
Query = Annotated[str, Field(min_length=1, max_length=1000, description="What to look for.")]
ContextLength = Annotated[int, Field(ge=0, le=1000, description="Characters around each match, on each side.")]
MaxResults = Annotated[int, Field(ge=1, le=1000, description="How many matches to answer at most.")]

# Defaults of what `config:` in aih-config.yaml can change.
MAX_BYTES = 32 << 20
MAX_PAGES = 500
FOLDER = "/documents"
# Seconds that are kept to write the answer.
RESERVE = 3.0
_REQUEST_TIMEOUT = 20.0
# An attack decompresses to gigabytes; no page's text does.
_MAX_STREAM = 32 << 20


@dataclass
class Pdf:
    """An opened PDF."""

    reader: PdfReader
    size: int
    #: Encrypted, and opened without a password that fits: little can be read.
    locked: bool
    encrypted: bool

    @property
    def page_count(self) -> int:
        """How many pages it has."""
        return len(self.reader.pages)

    def selected(self, pages: str | None) -> tuple[list[int], int | None]:
        """The chosen pages from 0, at most `max_pages`, and the number (from 1) of the first one left out."""
        chosen = list(range(self.page_count)) if pages is None else _choose(pages, self.page_count)
        most = int(config.get("max_pages", MAX_PAGES))
        return chosen[:most], chosen[most] + 1 if len(chosen) > most else None


def time_is_short() -> bool:
    """Whether what is found must be answered now."""
    left = context.current().remaining()
    return left is not None and left < RESERVE


def _choose(text: str, count: int) -> list[int]:
    chosen: list[int] = []
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{0,9})(-?)(\d{0,9})", part)
        if not match or not (match[1] or match[3]):
            raise InvalidArguments(f"pages: {part!r} names no pages; write 3, 2-5, 7- or a list of those")
        first = int(match[1] or 1)
        last = int(match[3] or count) if match[2] else first
        if first < 1 or last < first:
            raise InvalidArguments(f"pages: {part!r} names no pages: they count from 1, upwards")
        if first > count:
            raise ToolError(f"there is no page {first}: the PDF has {count}")
        chosen += range(first - 1, min(last, count))
    return sorted(set(chosen))


@contextlib.contextmanager
def document(data: bytes | None, path: str | None, url: str | None, password: str | None,
             locked: bool = False) -> Iterator[Pdf]:
    """Opens the PDF. Whatever goes wrong with it, also later, is told in a sentence; `locked` takes one without its password."""
    given = [name for name, value in (("data", data), ("path", path), ("url", url)) if value is not None]
    if len(given) != 1:
        raise InvalidArguments(f"give exactly one of data, path and url, not {' and '.join(given) or 'none'}")
    limit = int(config.get("max_bytes", MAX_BYTES))
    if data is None:
        data = _from_folder(path, limit) if path is not None else _from_address(url or "", limit)
    if len(data) > limit:
        raise _too_large(limit)
    if b"%PDF-" not in data[:1024]:
        raise ToolError(f"this is no PDF: {_looks_like(data)}")
    try:
        with apply_configuration(
            maximum_declared_stream_length=_MAX_STREAM, zlib_maximum_output_length=_MAX_STREAM,
            lzw_maximum_output_length=_MAX_STREAM, run_length_maximum_output_length=_MAX_STREAM,
            array_based_stream_maximum_output_length=_MAX_STREAM, jbig2dec_binary=None,
        ):
            yield _open(data, password, locked)
    except AihError:
        raise
    except MemoryError:
        raise ToolError("the PDF needs more memory than this plugin has") from None
    except FileNotDecryptedError:
        raise ToolError("the PDF is encrypted, and this part of it cannot be read without the password") from None
    except LimitReachedError as error:
        raise ToolError(f"the PDF goes beyond what is sane, and is not read further: {error}") from None
    except DependencyError as error:
        raise ToolError(f"the PDF uses what this plugin cannot read: {error}") from None
    except EmptyFileError:
        raise ToolError("the PDF is empty") from None
    except RecursionError:
        raise ToolError("the PDF is damaged: its parts contain one another") from None
    except Exception as error:
        # A broken file may raise anything in pypdf.
        logging.getLogger("pdf-processor").info("a damaged PDF", exc_info=error)
        raise ToolError(f"the PDF is damaged or not understood: {brief(error)}") from None


def brief(error: BaseException) -> str:
    """An exception's text, in a line."""
    said = " ".join(str(error).split())[:200]
    return said if said and not isinstance(error, (KeyError, IndexError, AttributeError, TypeError, AssertionError)) \
        else f"{type(error).__name__} {said}".strip()


def _open(data: bytes, password: str | None, locked: bool) -> Pdf:
    # To try a password of AES-256 is made to be slow: where there is one it is tried first, and alone.
    if password and b"/Encrypt" in data:
        try:
            reader = PdfReader(BytesIO(data), password=password)
            return Pdf(reader, len(data), locked=False, encrypted=True)
        except WrongPasswordError:
            raise ToolError("the password does not open the PDF") from None
        except PdfReadError as error:
            # "/Encrypt" may stand in any text.
            if "Not an encrypted file" not in str(error):
                raise
    reader = PdfReader(BytesIO(data))
    if not reader.is_encrypted:
        return Pdf(reader, len(data), locked=False, encrypted=False)
    if reader.decrypt(password or ""):
        return Pdf(reader, len(data), locked=False, encrypted=True)
    if password:
        raise ToolError("the password does not open the PDF")
    if not locked:
        raise ToolError("the PDF is encrypted: give its password")
    return Pdf(reader, len(data), locked=True, encrypted=True)


def _too_large(limit: int) -> ToolError:
    return ToolError(f"the PDF is larger than {limit:,} bytes, which is the most that is read")


def _looks_like(data: bytes) -> str:
    if not data:
        return "it is empty"
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    known = {b"pk\x03\x04": "it is a ZIP file (or an office document)", b"\x89png": "it is a PNG picture",
             b"\xff\xd8\xff": "it is a JPEG picture", b"%!ps": "it is PostScript"}
    return next((words for magic, words in known.items() if start.startswith(magic)), "it does not begin with %PDF-")


def _from_folder(path: str, limit: int) -> bytes:
    folder = str(config.get("folder", FOLDER)).rstrip("/")
    full = path if path.startswith("/") else f"{folder}/{path}"
    try:
        with open(full, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ToolError(f"there is no file {full} in the folders that were granted") from None
    except IsADirectoryError:
        raise ToolError(f"{full} is a folder") from None
    except (OSError, ValueError) as error:
        raise ToolError(f"cannot read {full}: {getattr(error, 'strerror', None) or error}; "
                        "only folders that were granted can be read") from None
    return data


def _from_address(url: str, limit: int) -> bytes:
    left = context.current().remaining()
    timeout = _REQUEST_TIMEOUT if left is None else max(0.1, min(_REQUEST_TIMEOUT, left - RESERVE))
    try:
        answer = http.get(url, headers={"accept": "application/pdf, */*;q=0.5"}, timeout=timeout)
    except NotGranted:
        raise ToolError(f"{url} is not granted: `grants.http` of this plugin does not allow it") from None
    except TooLarge as error:
        raise _too_large(min(limit, error.limit)) from None
    except TimedOut:
        raise ToolError(f"{url} did not answer in time") from None
    except ConnectionFailed as error:
        raise ToolError(f"{url} cannot be reached: {error}") from None
    answer.raise_for_status()
    return answer.content
