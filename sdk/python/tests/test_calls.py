"""Calls and events, the way of a real component with the generated modules faked."""

from __future__ import annotations

import asyncio
import json
import random
import unittest
from typing import Any

from aih_plugin import _wit, testing, tool
from aih_plugin import state as state_module

from . import plugin_under_test  # noqa: F401


class Base(unittest.TestCase):
    def host(self, **options: Any) -> testing.Host:
        host = testing.Host(**options)
        host.__enter__()
        self.addCleanup(host.__exit__)
        return host


class Tools(Base):
    def test_listing(self) -> None:
        tools = {entry["name"]: entry for entry in self.host().tools()}
        add = tools["add"]
        self.assertEqual(add["description"], "Adds.")
        self.assertEqual(add["input_schema"]["properties"]["b"],
                         {"type": "integer", "minimum": 0, "description": "The second.", "default": 1})
        self.assertEqual(add["output_schema"]["required"], ["total", "parts"])
        self.assertIsNone(tools["give"]["output_schema"])
        self.assertEqual(tools["re-named"]["annotations"],
                         {"title": "A title", "readOnlyHint": True, "openWorldHint": False})

    def test_a_dataclass_comes_back_structured_and_as_text(self) -> None:
        result = self.host().call("add", {"a": 1, "b": 2})
        self.assertEqual(result.structured, {"total": 3, "parts": [1, 2]})
        self.assertEqual(json.loads(result.text), result.structured)
        self.assertFalse(result.is_error)

    def test_wrong_arguments_are_told_all_at_once(self) -> None:
        for given, expected in [
            ({"a": "x", "b": -1}, 'a: expected an integer, got the string "x"; b: must be at least 0, got -1'),
            ({}, "a: is missing"), ({"a": 1, "c": 2}, "c: is not known; known are a, b"),
            ("[", "the arguments are not JSON"), ("[]", "arguments: expected an object, got an array"),
        ]:
            with self.subTest(given=given), self.assertRaises(testing.CallFailed) as caught:
                self.host().call("add", given)
            self.assertEqual(caught.exception.kind, "invalid-arguments")
            self.assertIn(expected, caught.exception.message)

    def test_an_unknown_tool(self) -> None:
        with self.assertRaises(testing.CallFailed) as caught:
            self.host().call("ad")
        self.assertEqual(caught.exception.kind, "unknown-tool")

    def test_asyncio_works_in_a_tool(self) -> None:
        self.assertEqual(self.host().call("re-named").text, "soon late thread")
        self.assertEqual(self.host().call("re-named", {"seconds": 0.01}).text, "soon late thread")

    def test_waiting_for_nothing_is_an_error_and_not_a_hang(self) -> None:
        result = self.host().call("stuck")
        self.assertTrue(result.is_error)
        self.assertIn("nothing can go on", result.text)

    def test_what_tools_return(self) -> None:
        host = self.host()

        def give(what: str) -> tuple[list[Any], Any]:
            result = host.call("give", {"what": what})
            return [(type(block).__name__.removeprefix("Content_"), block.value) for block in result.content], result.structured

        self.assertEqual(give("none"), ([], None))
        self.assertEqual(give("text"), ([("Text", "text")], None))
        self.assertEqual(give("number"), ([("Text", "3")], None))
        self.assertEqual(give("dict"), ([("Text", '{"a":1}')], {"a": 1}))
        self.assertEqual(give("list"), ([("Text", "[1,2]")], {"result": [1, 2]}))
        self.assertEqual(give("dates"), ([("Text", '{"set":[1,2],"bytes":"aGk="}')], {"set": [1, 2], "bytes": "aGk="}))
        self.assertEqual(give("structured"), ([("Text", '{"result":[1]}')], {"result": [1]}))
        (kind, blob), = give("image")[0]
        self.assertEqual((kind, blob.mime_type), ("Image", "image/png"))
        self.assertEqual([kind for kind, _ in give("contents")[0]], ["Text", "Text", "Audio", "Image"])
        (kind, text), = give("resource")[0]
        self.assertEqual((kind, json.loads(text)), ("ResourceJson", {
            "type": "resource", "resource": {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "hi"}}))
        (kind, text), = give("link")[0]
        self.assertEqual(json.loads(text), {"type": "resource_link", "uri": "https://example.com", "name": "n", "size": 3})
        result = host.call("give", {"what": "output"})
        self.assertEqual((result.text, result.structured, result.is_error, result.meta), ("failed", {"a": 1}, True, {"k": 1}))
        for what, words in [("bytes", "return Image"), ("nan", "JSON compliant"), ("object", "cannot be said in JSON")]:
            result = host.call("give", {"what": what})
            self.assertTrue(result.is_error, what)
            self.assertIn(words, result.text)

    def test_a_result_that_breaks_its_annotation(self) -> None:
        result = self.host().call("wrong_output")
        self.assertTrue(result.is_error)
        self.assertIn("result.name: is missing", result.text)

    def test_failures(self) -> None:
        host = self.host()
        for how, text in [("value", "ValueError: bad value"), ("tool", "expected"), ("empty", "KeyError"), ("exit", "SystemExit: 3")]:
            result = host.call("fail", {"how": how})
            self.assertTrue(result.is_error)
            self.assertEqual(result.text, text)
        levels = [(level, "Traceback" in fields["traceback"]) for level, _, fields in host.logs]
        self.assertEqual(levels, [("error", True)] * 3, "all but ToolError are logged with their traceback")
        for how, kind in [("denied", "denied"), ("unavailable", "unavailable"), ("arguments", "invalid-arguments")]:
            with self.assertRaises(testing.CallFailed) as caught:
                host.call("fail", {"how": how})
            self.assertEqual(caught.exception.kind, kind)

    def test_each_call_has_fresh_chance(self) -> None:
        host = self.host()
        random.seed(1)
        expected = random.random()
        random.seed(1)
        host.call("give", {"what": "none"})
        self.assertNotEqual(random.random(), expected)

    def test_names(self) -> None:
        with self.assertRaisesRegex(ValueError, "cannot be the name of a tool"):
            tool("a b")(lambda: None)
        with self.assertRaisesRegex(ValueError, "two tools"):
            tool("add")(lambda: None)


