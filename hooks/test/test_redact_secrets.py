"""The hook outside the sandbox.

    python3 -m unittest discover -s hooks/test

needs a Python from 3.11 on and nothing else.
"""

from __future__ import annotations

import importlib
import json
import sys
import unittest
from pathlib import Path
from typing import Any

HOOKS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HOOKS), str(HOOKS.parent / "sdk/python")]

from aih_plugin import testing  # noqa: E402

importlib.import_module("redact-secrets")

# Put together here, so that no scanner takes them for real.
SECRETS = {
    "aws-key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github-token": "ghp_" + "a1B2c3" * 6,
    "gitlab-token": "glpat-" + "a1B2c3" * 4,
    "slack-token": "xoxb-" + "1234567890-abcdef",
    "slack-webhook": "hooks.slack.com/services/" + "T000/B000/" + "x" * 24,
    "discord-webhook": "discord.com/api/webhooks/123456789012345678/" + "x-Y_" * 10,
    "stripe-key": "sk_live_" + "a1B2c3D4e5",
    "openai-key": "sk-proj-" + "a1B2_c3D4-" * 4,
    "anthropic-key": "sk-ant-api03-" + "a1B2_c3D4-" * 4,
    "google-key": "AIza" + "a1B2c" * 7,
    "npm-token": "npm_" + "a1B2c3" * 6,
    "hub-key": "aih_" + "a1B2c3" * 7,
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9",
    "authorization": "Bearer " + "a1b2c3d4e5f6g7h8i9",
    "email": "ada.lovelace+x@mail.example.co.uk",
    "private-key": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,AB12\n\nMIIEabc+/=\n"
                   + "-----END RSA PRIVATE KEY-----",
}


class Redact(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.host = cls.enterClassContext(testing.Host())

    def after(self, result: dict[str, Any], **config: Any) -> Any:
        event = {"id": "e", "version": 1, "trigger": "tool.after", "server": "s", "tool": "t", "arguments": {}, "result": result}
        self.host.config = config
        kind, value, _ = self.host.event("tool.after", event)
        if kind == "proceed":
            return None
        self.assertEqual(kind, "replace")
        return value

    def text(self, text: str, **config: Any) -> str:
        masked = self.after({"content": [{"type": "text", "text": text}]}, **config)
        return text if masked is None else masked["content"][0]["text"]

    def test_every_kind(self) -> None:
        for kind, secret in SECRETS.items():
            with self.subTest(kind):
                self.assertEqual(self.text(f"It is {secret}, see?"), f"It is [redacted: {kind}], see?")
                self.assertEqual(self.text(secret), f"[redacted: {kind}]")
                self.assertEqual(self.text(f"({secret})"), f"([redacted: {kind}])")

    def test_passwords_by_their_name(self) -> None:
        for before, after in {
            "password=hunter2hunter2": "password=[redacted: password]",
            'MY_API_KEY: "abcdef123"': 'MY_API_KEY: "[redacted: password]"',
            '{"client_secret": "abcdef123", "n": 1}': '{"client_secret": "[redacted: password]", "n": 1}',
            r'{\"token\":\"abcdef123\"}': r'{\"token\":\"[redacted: password]\"}',
            "https://me:pa55@db.example/x": "https://[redacted: url-password]@db.example/x",
            "postgres://:pa55@db/x": "postgres://[redacted: url-password]@db/x",
            f"token: {SECRETS['github-token']}": "token: [redacted: password]",
        }.items():
            self.assertEqual(self.text(before), after)

    def test_nothing_to_mask_is_left_alone(self) -> None:
        for text in [
            "", "An ordinary sentence about tokens, passwords and e-mail.", "next_page_token: abcdef123456", "max_tokens=100000",
            "basic understanding of internationalization", "task-force-of-twenty-people-and-more", "user@localhost", "@decorator",
            "https://example.com:8080/a@b", "https://example.com/path?x=1", "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678", "x" * 1000,
        ]:
            self.assertIsNone(self.after({"content": [{"type": "text", "text": text}]}), text)
        self.assertIsNone(self.after({"content": []}))
        self.assertIsNone(self.after({"content": [{"type": "image", "data": "AKIA" + "A" * 16, "mimeType": "image/png"}]}))

    def test_structured_content(self) -> None:
        email = SECRETS["email"]
        masked = self.after({
            "content": [{"type": "text", "text": "ok"}, {"type": "resource", "resource": {"uri": "x:y", "text": email}}],
            "structuredContent": {"n": 1, "ok": True, "none": None, "f": 1.5, "list": [email, {"deep": [f"<{email}>"]}], "data": email,
                                  "password": "short", "apiKey": ["k1", "k2"], "nextPageToken": "abc", "token": 5, email: "key"},
            "isError": False, "_meta": {"x": 1},
        })
        mask, password = "[redacted: email]", "[redacted: password]"
        self.assertEqual(masked, {
            "content": [{"type": "text", "text": "ok"}, {"type": "resource", "resource": {"uri": "x:y", "text": mask}}],
            "structuredContent": {"n": 1, "ok": True, "none": None, "f": 1.5, "list": [mask, {"deep": [f"<{mask}>"]}], "data": mask,
                                  "password": password, "apiKey": [password, password], "nextPageToken": "abc", "token": 5, email: "key"},
            "isError": False, "_meta": {"x": 1},
        })

    def test_json_in_text_stays_json(self) -> None:
        document = json.dumps({"all": list(SECRETS.values()), "password": "p\"a'ss\\word123", "nested": json.dumps(SECRETS)})
        masked = self.text(document)
        self.assertIsInstance(json.loads(masked), dict)
        self.assertIsInstance(json.loads(json.loads(masked)["nested"]), dict)
        for kind, secret in SECRETS.items():
            self.assertNotIn(secret, masked, kind)

    def test_own_patterns_allowed_texts_and_kinds_that_are_off(self) -> None:
        self.assertEqual(self.text("see CUST-00123.", patterns={"customer": r"\bCUST-(\d+)"}), "see [redacted: customer].")
        self.assertEqual(self.text("a@example.com b@example.org", allow=["*@example.com"]), "a@example.com [redacted: email]")
        self.assertEqual(self.text("a@example.com " + SECRETS["jwt"], off=["email"]), "a@example.com [redacted: jwt]")
        with self.assertRaisesRegex(testing.CallFailed, "unterminated"):
            self.text("x", patterns={"bad": "("})

    def test_masked_once(self) -> None:
        once = self.text("password=hunter2hunter2 " + SECRETS["email"])
        self.assertEqual(self.text(once), once)

    def test_texts_that_are_made_to_be_slow_end(self) -> None:
        for part in ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----A", "eyJ", "eyJaaaaaaaa.", "a@", "a.", "a@a.", "x:", "://a:", "password=", "Bearer ",
                     "a", "sk-", "api-", "token: ", "Aa0_", " ", "-"]:
            self.text(part * (100_000 // len(part)))

    def test_by_hand(self) -> None:
        self.host.config = {}
        kind, _, answer = self.host.event("manual", {"payload": {"a": SECRETS["email"]}, "by": "cli"})
        self.assertEqual((kind, answer), ("proceed", {"masked": {"a": "[redacted: email]"}, "counts": {"email": 1}}))


if __name__ == "__main__":
    unittest.main()
