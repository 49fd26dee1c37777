"""The text of pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aih_plugin import progress
from pdf_reading import Pdf, brief, time_is_short
from pypdf import PageObject


@dataclass
class Page:
    """A page.

    Attributes:
        page: Its number, from 1.
        note: What is odd about it: no text but pictures, text cut off, damage.
    """

    page: int
    text: str
    note: str | None = None


@dataclass
class ExtractedText:
    """The text of some pages.

    Attributes:
        page_count: How many pages the PDF has.
        next_page: Where to go on, if the answer ended early.
    """

    page_count: int
    pages: list[Page] = field(default_factory=list)
    next_page: int | None = None

    def readable(self) -> str:
        """The pages under one another, for whoever reads rather than parses."""
        parts = [f"--- page {page.page} of {self.page_count}{f' ({page.note})' if page.note else ''} ---\n{page.text}"
                 for page in self.pages]
        if self.next_page is not None:
            parts.append(f"--- there is more: go on with pages={self.next_page}- ---")
        return "\n".join(parts)


def extract(pdf: Pdf, pages: str | None, layout: bool, max_characters: int) -> ExtractedText:
    """Extracts text until there is enough of it, or time is short."""
    chosen, following = pdf.selected(pages)
    result = ExtractedText(pdf.page_count, next_page=following)
    left = max_characters
    for done, index in enumerate(chosen):
        if done and (left <= 0 or time_is_short()):
            result.next_page = index + 1
            break
        progress.check()
        text, note = page_text(pdf.reader.pages[index], layout)
        if len(text) > left and not done:
            text, note = text[:left], f"cut: the page has {len(text):,} characters"
        elif len(text) > left:
            result.next_page = index + 1
            break
        left -= len(text)
        result.pages.append(Page(index + 1, text, note))
        if len(chosen) > 1:
            progress.report(done + 1, len(chosen), f"page {index + 1}")
    return result


def page_text(page: PageObject, layout: bool = False) -> tuple[str, str | None]:
    """The text of a page, and a note. A damaged page does not spoil the others."""
    try:
        text = page.extract_text(extraction_mode="layout" if layout else "plain")
    except MemoryError:
        raise
    except Exception as error:
        return "", f"damaged: {brief(error)}"
    text = text.replace("\x00", "").strip("\n")
    if text.strip():
        return text, None
    return "", "no text, only pictures: a scan?" if _has_images(page) else "empty"


def _has_images(page: PageObject) -> bool:
    try:
        resources: Any = page.get("/Resources", {}).get_object()
        objects: Any = resources.get("/XObject", {}).get_object()
        return any(part.get_object().get("/Subtype") in ("/Image", "/Form") for part in objects.values())
    except Exception:
        return False
