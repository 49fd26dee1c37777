//! Every key of `aih-config.yaml`.

use super::TRIGGERS;
use super::forms::{
    ANY_VALUE, CACHE_URL, DURATION, ENV_NAME, GIT_URL, HEADER_NAME, HOST, HTTP_GRANT, HTTP_URL, KEY_HASH,
    LISTEN, NAME, NETWORK, ORIGIN, PATH, PATTERN, PERMISSION, SIZE, SOME_TEXT, STORE_URL, TOOL_NAME, VALUE,
};
use super::table::{Field, Form, Kind, Shape, optional, required};

const fn text_of(form: &'static Form) -> Kind {
    Kind::Form(form)
}

static NAME_K: Kind = text_of(&NAME);
static VALUE_K: Kind = text_of(&VALUE);
static ANY_VALUE_K: Kind = text_of(&ANY_VALUE);
static HTTP_URL_K: Kind = text_of(&HTTP_URL);
static DURATION_K: Kind = text_of(&DURATION);
static SIZE_K: Kind = text_of(&SIZE);
static PATH_K: Kind = text_of(&PATH);
static PERMISSION_K: Kind = text_of(&PERMISSION);
static PATTERN_K: Kind = text_of(&PATTERN);
static ENV_NAME_K: Kind = text_of(&ENV_NAME);
static PATTERNS: Kind = Kind::List(&PATTERN_K);
static TEXTS: Kind = Kind::List(&Kind::Text);
static TOOL_RULES_K: Kind = Kind::Object(&TOOL_RULES);
static GRANTS_K: Kind = Kind::Object(&GRANTS);
static LIMITS_K: Kind = Kind::Object(&LIMITS);
static SOME_TEXT_K: Kind = text_of(&SOME_TEXT);
static COUNT: Kind = Kind::Int {
    min: 1,
    max: 1_000_000,
};

/// The file as a whole.
pub(crate) static ROOT: Shape = Shape {
    name: "config",
    doc: "Everything that an AI Infrastructure Hub offers and allows.",
    fields: &[
        required("version", &Kind::OneOf(&["1.0"]), "Version of this format."),
        optional("name", &Kind::Text, "ai-hub", "What the hub calls itself."),
        optional(
            "server",
            &Kind::Object(&SERVER),
            "",
            "Where the hub listens and who may come.",
        ),
        optional("store", &Kind::Object(&STORE), "", "Where state is kept."),
        optional(
            "cache",
            &Kind::Object(&CACHE),
            "",
            "Shared cache and limits of several replicas.",
        ),
        optional(
            "auth",
            &Kind::Object(&AUTH),
            "",
            "Keys, and sign-in for the web UI.",
        ),
        optional("mcps", &Kind::Object(&MCPS), "", "MCP servers behind the hub."),
        optional(
            "skills",
            &Kind::List(&Kind::Object(&SKILL)),
            "[]",
            "Instruction sets for AI clients.",
        ),
        optional(
            "plugins",
            &Kind::List(&Kind::Object(&PLUGIN)),
            "[]",
            "Sandboxed code that offers tools.",
        ),
        optional(
            "hooks",
            &Kind::List(&Kind::Object(&HOOK)),
            "[]",
            "Sandboxed code that runs on events.",
        ),
        optional(
            "configs",
            &Kind::Map(&NAME, &Kind::Object(&CLIENT_CONFIG)),
            "{}",
            "Settings files of AI clients, by name.",
        ),
        optional(
            "secrets",
            &Kind::Object(&SECRETS),
            "",
            "Where `${VAR}` comes from.",
        ),
        optional(
            "rate_limits",
            &Kind::Object(&RATE_LIMITS),
            "",
            "How often one may call.",
        ),
        optional(
            "audit",
            &Kind::Object(&AUDIT),
            "",
            "What is written down of every call.",
        ),
        optional(
            "git",
            &Kind::Object(&GIT),
            "",
            "The repository that `POST /api/v1/sync` pulls from.",
        ),
    ],
};