class Access(Base):
    def use(self, what: str, **options: Any) -> Any:
        result = self.host(**options).call("use", {"what": what})
        if result.is_error:
            raise AssertionError(result.text)
        return result.structured["result"] if result.structured and "result" in result.structured else \
            result.structured or result.text

    def test_context_and_config(self) -> None:
        self.assertEqual(self.use("context", principal="me"), {"id": "test-call", "principal": "me", "left": True})
        self.assertEqual(self.use("config", config={"limit": 3}), [3, 7])
        self.assertEqual(self.use("secret", secrets={"TOKEN": "t"}), "t")

    def test_state(self) -> None:
        self.assertEqual(self.use("state"), ["1", 1, None, {"x": 1}, ["a", "b"]])
        store = {"count": (b"4", 2)}
        self.assertEqual(self.use("count", state=store), "5")
        self.assertEqual(store["count"], (b"5", 3))

    def test_update_reads_anew_where_another_call_was_first(self) -> None:
        store = {"count": (b"4", 2)}
        host = self.host(state=store)
        real, tries = host._table["state"].set, []

        def racing(key: str, value: bytes, expect: int | None) -> int:
            if not tries:
                tries.append(1)
                store["count"] = (b"10", 3)
            version: int = real(key, value, expect)
            return version

        host._table["state"].set = racing
        self.assertEqual(host.call("use", {"what": "count"}).text, "11")

    def test_many_keys_come_in_pages(self) -> None:
        self.host(state={f"k{i:04}": (b"", 1) for i in range(2500)})
        _wit.set_active(True)
        self.assertEqual(len(list(state_module.keys("k"))), 2500)

    def test_http(self) -> None:
        def answer(method: str, url: str, headers: dict[str, str], body: bytes) -> Any:
            self.assertEqual((method, url), ("POST", "https://example.com/x?y=1&q=a&q=b+c#f"))
            self.assertEqual(headers["content-type"], "application/json")
            self.assertEqual(json.loads(body), {"k": "é"})
            return 201, {"x-a": "1", "content-type": 'text/plain; charset="utf-8"'}, b"[1]"

        self.assertEqual(self.use("http", http=answer), [201, "[1]", [1], "1", True])
        self.assertEqual(self.use("form", http=lambda m, u, h, b: (200, {}, b)), "a=b+c")
        result = self.host(http=lambda *_: (404, {}, b"gone")).call("use", {"what": "form"})
        self.assertEqual((result.is_error, result.text), (True, "https://example.com answered 404: gone"))

    def test_mcp_progress_and_client(self) -> None:
        answer = {"content": [{"type": "text", "text": "t"}], "structuredContent": {"n": 7}}
        self.assertEqual(self.use("mcp", mcp=lambda s, t, a: answer if (s, t, a) == ("github", "get_issue", {"number": 7}) else {}),
                         ["t", {"n": 7}, False])
        host = self.host()
        host.call("use", {"what": "progress"})
        self.assertEqual(host.progress, [(1.0, 2.0, "half")])
        self.assertIn("gave up", self.host(cancelled=True).call("use", {"what": "progress"}).text)

        def elicit(params: Any) -> Any:
            self.assertEqual(params["requestedSchema"]["required"], ["total", "parts"])
            return {"action": "accept", "content": {"total": 1, "parts": []}}

        self.assertEqual(self.use("elicit", elicit=elicit), ["accept", {"total": 1, "parts": []}])
        self.assertEqual(self.use("elicit", elicit=lambda p: {"action": "decline"}), ["decline", None])
        self.assertEqual(self.use("sample", sample=lambda p: {"content": {"type": "text", "text": p["systemPrompt"]}}), "s")
        self.assertEqual(self.use("roots", roots=[{"uri": "file:///a"}]), ["file:///a"])

    def test_logs(self) -> None:
        host = self.host()
        host.call("use", {"what": "log"})
        self.assertEqual(host.logs, [("info", "said", {"key": 1}), ("warn", "warned 3", {"logger": "my.logger"})])

    def test_what_is_not_granted_says_so(self) -> None:
        host = self.host(state=None)
        for what, words in [("state", "state: get"), ("http", "http: POST https://example.com"), ("secret", "'TOKEN' is not granted"),
                            ("mcp", "mcp: github/get_issue: not granted"), ("elicit", "client: elicit: not granted")]:
            if what == "state":
                words = "state: set 'a': the operator's configuration does not grant it"
            result = host.call("use", {"what": what})
            self.assertTrue(result.is_error)
            self.assertIn(words, result.text)

    def test_errors_have_types(self) -> None:
        result = self.host(state={"a": (b"", 4)}).call("use", {"what": "conflict"})
        self.assertIn("its version is 4 now", result.text)
        host = self.host()
        for case, values, words in [("TimedOut", [], "no answer in time"), ("TooLarge", [9], "larger than 9 bytes"),
                                    ("Connection", ["refused"], "refused"), ("Other", ["x"], "x")]:
            def refuse(*_: Any, case: str = case, values: list[Any] = values) -> Any:
                raise host.error("http", case, *values)
            host.http = refuse
            self.assertIn(words, host.call("use", {"what": "form"}).text)

    def test_the_host_cannot_be_asked_at_build_time(self) -> None:
        self.host()
        with self.assertRaisesRegex(RuntimeError, "while the plugin is built"):
            state_module.get("a")


