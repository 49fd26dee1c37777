"""The plugin outside the sandbox, on the PDFs of tests/fixtures/pdf.

    python3 -m unittest discover -s example-plugins/pdf-processor/tests

needs a Python from 3.11 on and nothing else: pypdf is read from its wheel.
"""

from __future__ import annotations

import base64
import importlib
import os
import sys
import unittest
from pathlib import Path
from typing import Any

PLUGIN = Path(__file__).resolve().parent.parent
ROOT = PLUGIN.parent.parent
FIXTURES = ROOT / "tests/fixtures/pdf"
sys.path[:0] = [str(PLUGIN), str(ROOT / "sdk/python"), *map(str, PLUGIN.glob("wheels/*.whl"))]

from aih_plugin import testing  # noqa: E402

importlib.import_module("pdf-processor")
import pdf_aes  # noqa: E402

ALL = sorted(file.name for file in FIXTURES.glob("*.pdf"))
TOOLS: dict[str, dict[str, Any]] = {
    "extract_text": {}, "metadata": {}, "outline": {}, "form_fields": {}, "search": {"query": "engine"},
}


def data(name: str) -> str:
    return base64.b64encode((FIXTURES / name).read_bytes()).decode()


class Base(unittest.TestCase):
    def call(self, tool: str, name: str = "report.pdf", host: dict[str, Any] | None = None, **arguments: Any) -> Any:
        if not arguments.keys() & {"data", "path", "url"}:
            arguments["data"] = data(name)
        with testing.Host(**(host or {})) as hub:
            result = hub.call(tool, arguments)
        if result.is_error:
            raise AssertionError(result.text)
        self.text = result.text
        return result.structured

    def fails(self, words: str, tool: str = "extract_text", name: str = "report.pdf", **arguments: Any) -> None:
        with self.assertRaises(AssertionError) as caught:
            self.call(tool, name, **arguments)
        self.assertIn(words, str(caught.exception))


class Text(Base):
    def test_pages_with_their_text(self) -> None:
        found = self.call("extract_text")
        self.assertEqual(found["page_count"], 6)
        self.assertEqual([page["page"] for page in found["pages"]], [1, 2, 3, 4, 5, 6])
        self.assertIn("Grüße aus Zürich: 12,50 €.", found["pages"][0]["text"])
        self.assertEqual(found["pages"][3]["note"], "no text, only pictures: a scan?")
        self.assertEqual(found["pages"][4]["note"], "empty")
        self.assertIsNone(found["next_page"])
        self.assertIn("--- page 1 of 6 ---\nIntroduction", self.text)

    def test_ranges(self) -> None:
        for pages, expected in [("2", [2]), ("2-3", [2, 3]), ("5-", [5, 6]), ("-2", [1, 2]), ("6,1, 2-3", [1, 2, 3, 6]), ("5-99", [5, 6])]:
            found = self.call("extract_text", pages=pages)
            self.assertEqual([page["page"] for page in found["pages"]], expected, pages)
        self.fails("there is no page 7: the PDF has 6", pages="7")
        for pages in ("", "x", "0", "3-2", "1--2", "9" * 30):
            with self.subTest(pages=pages), self.assertRaises(testing.CallFailed) as caught:
                self.call("extract_text", pages=pages)
            self.assertEqual(caught.exception.kind, "invalid-arguments")

    def test_layout_keeps_columns_apart(self) -> None:
        found = self.call("extract_text", pages="2", layout=True)
        self.assertRegex(found["pages"][0]["text"], r"Wheels {3,}1000")

    def test_the_answer_ends_early_and_says_where_to_go_on(self) -> None:
        found = self.call("extract_text", max_characters=200)
        self.assertEqual(([page["page"] for page in found["pages"]], found["next_page"]), ([1, 2], 3))
        self.assertIn("go on with pages=3-", self.text)
        found = self.call("extract_text", max_characters=10)
        self.assertEqual((len(found["pages"][0]["text"]), found["next_page"]), (10, 2))
        self.assertIn("cut", found["pages"][0]["note"])
        found = self.call("extract_text", host={"config": {"max_pages": 2}})
        self.assertEqual((len(found["pages"]), found["next_page"]), (2, 3))


