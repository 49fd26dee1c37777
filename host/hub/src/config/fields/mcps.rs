//! `mcps`.

use super::{ANY_VALUE_K, DURATION_K, HTTP_URL_K, NAME_K, PATTERNS, TOOL_RULES_K, VALUE_K, text_of};
use crate::config::forms::{ENV_NAME, HEADER_NAME, SOME_TEXT, TOOL_NAME};
use crate::config::table::{Field, Kind, Shape, optional, required};

pub(super) static MCPS: Shape = Shape {
    name: "mcps",
    doc: "MCP servers behind the hub.",
    fields: &[
        optional(
            "external",
            &Kind::List(&Kind::Object(&EXTERNAL)),
            "[]",
            "Servers reached over HTTP.",
        ),
        optional(
            "local",
            &Kind::List(&Kind::Object(&LOCAL)),
            "[]",
            "Servers started by the hub, over stdio.",
        ),
    ],
};

pub(super) const PROVIDER_NAME: &str = "Unique among MCPs and plugins; `aih`, `sse` and `messages` are the hub's own. Tools are `{name}__{tool}`, with `-` and `.` as `_`.";
pub(super) const ENABLED: Field = optional(
    "enabled",
    &Kind::Bool,
    "true",
    "`false` lists the entry without serving it.",
);
pub(super) const TIMEOUT: Field = optional("timeout", &DURATION_K, "60s", "How long one call may take.");
pub(super) const TOOLS: Field = optional(
    "tools",
    &TOOL_RULES_K,
    "",
    "Which tools are offered, and how they are named.",
);
pub(super) const SESSIONS: Field = optional(
    "sessions",
    &Kind::OneOf(&["auto", "shared", "per_client"]),
    "auto",
    "Whether clients share a connection. `auto` gives a stateful server one for each client.",
);
pub(super) const PROTOCOL: Field = optional(
    "protocol",
    &Kind::OneOf(&["auto", "modern", "legacy"]),
    "auto",
    "Era of MCP: `modern` is 2026-07-28 and later. `auto` finds out.",
);

pub(super) static EXTERNAL: Shape = Shape {
    name: "external_mcp",
    doc: "An MCP server reached over HTTP.",
    fields: &[
        required("name", &NAME_K, PROVIDER_NAME),
        required("url", &HTTP_URL_K, "Its address. May hold `${VAR}`."),
        optional(
            "instances",
            &Kind::List(&HTTP_URL_K),
            "[]",
            "Further addresses of the same server. May hold `${VAR}`.",
        ),
        optional(
            "transport",
            &Kind::OneOf(&["http", "sse", "auto"]),
            "auto",
            "`http` is streamable HTTP, `sse` the transport of 2024-11-05. `auto` tries both.",
        ),
        optional(
            "auth",
            &Kind::Tagged {
                tag: "type",
                doc: "How the hub signs in to the server.",
                variants: &[("bearer", &TOKEN), ("oauth", &TOKEN), ("header", &HEADER)],
            },
            "",
            "How the hub signs in to the server.",
        ),
        optional(
            "headers",
            &Kind::Map(&HEADER_NAME, &ANY_VALUE_K),
            "{}",
            "Sent with every request. Values may hold `${VAR}`.",
        ),
        ENABLED,
        TIMEOUT,
        TOOLS,
        SESSIONS,
        PROTOCOL,
    ],
};

pub(super) static TOKEN: Shape = Shape {
    name: "auth_token",
    doc: "`Authorization: Bearer` with this token; `oauth` with a token is the same.",
    fields: &[
        required(
            "type",
            &Kind::OneOf(&["bearer", "oauth", "header"]),
            "Kind of sign-in.",
        ),
        required("token", &VALUE_K, "The token. May hold `${VAR}`."),
    ],
};

pub(super) static HEADER: Shape = Shape {
    name: "auth_header",
    doc: "A header of its own.",
    fields: &[
        required(
            "type",
            &Kind::OneOf(&["bearer", "oauth", "header"]),
            "Kind of sign-in.",
        ),
        required("name", &text_of(&HEADER_NAME), "Name of the header."),
        required("value", &VALUE_K, "Its value. May hold `${VAR}`."),
    ],
};

pub(super) static TOOL_RULES: Shape = Shape {
    name: "tool_rules",
    doc: "Which tools are offered, by the server's own names.",
    fields: &[
        optional(
            "allow",
            &PATTERNS,
            "[]",
            "Only these; `*` matches any text. Empty offers all.",
        ),
        optional(
            "deny",
            &PATTERNS,
            "[]",
            "Never these, also when `allow` names them.",
        ),
        optional(
            "rename",
            &Kind::Map(&SOME_TEXT, &text_of(&TOOL_NAME)),
            "{}",
            "The server's name to the name that clients see.",
        ),
    ],
};

pub(super) static LOCAL: Shape = Shape {
    name: "local_mcp",
    doc: "An MCP server that the hub starts and speaks to over stdio.",
    fields: &[
        required("name", &NAME_K, PROVIDER_NAME),
        required(
            "command",
            &VALUE_K,
            "A program on the PATH, or a path. May hold `${VAR}`.",
        ),
        optional(
            "args",
            &Kind::List(&ANY_VALUE_K),
            "[]",
            "Its arguments. May hold `${VAR}`.",
        ),
        optional(
            "env",
            &Kind::Map(&ENV_NAME, &ANY_VALUE_K),
            "{}",
            "Further environment variables. Values may hold `${VAR}`.",
        ),
        optional("cwd", &VALUE_K, ".", "Folder to start it in. May hold `${VAR}`."),
        optional(
            "instances",
            &Kind::Int { min: 1, max: 64 },
            "1",
            "How many processes share the calls.",
        ),
        ENABLED,
        TIMEOUT,
        TOOLS,
        SESSIONS,
        PROTOCOL,
    ],
};