static SERVER: Shape = Shape {
    name: "server",
    doc: "Where the hub listens and who may come.",
    fields: &[
        optional(
            "listen",
            &text_of(&LISTEN),
            "127.0.0.1:8787",
            "Address and port. May hold `${VAR}`.",
        ),
        optional(
            "public_url",
            &HTTP_URL_K,
            "",
            "How clients reach the hub from outside. May hold `${VAR}`.",
        ),
        optional(
            "tls",
            &Kind::Object(&TLS),
            "",
            "Certificate and key; without it the hub serves plain HTTP.",
        ),
        optional(
            "allowed_hosts",
            &Kind::List(&text_of(&HOST)),
            "[]",
            "Further `Host` values besides loopback, the listen address and `public_url`.",
        ),
        optional(
            "allowed_origins",
            &Kind::List(&text_of(&ORIGIN)),
            "[]",
            "Further `Origin` values of browsers besides the hub's own.",
        ),
        optional(
            "ip_allowlist",
            &Kind::List(&text_of(&NETWORK)),
            "[]",
            "Client addresses and networks that may connect; empty lets all connect.",
        ),
    ],
};

static TLS: Shape = Shape {
    name: "tls",
    doc: "PEM files.",
    fields: &[
        required("cert", &PATH_K, "File with the certificate chain."),
        required("key", &PATH_K, "File with the private key."),
    ],
};

static STORE: Shape = Shape {
    name: "store",
    doc: "Where state is kept.",
    fields: &[optional(
        "url",
        &text_of(&STORE_URL),
        "sqlite://data/aih.db",
        "`sqlite://PATH`, or `postgres://…` for several replicas. May hold `${VAR}`.",
    )],
};

static CACHE: Shape = Shape {
    name: "cache",
    doc: "Shared cache and limits of several replicas.",
    fields: &[required(
        "url",
        &text_of(&CACHE_URL),
        "`redis://…` or `rediss://…`. May hold `${VAR}`.",
    )],
};

static AUTH: Shape = Shape {
    name: "auth",
    doc: "Keys, and sign-in for the web UI.",
    fields: &[
        optional(
            "api_keys",
            &Kind::List(&Kind::Object(&API_KEY)),
            "[]",
            "Keys of clients. A hub without any makes one at its first start.",
        ),
        optional("oauth", &Kind::Object(&OAUTH), "", "Sign-in for the web UI."),
    ],
};

static API_KEY: Shape = Shape {
    name: "api_key",
    doc: "A client's key. `aih key new NAME` prints a key and this entry.",
    fields: &[
        required(
            "name",
            &NAME_K,
            "Shown in logs and audit rows; unique among keys.",
        ),
        required(
            "key_hash",
            &text_of(&KEY_HASH),
            "`sha256:` and the SHA-256 of the key; never the key.",
        ),
        optional(
            "permissions",
            &Kind::List(&PERMISSION_K),
            "[]",
            "Paths such as `mcps/stripe/create_*`, `skills/*`, `admin/*`; `*` matches any text, `!` in front takes away.",
        ),
    ],
};

static OAUTH: Shape = Shape {
    name: "oauth",
    doc: "Sign-in for the web UI.",
    fields: &[
        required("provider", &Kind::OneOf(&["github"]), "Who signs people in."),
        required("client_id", &VALUE_K, "Id of the OAuth app. May hold `${VAR}`."),
        optional(
            "client_secret",
            &VALUE_K,
            "",
            "Secret of the OAuth app. May hold `${VAR}`.",
        ),
        optional(
            "allowed_users",
            &TEXTS,
            "[]",
            "Names at the provider; empty lets nobody in.",
        ),
    ],
};