class Structure(Base):
    def test_metadata(self) -> None:
        found = self.call("metadata")
        self.assertEqual((found["page_count"], found["encrypted"], found["locked"], found["problems"]), (6, False, False, []))
        self.assertEqual(found["info"]["Title"], "Annual report")
        self.assertEqual(found["info"]["Author"], "Ada Lovelace")
        self.assertEqual(found["xmp"]["dc_title"], "Annual report")
        self.assertEqual(found["xmp"]["dc_creator"], ["Ada Lovelace", "Charles Babbage"])
        self.assertEqual(found["page_sizes"], [
            {"pages": "1-2,4-5", "width_mm": 210.0, "height_mm": 297.0, "paper": "A4"},
            {"pages": "3", "width_mm": 297.0, "height_mm": 210.0, "paper": "A4, landscape"},
            {"pages": "6", "width_mm": 215.9, "height_mm": 279.4, "paper": "Letter"}])
        self.assertEqual(found["labels"], ["i", "1", "2", "3", "4", "5"])
        self.assertEqual(found["attachments"], ["data.csv"])
        self.assertEqual(found["contains"], ["outline", "attachments"])
        self.assertEqual(found["language"], "en-GB")

    def test_outline(self) -> None:
        found = self.call("outline")
        self.assertEqual([(entry["level"], entry["title"], entry["page"]) for entry in found["entries"]],
                         [(1, "Introduction", 1), (1, "Numbers", 2), (2, "A table", 2), (2, "A scan", 4), (1, "The end", 6)])
        self.assertEqual(self.call("outline", "form.pdf")["entries"], [])

    def test_form_fields(self) -> None:
        fields = {field["name"]: field for field in self.call("form_fields", "form.pdf")["fields"]}
        self.assertEqual(list(fields), ["name", "notes", "agree", "size", "country", "tags"])
        name = fields["name"]
        self.assertEqual((name["kind"], name["value"], name["label"], name["required"], name["max_length"], name["pages"]),
                         ("text", "Ada", "Full name", True, 40, [1]))
        self.assertTrue(fields["notes"]["read_only"])
        self.assertEqual((fields["agree"]["kind"], fields["agree"]["value"]), ("checkbox", "Yes"))
        self.assertEqual((fields["size"]["kind"], fields["size"]["value"]), ("radio", "large"))
        self.assertEqual((fields["country"]["value"], fields["country"]["pages"]), ("Switzerland", [2]))
        self.assertEqual(fields["country"]["choices"], ["Austria", "Switzerland", "Germany"])
        self.assertEqual(fields["tags"]["kind"], "choice")
        self.assertEqual(self.call("form_fields")["note"], "the PDF has no form")


class Search(Base):
    def test_matches_with_pages_and_context(self) -> None:
        found = self.call("search", query="ENGINE", context=12)
        self.assertEqual([(match["page"], match["text"]) for match in found["matches"]],
                         [(1, "Engine"), (3, "engine"), (6, "engine")])
        self.assertEqual(found["matches"][0]["before"], " Analytical ")
        self.assertEqual(found["pages_without_text"], [4, 5])
        self.assertEqual(found["pages_searched"], 6)

    def test_ways_to_search(self) -> None:
        count = lambda query, **more: len(self.call("search", query=query, **more)["matches"])  # noqa: E731
        self.assertEqual(count("hyphenated word"), 1, "broken words are whole")
        self.assertEqual(count("ENGINE", case_sensitive=True), 0)
        self.assertEqual(count("gin"), 3)
        self.assertEqual(count("gin", whole_words=True), 0)
        self.assertEqual(count(r"\d{4}", regex=True), 1)
        self.assertEqual(count("50 ("), 0)
        self.assertEqual(count("engine", pages="2-3"), 1)
        found = self.call("search", query="engine", max_results=1)
        self.assertEqual((len(found["matches"]), found["next_page"]), (1, 3))
        with self.assertRaisesRegex(testing.CallFailed, "no regular expression"):
            count("(", regex=True)


class Sources(Base):
    def test_exactly_one_source(self) -> None:
        for arguments in ({"path": "a", "url": "b"}, {"data": "aGk=", "path": "a"}):
            with self.assertRaisesRegex(testing.CallFailed, "give exactly one of data, path and url"):
                self.call("metadata", **arguments)
        with testing.Host() as host, self.assertRaisesRegex(testing.CallFailed, "not none"):
            host.call("metadata", {})
        with self.assertRaisesRegex(testing.CallFailed, "data: expected base64"):
            self.call("metadata", data="*")

    def test_a_path(self) -> None:
        self.assertEqual(self.call("metadata", path=str(FIXTURES / "report.pdf"))["page_count"], 6)
        self.assertEqual(self.call("metadata", path="report.pdf", host={"config": {"folder": str(FIXTURES)}})["page_count"], 6)
        self.fails("there is no file /documents/none.pdf", path="none.pdf")
        self.fails("is a folder", path=str(FIXTURES))
        self.fails("cannot read", path="a\0b")

    def test_an_address(self) -> None:
        def answer(method: str, url: str, headers: Any, body: Any) -> Any:
            if url.endswith("missing"):
                return 404, {}, b"no"
            return 200, {"content-type": "application/pdf"}, (FIXTURES / "report.pdf").read_bytes()

        self.assertEqual(self.call("metadata", url="https://example.com/a.pdf", host={"http": answer})["page_count"], 6)
        self.fails("answered 404", url="https://example.com/missing", host={"http": answer})
        self.fails("is not granted", url="https://example.com/a.pdf")

    def test_what_is_no_pdf(self) -> None:
        for content, words in [(b"", "it is empty"), (b"<!DOCTYPE html><p>", "an HTML page"), (b"PK\x03\x04", "a ZIP file"),
                               (b"hello", "does not begin with %PDF-")]:
            self.fails(words, data=base64.b64encode(content).decode())

    def test_too_large(self) -> None:
        self.fails("larger than 1,000 bytes", host={"config": {"max_bytes": 1000}})

    def test_ten_megabytes(self) -> None:
        # What stands behind the end of the file is passed over.
        content = (FIXTURES / "report.pdf").read_bytes()
        large = content[:-6] + b"\n%" + os.urandom(16).hex().encode() * 330_000 + b"\n" + content[content.rindex(b"startxref"):]
        found = self.call("metadata", data=base64.b64encode(large).decode())
        self.assertEqual((found["page_count"], found["size_bytes"]), (6, len(large)))