class Hooks(Base):
    def test_decisions(self) -> None:
        host = self.host()
        self.assertEqual(host.event("tool.before", {"tool": "a"}), ("proceed", None, None))
        self.assertEqual(host.event("tool.before", {"tool": "forbidden"}), ("deny", "it is forbidden", None))
        self.assertEqual(host.event("other", {}), ("proceed", None, None))
        self.assertEqual(host.event("manual", [1]), ("proceed", None, {"payload": [1]}))

    def test_what_one_hook_replaces_the_next_one_sees(self) -> None:
        decision = self.host().event("tool.before", {"tool": "a", "replace": 1}, attempt="2")
        self.assertEqual(decision, ("replace", {"tool": "a", "replace": 1, "seen": 2, "twice": True}, None))

    def test_a_hook_that_raises_is_a_failure(self) -> None:
        host = self.host()
        with self.assertRaises(testing.CallFailed) as caught:
            host.event("tool.before", {"tool": "raises"})
        self.assertEqual((caught.exception.kind, caught.exception.message), ("other", "ValueError: bad hook"))
        self.assertEqual(host.logs[0][0], "error")


class Loop(unittest.TestCase):
    def test_the_outer_loop_goes_on_afterwards(self) -> None:
        from aih_plugin import _loop

        async def outer() -> str:
            left = _loop.leave()
            inner = _loop.run(asyncio.sleep(0.001, "inner"))
            _loop.back(left)
            await asyncio.sleep(0)
            return inner

        self.assertEqual(asyncio.run(outer()), "inner")


if __name__ == "__main__":
    unittest.main()