static MCPS: Shape = Shape {
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

const PROVIDER_NAME: &str =
    "Unique among MCPs and plugins. Tools are `{name}__{tool}`, with `-` and `.` as `_`.";
const ENABLED: Field = optional(
    "enabled",
    &Kind::Bool,
    "true",
    "`false` lists the entry without serving it.",
);
const TIMEOUT: Field = optional("timeout", &DURATION_K, "60s", "How long one call may take.");
const TOOLS: Field = optional(
    "tools",
    &TOOL_RULES_K,
    "",
    "Which tools are offered, and how they are named.",
);
const SESSIONS: Field = optional(
    "sessions",
    &Kind::OneOf(&["auto", "shared", "per_client"]),
    "auto",
    "Whether clients share a connection. `auto` gives a stateful server one for each client.",
);
const PROTOCOL: Field = optional(
    "protocol",
    &Kind::OneOf(&["auto", "modern", "legacy"]),
    "auto",
    "Era of MCP: `modern` is 2026-07-28 and later. `auto` finds out.",
);

static EXTERNAL: Shape = Shape {
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

static TOKEN: Shape = Shape {
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

static HEADER: Shape = Shape {
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

static TOOL_RULES: Shape = Shape {
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

static LOCAL: Shape = Shape {
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

static SKILL: Shape = Shape {
    name: "skill",
    doc: "An instruction set for AI clients.",
    fields: &[
        required("name", &NAME_K, "Unique among skills."),
        optional(
            "description",
            &Kind::Text,
            "",
            "What it is for; default is the one in the file's front matter.",
        ),
        required(
            "file",
            &PATH_K,
            "Markdown file. One called `SKILL.md` stands for its whole folder.",
        ),
        optional(
            "tags",
            &TEXTS,
            "[]",
            "Words to find it by; default are those in the file's front matter.",
        ),
    ],
};

static CLIENT_CONFIG: Shape = Shape {
    name: "client_config",
    doc: "A settings file of an AI client.",
    fields: &[required("file", &PATH_K, "The file.")],
};

const RUNTIME: Field = optional(
    "runtime",
    &Kind::OneOf(&["node", "python", "wasm"]),
    "",
    "Language of the source, or `wasm` for a finished component; default by the file's extension.",
);
const GRANTS_FIELD: Field = optional("grants", &GRANTS_K, "", "What the code may reach; nothing else.");
const LIMITS_FIELD: Field = optional("limits", &LIMITS_K, "", "What one call may use.");
const CODE_CONFIG: Field = optional(
    "config",
    &Kind::Json,
    "{}",
    "Anything; the code reads it as JSON.",
);

static PLUGIN: Shape = Shape {
    name: "plugin",
    doc: "Sandboxed code that offers tools.",
    fields: &[
        required("name", &NAME_K, PROVIDER_NAME),
        optional("description", &Kind::Text, "", "What it is for."),
        required("file", &PATH_K, "Source or component."),
        RUNTIME,
        ENABLED,
        GRANTS_FIELD,
        LIMITS_FIELD,
        CODE_CONFIG,
    ],
};

static HOOK: Shape = Shape {
    name: "hook",
    doc: "Sandboxed code that runs on events.",
    fields: &[
        required("name", &NAME_K, "Unique among hooks."),
        required("trigger", &Kind::OneOf(TRIGGERS), "The event."),
        required("action", &PATH_K, "Source or component."),
        RUNTIME,
        ENABLED,
        optional("match", &Kind::Object(&HOOK_MATCH), "", "Only events that match."),
        optional(
            "order",
            &Kind::Int {
                min: -1_000_000,
                max: 1_000_000,
            },
            "0",
            "Lower runs first.",
        ),
        optional(
            "mode",
            &Kind::OneOf(&["blocking", "background"]),
            "",
            "Whether the event waits for the hook; default is the trigger's own.",
        ),
        optional(
            "on_failure",
            &Kind::OneOf(&["open", "closed"]),
            "open",
            "When the hook fails: `open` lets the event pass with a warning, `closed` denies it.",
        ),
        GRANTS_FIELD,
        LIMITS_FIELD,
        CODE_CONFIG,
    ],
};

static HOOK_MATCH: Shape = Shape {
    name: "hook_match",
    doc: "Patterns in which `*` matches any text; an empty list matches all.",
    fields: &[
        optional("mcps", &PATTERNS, "[]", "Names of MCPs."),
        optional("tools", &PATTERNS, "[]", "Names of tools as the MCP calls them."),
        optional("keys", &PATTERNS, "[]", "Names of API keys."),
    ],
};

static GRANTS: Shape = Shape {
    name: "grants",
    doc: "What code may reach. Nothing is granted that is not written here.",
    fields: &[
        optional(
            "http",
            &Kind::List(&text_of(&HTTP_GRANT)),
            "[]",
            "Origins such as `https://example.com:443`; `*` matches any text in the host.",
        ),
        optional(
            "secrets",
            &Kind::List(&ENV_NAME_K),
            "[]",
            "Names of variables that it may read.",
        ),
        optional(
            "env",
            &Kind::List(&ENV_NAME_K),
            "[]",
            "Environment variables that it sees.",
        ),
        optional("mcps", &PATTERNS, "[]", "Tools of other MCPs such as `github/*`."),
        optional(
            "files",
            &Kind::List(&Kind::Object(&FILE_GRANT)),
            "[]",
            "Folders that it sees.",
        ),
        optional(
            "state",
            &Kind::Object(&STATE_GRANT),
            "",
            "State that outlives a call.",
        ),
    ],
};

static FILE_GRANT: Shape = Shape {
    name: "file_grant",
    doc: "A folder that code sees.",
    fields: &[
        required("path", &PATH_K, "The folder."),
        optional(
            "mode",
            &Kind::OneOf(&["ro", "rw"]),
            "ro",
            "`ro` reads, `rw` also writes.",
        ),
    ],
};

static STATE_GRANT: Shape = Shape {
    name: "state_grant",
    doc: "State that outlives a call.",
    fields: &[required("max_bytes", &SIZE_K, "How much may be kept.")],
};

static LIMITS: Shape = Shape {
    name: "limits",
    doc: "What one call may use; what is not given is the hub's default.",
    fields: &[
        optional("memory", &SIZE_K, "", "Memory of one call."),
        optional("time", &DURATION_K, "", "Time of one call."),
        optional("output", &SIZE_K, "", "Size of one call's answer."),
        optional("concurrency", &COUNT, "", "Calls at once."),
    ],
};

static SECRETS: Shape = Shape {
    name: "secrets",
    doc: "Where `${VAR}` comes from.",
    fields: &[
        optional(
            "provider",
            &Kind::OneOf(&["env", "file", "vault", "doppler"]),
            "env",
            "`env` is the environment, then `.env` beside this file. The others are not available yet.",
        ),
        optional(
            "mappings",
            &Kind::Map(&ENV_NAME, &ANY_VALUE_K),
            "{}",
            "Names that stand for other variables.",
        ),
    ],
};

const REQUESTS: Field = required("requests", &COUNT, "How many.");
const PER: Field = optional("per", &DURATION_K, "1m", "In how long.");
const BURST: Field = optional("burst", &COUNT, "", "How many at once; default `requests`.");

static RATE_LIMITS: Shape = Shape {
    name: "rate_limits",
    doc: "How often one may call; what is not given has no limit.",
    fields: &[
        optional("per_key", &Kind::Object(&RATE), "", "Requests of one key."),
        optional(
            "per_ip",
            &Kind::Object(&RATE),
            "",
            "Requests of one client address.",
        ),
        optional(
            "auth_failures",
            &Kind::Object(&RATE),
            "",
            "Failed sign-ins of one client address.",
        ),
        optional(
            "rules",
            &Kind::List(&Kind::Object(&RATE_RULE)),
            "[]",
            "Limits on single tools or other paths.",
        ),
    ],
};

static RATE: Shape = Shape {
    name: "rate",
    doc: "So many requests in so long.",
    fields: &[REQUESTS, PER, BURST],
};

static RATE_RULE: Shape = Shape {
    name: "rate_rule",
    doc: "A limit on calls that match; each key counts by itself.",
    fields: &[
        required(
            "match",
            &PERMISSION_K,
            "A permission path such as `mcps/stripe/*`.",
        ),
        optional(
            "keys",
            &PATTERNS,
            "[\"*\"]",
            "Names of keys; `*` matches any text.",
        ),
        REQUESTS,
        PER,
        BURST,
    ],
};

static AUDIT: Shape = Shape {
    name: "audit",
    doc: "What is written down of every call.",
    fields: &[
        optional("enabled", &Kind::Bool, "true", "`false` writes nothing down."),
        optional(
            "arguments",
            &Kind::OneOf(&["none", "digest", "full"]),
            "digest",
            "What is kept of a call's arguments: nothing, a SHA-256, or all.",
        ),
        optional("keep", &DURATION_K, "90d", "Older rows are removed."),
    ],
};

static GIT: Shape = Shape {
    name: "git",
    doc: "The repository that holds this hub's files.",
    fields: &[
        optional(
            "url",
            &text_of(&GIT_URL),
            "",
            "Default is the remote of this file's folder. May hold `${VAR}`.",
        ),
        optional("branch", &SOME_TEXT_K, "main", "The branch."),
        optional(
            "interval",
            &DURATION_K,
            "",
            "How often to pull by itself; default never.",
        ),
        optional("token", &VALUE_K, "", "For https remotes. May hold `${VAR}`."),
    ],
};