class Encryption(Base):
    def test_a_password_opens(self) -> None:
        for name in ("encrypted-rc4.pdf", "encrypted-aes128.pdf", "encrypted-aes256.pdf"):
            for password in ("open sesame", "owner"):
                with self.subTest(name=name, password=password):
                    found = self.call("extract_text", name, password=password)
                    self.assertIn("Analytical Engine", found["pages"][0]["text"])
            self.fails("encrypted: give its password", name=name)
            self.fails("the password does not open the PDF", name=name, password="wrong")
        self.assertIn("Engine", self.call("extract_text", "encrypted-open.pdf")["pages"][0]["text"])
        self.assertEqual(self.call("metadata", password="not needed")["page_count"], 6)

    def test_metadata_of_a_locked_one(self) -> None:
        found = self.call("metadata", "encrypted-aes256.pdf")
        self.assertEqual((found["locked"], found["encryption"], found["page_count"]), (True, "AES, 256 bits (revision 6)", None))
        found = self.call("metadata", "encrypted-rc4.pdf", password="open sesame")
        self.assertEqual((found["locked"], found["encryption"]), (False, "RC4, 128 bits (revision 3)"))
        self.assertEqual(found["permissions"], ["print"])

    def test_aes_against_the_standard(self) -> None:
        # FIPS 197, appendix C; the CBC vector is the first of NIST SP 800-38A, F.2.1.
        block = bytes.fromhex("00112233445566778899aabbccddeeff")
        for size, cipher in [(16, "69c4e0d86a7b0430d8cdb78070b4c55a"), (24, "dda97ca4864cdfe06eaf70a0ec0d7191"),
                             (32, "8ea2b7ca516745bfeafc49904b496089")]:
            key = bytes(range(size))
            self.assertEqual(pdf_aes.ecb_encrypt(key, block).hex(), cipher)
            self.assertEqual(pdf_aes.ecb_decrypt(key, bytes.fromhex(cipher)), block)
        key, iv = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), bytes(range(16))
        plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
        cipher_text = pdf_aes.cbc_encrypt(key, iv, plain)
        self.assertEqual(cipher_text.hex(), "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2")
        self.assertEqual(pdf_aes.cbc_decrypt(key, iv, cipher_text), plain)


class Damage(Base):
    def test_a_damaged_table_is_mended(self) -> None:
        self.assertEqual(self.call("metadata", "damaged-table.pdf")["page_count"], 6)

    def test_damaged_files_say_so(self) -> None:
        self.fails("the PDF is damaged or not understood", name="damaged-noise.pdf")

    def check(self, host: testing.Host, content: bytes, tool: str) -> None:
        result = host.call(tool, {"data": base64.b64encode(content).decode(), **TOOLS[tool]})
        self.assertNotIn("Traceback", result.text)
        self.assertNotRegex(result.text, r"^\w+(Error|Exception):")

    def test_no_file_ends_in_a_traceback(self) -> None:
        with testing.Host() as host:
            for name in ALL:
                for tool in TOOLS:
                    with self.subTest(name=name, tool=tool):
                        self.check(host, (FIXTURES / name).read_bytes(), tool)
        self.assertEqual([line for line in host.logs if line[0] == "error"], [])

    def test_nor_do_cut_and_bent_ones(self) -> None:
        with testing.Host() as host:
            for name in ("report.pdf", "form.pdf"):
                content = (FIXTURES / name).read_bytes()
                bent = [content[:at] + b"<<[(" + content[at + 4:] for at in range(60, len(content), len(content) // 12)]
                for number, variant in enumerate([*bent, content[:len(content) // 3], content[:len(content) * 2 // 3]]):
                    for tool in TOOLS:
                        with self.subTest(name=name, variant=number, tool=tool):
                            self.check(host, variant, tool)
        self.assertEqual([line for line in host.logs if line[0] == "error"], [])


if __name__ == "__main__":
    unittest.main()
