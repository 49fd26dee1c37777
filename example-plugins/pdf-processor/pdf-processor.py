"""Reads PDFs: text by page, metadata, outline, form fields, search.

A PDF comes as base64, from a folder that the operator granted, or from an address that the operator granted.
"""

from __future__ import annotations

import pdf_reading as reading
from aih_plugin import Output, tool
from pdf_reading import Data, Pages, Password, Path, Url
from pdf_search import Match, SearchResult, find
from pdf_structure import (
    FormField, FormFields, Metadata, Outline, OutlineEntry, describe, fields_of, outline_of,
)
from pdf_text import ExtractedText, Page, extract

__all__ = ["FormField", "Match", "OutlineEntry", "Page"]


@tool(title="Extract text", read_only=True, idempotent=True)
def extract_text(data: Data = None, path: Path = None, url: Url = None, password: Password = None, pages: Pages = None,
                 layout: bool = False, max_characters: reading.MaxCharacters = 100_000) -> ExtractedText:
    """Extracts the text of a PDF, page by page.

    Give exactly one of data, path and url. Where the text is longer than max_characters, or time runs short, the
    answer ends early and says at which page to go on.

    Args:
        layout: Keep columns and tables in their places by spaces. Slower; for pages whose plain text is jumbled.
    """
    with reading.document(data, path, url, password) as pdf:
        found = extract(pdf, pages, layout, max_characters)
        return Output(found.readable(), structured=found)  # type: ignore[return-value]


@tool(title="PDF metadata", read_only=True, idempotent=True)
def metadata(data: Data = None, path: Path = None, url: Url = None, password: Password = None) -> Metadata:
    """Describes a PDF: title, author, dates, XMP, number and sizes of the pages, encryption, what else is in it.

    Give exactly one of data, path and url. Without its password an encrypted PDF is described as far as can be seen.
    """
    with reading.document(data, path, url, password, locked=True) as pdf:
        return describe(pdf)


@tool(title="PDF outline", read_only=True, idempotent=True)
def outline(data: Data = None, path: Path = None, url: Url = None, password: Password = None) -> Outline:
    """Lists the outline (bookmarks, table of contents) of a PDF, with levels and page numbers.

    Give exactly one of data, path and url.
    """
    with reading.document(data, path, url, password) as pdf:
        return outline_of(pdf)


@tool(title="PDF form fields", read_only=True, idempotent=True)
def form_fields(data: Data = None, path: Path = None, url: Url = None, password: Password = None) -> FormFields:
    """Lists the fields of a PDF form: name, kind, value, choices, page.

    Give exactly one of data, path and url.
    """
    with reading.document(data, path, url, password) as pdf:
        return fields_of(pdf)


@tool(title="Search a PDF", read_only=True, idempotent=True)
def search(query: reading.Query, data: Data = None, path: Path = None, url: Url = None, password: Password = None,
           pages: Pages = None, regex: bool = False, case_sensitive: bool = False, whole_words: bool = False,
           context: reading.ContextLength = 80, max_results: reading.MaxResults = 50) -> SearchResult:
    """Finds text in a PDF, with page numbers and the words around it.

    Give exactly one of data, path and url. Line breaks and hyphens at line ends do not stand in the way of a match.

    Args:
        regex: The query is a Python regular expression.
        case_sensitive: Tell upper case from lower case.
        whole_words: Match whole words only.
    """
    with reading.document(data, path, url, password) as pdf:
        return find(pdf, query, pages, regex, case_sensitive, whole_words, context, max_results)
