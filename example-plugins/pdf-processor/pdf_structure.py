"""What a PDF says about itself: metadata, outline, form fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pdf_reading import Pdf, brief
from pypdf import PageObject
from pypdf.generic import ArrayObject, ByteStringObject, Destination, DictionaryObject, NameObject

_POINTS_PER_MM = 72 / 25.4
_PAPERS = {(210, 297): "A4", (297, 420): "A3", (148, 210): "A5", (216, 279): "Letter", (216, 356): "Legal"}
_MAX_ENTRIES = 5000


@dataclass
class PageSize:
    """Pages of one size, as they are seen (turned pages count as turned).

    Attributes:
        pages: Their numbers, such as `1-3,5`.
        paper: The name of the size, where it has one.
    """

    pages: str
    width_mm: float
    height_mm: float
    paper: str | None = None


@dataclass
class Metadata:
    """A description of a PDF.

    Attributes:
        locked: It is encrypted and the password was not given: pages and texts cannot be read.
        permissions: What the author allows whoever opens an encrypted PDF without the owner's password.
        info: The document information dictionary.
        xmp: XMP metadata, by its names.
        labels: The names of the pages, where they are not simply 1, 2, 3.
        contains: What else is in it: outline, form, attachments, signatures, scripts, tags.
        problems: What of it could not be read.
    """

    version: str
    size_bytes: int
    encrypted: bool
    locked: bool
    encryption: str | None = None
    permissions: list[str] | None = None
    page_count: int | None = None
    page_sizes: list[PageSize] = field(default_factory=list)
    labels: list[str] | None = None
    language: str | None = None
    info: dict[str, str] = field(default_factory=dict)
    xmp: dict[str, Any] = field(default_factory=dict)
    attachments: list[str] = field(default_factory=list)
    contains: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def describe(pdf: Pdf) -> Metadata:
    """Everything that can be read; what cannot is a problem and not an end."""
    reader = pdf.reader
    made = Metadata(reader.pdf_header.removeprefix("%PDF-"), pdf.size, pdf.encrypted, pdf.locked)
    if pdf.encrypted:
        made.encryption = _encryption(reader.trailer["/Encrypt"].get_object())
    if pdf.locked:
        return made

    def part(name: str, read: Any) -> None:
        try:
            value = read()
            if value is not None:
                setattr(made, name, value)
        except MemoryError:
            raise
        except Exception as error:
            made.problems.append(f"{name}: {brief(error)}")

    part("page_count", lambda: pdf.page_count)
    part("page_sizes", lambda: _sizes(list(reader.pages)))
    part("labels", lambda: _labels(reader.page_labels))
    part("language", lambda: _text(reader.root_object.get("/Lang")))
    part("info", lambda: _info(reader.metadata))
    part("xmp", lambda: _xmp(reader.xmp_metadata))
    part("attachments", lambda: sorted(_plain_name(file.name) for file in reader.attachment_list))
    part("contains", lambda: _contents(reader.root_object))
    if pdf.encrypted:
        part("permissions", lambda: _permissions(reader.user_access_permissions))
    return made


def _encryption(entry: DictionaryObject) -> str:
    revision = int(entry.get("/R", 0))
    if entry.get("/Filter") != "/Standard":
        return f"{entry.get('/Filter', 'unknown')} (not the standard one)"
    if int(entry.get("/V", 0)) < 4:
        return f"RC4, {entry.get('/Length', 40)} bits (revision {revision})"
    name = entry.get("/StmF", "/Identity")
    kind = entry.get("/CF", {}).get(name, {}).get("/CFM", "none")
    return {"/V2": "RC4, 128 bits", "/AESV2": "AES, 128 bits", "/AESV3": "AES, 256 bits"}.get(kind, str(kind)) \
        + f" (revision {revision})"


def _permissions(flags: Any) -> list[str] | None:
    return None if flags is None else sorted(name for name, allowed in flags.to_dict().items() if allowed)


def _sizes(pages: list[PageObject]) -> list[PageSize]:
    groups: dict[tuple[float, float], list[int]] = {}
    for number, page in enumerate(pages, 1):
        unit = float(page.get("/UserUnit", 1))
        box = page.cropbox
        width, height = (round(float(side) * unit / _POINTS_PER_MM, 1) for side in (box.width, box.height))
        if page.rotation % 180:
            width, height = height, width
        groups.setdefault((width, height), []).append(number)
    return [PageSize(_ranges(numbers), width, height, _paper(width, height)) for (width, height), numbers in groups.items()]


def _paper(width: float, height: float) -> str | None:
    for (short, long), name in _PAPERS.items():
        if abs(min(width, height) - short) < 1 and abs(max(width, height) - long) < 1:
            return name if height >= width else f"{name}, landscape"
    return None


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def _labels(labels: list[str]) -> list[str] | None:
    return None if labels == [str(number) for number in range(1, len(labels) + 1)] else labels[:_MAX_ENTRIES]


def _info(info: Any) -> dict[str, str]:
    if info is None:
        return {}
    made = {key.removeprefix("/"): text for key, value in info.items() if (text := _text(value))}
    for key, date in (("CreationDate", _date(info, "creation_date")), ("ModDate", _date(info, "modification_date"))):
        if date is not None:
            made[key] = date.isoformat()
    return made


def _date(info: Any, name: str) -> datetime | None:
    try:
        date: datetime | None = getattr(info, name)
        return date
    except ValueError:
        return None


_XMP = ("dc_title", "dc_creator", "dc_description", "dc_subject", "dc_language", "dc_rights", "dc_publisher", "dc_date",
        "dc_format", "dc_identifier", "dc_type", "pdf_producer", "pdf_keywords", "pdf_pdfversion", "xmp_create_date",
        "xmp_modify_date", "xmp_metadata_date", "xmp_creator_tool", "xmpmm_document_id", "xmpmm_instance_id",
        "pdfaid_part", "pdfaid_conformance", "custom_properties")


def _xmp(xmp: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in _XMP if xmp is not None else ():
        try:
            value = getattr(xmp, name, None)
        except (ValueError, AttributeError, TypeError):
            continue
        if isinstance(value, dict) and set(value) == {"x-default"}:
            value = value["x-default"]
        if value:
            made[name] = value if isinstance(value, (str, dict, list)) else str(value)
    return made


def _contents(root: DictionaryObject) -> list[str]:
    def get(entry: Any, name: str) -> Any:
        value = entry.get(name) if isinstance(entry, DictionaryObject) else None
        return None if value is None else value.get_object()

    form, names = get(root, "/AcroForm"), get(root, "/Names")
    marks = {
        "outline": get(get(root, "/Outlines"), "/First"), "form": form and get(form, "/Fields"), "xfa form": get(form, "/XFA"),
        "signatures": int(get(form, "/SigFlags") or 0) & 1, "attachments": get(names, "/EmbeddedFiles"),
        "scripts": get(names, "/JavaScript"), "tags": get(get(root, "/MarkInfo"), "/Marked"),
        "layers": get(root, "/OCProperties"),
    }
    return [name for name, value in marks.items() if value]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    value = value.get_object()
    if isinstance(value, (bytes, ByteStringObject)):
        return bytes(value).decode("latin-1")
    if isinstance(value, NameObject):
        return _plain_name(value)
    if isinstance(value, (dict, list)):
        return None
    return str(value).replace("\x00", "")


def _plain_name(name: Any) -> str:
    return str(name).removeprefix("/")


@dataclass
class OutlineEntry:
    """An entry.

    Attributes:
        level: 1 for the outermost.
        page: The number of the page that it leads to, from 1.
    """

    title: str
    level: int
    page: int | None = None


@dataclass
class Outline:
    """The outline of a PDF, in its order."""

    page_count: int
    entries: list[OutlineEntry] = field(default_factory=list)
    truncated: bool = False


def outline_of(pdf: Pdf) -> Outline:
    """The outline, flat with levels."""
    made = Outline(pdf.page_count)

    def walk(items: list[Any], level: int) -> None:
        for item in items:
            if len(made.entries) >= _MAX_ENTRIES:
                made.truncated = True
                return
            if isinstance(item, list):
                walk(item, level + 1)
            elif isinstance(item, Destination):
                made.entries.append(OutlineEntry(str(item.title or "").strip(), level, _page_of(pdf, item)))

    walk(pdf.reader.outline, 1)
    return made


def _page_of(pdf: Pdf, destination: Destination) -> int | None:
    try:
        number = pdf.reader.get_destination_page_number(destination)
    except Exception:
        return None
    return None if number is None or number < 0 else number + 1


_Kind = Literal["text", "checkbox", "radio", "button", "choice", "signature", "unknown"]
_READ_ONLY, _REQUIRED, _RADIO, _PUSH = 1 << 0, 1 << 1, 1 << 15, 1 << 16


@dataclass
class FormField:
    """A field.

    Attributes:
        name: Its full name.
        label: What is shown for it.
        value: What is filled in; a list where several are chosen.
        choices: What can be chosen.
        pages: Where it stands, from 1.
    """

    name: str
    kind: _Kind
    value: str | list[str] | None = None
    label: str | None = None
    default: str | None = None
    choices: list[str] | None = None
    required: bool = False
    read_only: bool = False
    max_length: int | None = None
    pages: list[int] = field(default_factory=list)


@dataclass
class FormFields:
    """The fields of a form. `note` says why there may be none, or more than are listed."""

    fields: list[FormField] = field(default_factory=list)
    note: str | None = None


def fields_of(pdf: Pdf) -> FormFields:
    """The fields with their values."""
    raw = pdf.reader.get_fields() or {}
    where = _widgets(pdf)
    made = FormFields()
    for name, entry in raw.items():
        if len(made.fields) >= _MAX_ENTRIES:
            made.note = f"there are {len(raw)} fields; the first {_MAX_ENTRIES} are listed"
            break
        if entry.get("/FT") is None and entry.get("/Kids") is not None:
            continue
        made.fields.append(_field(name, entry, where.get(name, _Widget())))
    if "xfa form" in _contents(pdf.reader.root_object):
        made.note = "the form is also there as XFA, which is not read"
    elif not raw:
        made.note = "the PDF has no form"
    return made


def _field(name: str, entry: Any, shown: _Widget) -> FormField:
    flags = int(entry.get("/Ff", 0) or 0)
    kinds: dict[str, _Kind] = {"/Tx": "text", "/Ch": "choice", "/Sig": "signature"}
    kind = kinds.get(entry.get("/FT"), "unknown")
    if entry.get("/FT") == "/Btn":
        kind = "button" if flags & _PUSH else "radio" if flags & _RADIO else "checkbox"
    return FormField(
        name=name, kind=kind, value=None if kind == "signature" else _value(entry.get("/V")), label=_text(entry.get("/TU")),
        default=_text(entry.get("/DV")), choices=_choices(entry, kind), required=bool(flags & _REQUIRED),
        read_only=bool(flags & _READ_ONLY), max_length=shown.max_length, pages=shown.pages)


def _value(value: Any) -> str | list[str] | None:
    if isinstance(value, (ArrayObject, list)):
        return [text for part in value if (text := _text(part)) is not None]
    return _text(value)


def _choices(entry: Any, kind: _Kind) -> list[str] | None:
    states = entry.get("/_States_")
    if states and kind in ("checkbox", "radio", "choice"):
        return [_plain_name(part[1] if isinstance(part, (ArrayObject, list)) and len(part) > 1 else part) for part in states]
    return None


@dataclass
class _Widget:
    """What stands with a field's places on the pages, and not with the field."""

    pages: list[int] = field(default_factory=list)
    max_length: int | None = None


def _widgets(pdf: Pdf) -> dict[str, _Widget]:
    """The places of the fields, by their full names."""
    found: dict[str, _Widget] = {}
    for number, page in enumerate(pdf.reader.pages, 1):
        annotations: Any = page.get("/Annots")
        for reference in (annotations.get_object() or []) if annotations is not None else []:
            widget = reference.get_object()
            if not isinstance(widget, DictionaryObject) or widget.get("/Subtype") != "/Widget":
                continue
            names: list[str] = []
            length: Any = None
            parent: Any = widget
            for _ in range(50):
                if not isinstance(parent, DictionaryObject):
                    break
                if parent.get("/T") is not None:
                    names.insert(0, str(parent["/T"]))
                length = parent.get("/MaxLen") if length is None else length
                above = parent.get("/Parent")
                parent = None if above is None else above.get_object()
            shown = found.setdefault(".".join(names), _Widget())
            if number not in shown.pages:
                shown.pages.append(number)
            if isinstance(length, int):
                shown.max_length = int(length)
    return found
