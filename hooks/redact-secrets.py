"""Masks secrets in what tools answer, before a model sees it: keys, tokens, private keys, passwords and e-mail addresses.

Texts of content blocks are masked, and strings anywhere in structured content; numbers, images and names of fields
stay. A result without anything to mask is left as it is.
"""

import re
from fnmatch import fnmatchcase

from aih_plugin import Event, Replace, Result, config, hook, log

# In the order in which they are tried. Each one has bounds, and nothing in it can match the same text in two ways,
# so that time grows with the length of the text and with nothing else.
KINDS = {
    "private-key": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
                   r"(?:[A-Za-z0-9+/=:,\s]|\\[nr]|-(?!----)){0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
    "jwt": r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "aws-key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
    "github-token": r"gh[oprsu]_[A-Za-z0-9]{30,255}|github_pat_\w{50,255}",
    "gitlab-token": r"glpat-[\w.-]{20,255}",
    "slack-token": r"xox[abeoprs]-[\w.-]{10,255}|xapp-[\w-]{10,255}",
    "slack-webhook": r"hooks\.slack\.com/services/[\w/]{20,255}",
    "discord-webhook": r"discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{5,25}/[\w-]{20,255}",
    "stripe-key": r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{20,255}",
    "anthropic-key": r"sk-ant-[\w-]{20,255}",
    "openai-key": r"sk-[\w-]{20,255}",
    "google-key": r"AIza[\w-]{35}|ya29\.[\w-]{20,2000}|GOCSPX-[\w-]{20,255}",
    "npm-token": r"npm_[A-Za-z0-9]{36}",
    "hub-key": r"aih_[A-Za-z0-9_-]{20,255}",
    # Only what has a digit: "basic understanding" is none.
    "authorization": r"(?i:bearer|basic)\s{1,3}(?=[A-Za-z._~+/-]{0,200}\d)[\w.~+/-]{16,4000}={0,2}",
    "url-password": r"(?<=://)[^\s/:@\"'\\]{0,64}:[^\s/@\"'\\]{1,128}(?=@)",
    "password": r"(?i:(?:api|access|secret|private|signing|encryption|auth)[_-]?key|(?:access|auth|refresh|bearer|id|api)[_-]?token"
                r"|client[_-]?secret|(?<![_-])token|secret|password|passwd|pwd)(?![A-Za-z0-9_-])[\\\"']{0,2}\s{0,3}[:=]\s{0,3}[\\\"']{0,2}"
                r"(?P<value>[^\s\"'\\,;&<>{}\[\]()]{6,500})",
    "email": r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])",
}
# Fields whose whole value is a secret, whatever it looks like. `nextPageToken` is none.
FIELD = re.compile(
    r"(?:.*[_-])?(?:password|passwd|pwd|secret|api_?key|private_?key|secret_?key|access_?key|(?:access|auth|refresh|id)_?token|client_?secret)"
    r"|token", re.IGNORECASE | re.ASCII)
# In blocks of content: bytes, and words of the protocol.
KEPT = frozenset({"type", "mimeType", "data", "blob"})


def compiled(more: dict[str, str]) -> tuple[re.Pattern[str], dict[str, str]]:
    """One alternation of all, and the kind of each of its groups. None begins inside of a word."""
    kinds = {**{f"own_{number}": name for number, name in enumerate(more)}, **{name.replace("-", "_"): name for name in KINDS}}
    own = [f"(?P<own_{number}>{pattern})" for number, pattern in enumerate(more.values())]
    known = "|".join(f"(?P<{name.replace('-', '_')}>{pattern})" for name, pattern in KINDS.items())
    return re.compile("|".join([*own, rf"(?<![A-Za-z0-9])(?:{known})"]), re.ASCII), kinds


# Made while the hook is built: a call finds it ready.
KNOWN = compiled({})


class Mask:
    """Masks, and counts what it masked by kind."""

    def __init__(self) -> None:
        more: dict[str, str] = config.get("patterns", {})
        self.pattern, self.kinds = compiled(more) if more else KNOWN
        self.off = set(config.get("off", []))
        self.allow: list[str] = config.get("allow", [])
        self.counts: dict[str, int] = {}

    def instead(self, kind: str, found: str) -> str | None:
        """What stands for a secret, or nothing where it may be seen."""
        if kind in self.off or any(fnmatchcase(found, pattern) for pattern in self.allow):
            return None
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"[redacted: {kind}]"

    def text(self, text: str) -> str:
        return self.pattern.sub(self.one, text)

    def one(self, match: re.Match[str]) -> str:
        kind = self.kinds[match.lastgroup or ""]
        found = match["value"] if kind == "password" else match[0]
        # The name in front of a password stays: it says what was there.
        before = match[0].removesuffix(found)
        if "[redacted" in found:
            return match[0]
        mask = self.instead(kind, found)
        return match[0] if mask is None else before + mask

    def value(self, value: object, kept: frozenset[str] = frozenset(), field: str = "") -> object:
        """The same value with its strings masked, but those of the fields `kept`."""
        if isinstance(value, str):
            if value and FIELD.fullmatch(field):
                return self.instead("password", value) or value
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item, kept, field) for item in value]
        if isinstance(value, dict):
            return {name: item if name in kept else self.value(item, kept, name) for name, item in value.items()}
        return value


@hook("tool.after", "manual")
def redact(event: Event) -> Replace | Result | None:
    """Answers the result without its secrets, or nothing."""
    mask = Mask()
    if event.name == "manual":
        # By hand, with any JSON: shows what would become of it.
        return Result({"masked": mask.value(event["payload"]), "counts": mask.counts})
    result = event["result"]
    masked = {**result, "content": mask.value(result.get("content", []), KEPT)}
    if "structuredContent" in result:
        masked["structuredContent"] = mask.value(result["structuredContent"])
    if not mask.counts:
        return None
    log.info("masked", **mask.counts)
    return Replace(masked)
