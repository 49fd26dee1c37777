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

pub(super) const PROVIDER_NAME: &str = "The name. It must be unique among MCPs and plugins, and not `aih`, `sse` or `messages`. Tools are named `{name}__{tool}`, with `-` and `.` as `_`.";
pub(super) const ENABLED: Field = optional(
    "enabled",
    &Kind::Bool,
    "true",
    "`false` switches the entry off. The entry is still listed.",
);
pub(super) const TIMEOUT: Field = optional(
    "timeout",
    &DURATION_K,
    "60s",
    "How long one call may take without progress.",
);
pub(super) const CONCURRENCY: Field = optional(
    "concurrency",
    &Kind::Int { min: 1, max: 1024 },
    "",
    "How many requests of clients the server works on at the same time. Further requests wait. With `1` the server gets one request after the other. Without this key there is no limit.",
);
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
    "Whether clients share a connection. With `auto`, a stateful server has one connection for each client.",
);
pub(super) const PROTOCOL: Field = optional(
    "protocol",
    &Kind::OneOf(&["auto", "modern", "legacy"]),
    "auto",
    "The era of MCP: `modern` is 2026-07-28 and later, `legacy` is before. With `auto` the hub finds out.",
);

pub(super) static EXTERNAL: Shape = Shape {
    name: "external_mcp",
    doc: "An MCP server reached over HTTP.",
    fields: &[
        required("name", &NAME_K, PROVIDER_NAME),
        required(
            "url",
            &HTTP_URL_K,
            "The address of the server. May hold `${VAR}`.",
        ),
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
            "`http` is streamable HTTP, and `sse` is the transport of 2024-11-05. `auto` tries both.",
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
            "Headers that the hub sends with every request. Values may hold `${VAR}`.",
        ),
        ENABLED,
        TIMEOUT,
        CONCURRENCY,
        TOOLS,
        SESSIONS,
        PROTOCOL,
    ],
};

pub(super) static TOKEN: Shape = Shape {
    name: "auth_token",
    doc: "The hub sends `Authorization: Bearer` with this token. `oauth` with a token does the same.",
    fields: &[
        required(
            "type",
            &Kind::OneOf(&["bearer", "oauth", "header"]),
            "The kind of sign-in.",
        ),
        required("token", &VALUE_K, "The token. May hold `${VAR}`."),
    ],
};

pub(super) static HEADER: Shape = Shape {
    name: "auth_header",
    doc: "The hub sends a header of your choice.",
    fields: &[
        required(
            "type",
            &Kind::OneOf(&["bearer", "oauth", "header"]),
            "The kind of sign-in.",
        ),
        required("name", &text_of(&HEADER_NAME), "The name of the header."),
        required("value", &VALUE_K, "The value of the header. May hold `${VAR}`."),
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
            "Offer only these tools. `*` matches any text. An empty list offers all.",
        ),
        optional(
            "deny",
            &PATTERNS,
            "[]",
            "Never offer these tools, also if `allow` names them.",
        ),
        optional(
            "rename",
            &Kind::Map(&SOME_TEXT, &text_of(&TOOL_NAME)),
            "{}",
            "The server's own name of a tool, and the name that clients see.",
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
            "The arguments of the program. May hold `${VAR}`.",
        ),
        optional(
            "env",
            &Kind::Map(&ENV_NAME, &ANY_VALUE_K),
            "{}",
            "Further environment variables. Values may hold `${VAR}`.",
        ),
        optional(
            "cwd",
            &VALUE_K,
            ".",
            "The folder in which the program starts. May hold `${VAR}`.",
        ),
        optional(
            "instances",
            &Kind::Int { min: 1, max: 64 },
            "1",
            "How many processes share the calls.",
        ),
        optional(
            "start_timeout",
            &DURATION_K,
            "90s",
            "How long a new process may be silent before it answers the hub. Time in which it uses the processor or prints does not count, up to five times this limit.",
        ),
        ENABLED,
        TIMEOUT,
        CONCURRENCY,
        TOOLS,
        SESSIONS,
        PROTOCOL,
    ],
};
