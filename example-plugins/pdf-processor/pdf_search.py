"""Search in the text of pages."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from aih_plugin import InvalidArguments, progress
from pdf_reading import Pdf, time_is_short
from pdf_text import page_text

# A word that was broken at the end of a line, and any white space.
_HYPHEN = re.compile(r"(?<=\w)[-\u00ad\u2010]\s*\n\s*(?=[^\W\d_])")
_SPACE = re.compile(r"\s+")


@dataclass
class Match:
    """A place where the query was found.

    Attributes:
        page: The number of the page, from 1.
        text: What matched.
        before: What stands before it.
        after: What stands after it.
    """

    page: int
    text: str
    before: str
    after: str


@dataclass
class SearchResult:
    """What was found.

    Attributes:
        page_count: How many pages the PDF has.
        pages_searched: How many of them were searched.
        pages_without_text: Pages that hold no text, such as scans: nothing can be found there.
        next_page: Where to go on, if the search ended early.
    """

    page_count: int
    pages_searched: int = 0
    matches: list[Match] = field(default_factory=list)
    pages_without_text: list[int] = field(default_factory=list)
    next_page: int | None = None


def _plain(text: str) -> str:
    """Ligatures and line breaks do not matter to whoever looks for a word."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", _HYPHEN.sub("", text))).strip()


def _pattern(query: str, regex: bool, case_sensitive: bool, whole_words: bool) -> re.Pattern[str]:
    source = query if regex else r"\s+".join(re.escape(word) for word in _plain(query).split(" "))
    if whole_words:
        source = rf"(?<!\w)(?:{source})(?!\w)"
    try:
        return re.compile(source, 0 if case_sensitive else re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidArguments(f"query: this is no regular expression: {error}") from None


def find(pdf: Pdf, query: str, pages: str | None, regex: bool, case_sensitive: bool, whole_words: bool, context: int,
         max_results: int) -> SearchResult:
    """Searches page after page until there are enough matches, or time is short."""
    pattern = _pattern(query, regex, case_sensitive, whole_words)
    chosen, following = pdf.selected(pages)
    result = SearchResult(pdf.page_count, next_page=following)
    for done, index in enumerate(chosen):
        if done and time_is_short():
            result.next_page = index + 1
            break
        progress.check()
        text = _plain(page_text(pdf.reader.pages[index])[0])
        if not text:
            result.pages_without_text.append(index + 1)
        for match in pattern.finditer(text):
            if not match[0]:
                continue
            if len(result.matches) == max_results:
                result.next_page = index + 1
                return result
            start, end = match.span()
            result.matches.append(
                Match(index + 1, match[0], text[max(0, start - context):start], text[end:end + context]))
        result.pages_searched += 1
        if len(chosen) > 1:
            progress.report(done + 1, len(chosen), f"page {index + 1}")
    return result
