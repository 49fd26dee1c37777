//! `server`, `store`, `cache`, `auth`, `secrets`, `rate_limits`, `audit`, `git`.

use super::{
    ANY_VALUE_K, COUNT, DURATION_K, HTTP_URL_K, NAME_K, PATH_K, PATTERNS, PERMISSION_K, SOME_TEXT_K, TEXTS,
    VALUE_K, text_of,
};
use crate::config::forms::{
    CACHE_URL, ENV_NAME, GIT_URL, HOST, KEY_HASH, LISTEN, NETWORK, ORIGIN, STORE_URL,
};
use crate::config::table::{Field, Kind, Shape, optional, required};

pub(super) static SERVER: Shape = Shape {
    name: "server",
    doc: "Where the hub listens, and who may connect.",
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
            "The address at which clients reach the hub from outside, with the path below which a reverse proxy serves it. May hold `${VAR}`.",
        ),
        optional(
            "tls",
            &Kind::Object(&TLS),
            "",
            "The certificate and the key. Without `tls` the hub serves plain HTTP.",
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
            "Further `Origin` values of browsers besides the hub's own. Pages of these origins may read what the hub answers (CORS).",
        ),
        optional(
            "ip_allowlist",
            &Kind::List(&text_of(&NETWORK)),
            "[]",
            "The client addresses and networks that may connect. An empty list lets all connect.",
        ),
        optional(
            "conversation_timeout",
            &DURATION_K,
            "15m",
            "How long a client without a session (MCP 2026-07-28) may be silent before its conversation counts as ended.",
        ),
        optional(
            "first_list_wait",
            &DURATION_K,
            "10s",
            "How long the first lists of a client wait for servers that start, if the client is known to list only once. The time begins with the greeting of the client.",
        ),
        optional(
            "max_tool_name",
            &MAX_TOOL_NAME,
            "50",
            "The most characters of a tool's or a prompt's name on `/mcp`, 20 to 128. A longer name is cut in its middle. Clients put a prefix in front of names, and models take 64 characters.",
        ),
        optional(
            "compat",
            &COMPAT,
            "auto",
            "`auto` rewrites schemas and results for clients that are known not to read them, by the name that a client gives. `off` passes them on as servers write them.",
        ),
    ],
};

static COMPAT: Kind = Kind::OneOf(&["auto", "off"]);

static MAX_TOOL_NAME: Kind = Kind::Int { min: 20, max: 128 };

pub(super) static TLS: Shape = Shape {
    name: "tls",
    doc: "The PEM files for HTTPS.",
    fields: &[
        required("cert", &PATH_K, "The file with the certificate chain."),
        required("key", &PATH_K, "The file with the private key."),
    ],
};

pub(super) static STORE: Shape = Shape {
    name: "store",
    doc: "Where the hub keeps state.",
    fields: &[optional(
        "url",
        &text_of(&STORE_URL),
        "sqlite://data/aih.db",
        "`sqlite://PATH`, relative to the folder of this file. `postgres://…` is not served by this version. May hold `${VAR}`.",
    )],
};

pub(super) static CACHE: Shape = Shape {
    name: "cache",
    doc: "a cache and limits that several replicas share.",
    fields: &[required(
        "url",
        &text_of(&CACHE_URL),
        "`redis://…` or `rediss://…`. May hold `${VAR}`.",
    )],
};

pub(super) static AUTH: Shape = Shape {
    name: "auth",
    doc: "The keys of clients.",
    fields: &[
        optional(
            "api_keys",
            &Kind::List(&Kind::Object(&API_KEY)),
            "[]",
            "The keys of clients. A hub without a key makes one at its first start.",
        ),
        optional("oauth", &Kind::Object(&OAUTH), "", "sign-in for people.")
            .without_effect("nobody can sign in with it"),
    ],
};

pub(super) static API_KEY: Shape = Shape {
    name: "api_key",
    doc: "A client's key. `aih key new NAME` prints a key and this entry.",
    fields: &[
        required("name", &NAME_K, "Shown in logs; unique among keys."),
        required(
            "key_hash",
            &text_of(&KEY_HASH),
            "`sha256:` and the SHA-256 of the key. Never write the key itself.",
        ),
        optional(
            "permissions",
            &Kind::List(&PERMISSION_K),
            "[]",
            "Paths such as `mcps/stripe/create_*`, `skills/*`, `admin/*`. `*` matches any text, and `!` in front takes away.",
        ),
        optional(
            "compat",
            &COMPAT,
            "",
            "In place of `server.compat` for clients with this key.",
        ),
    ],
};

pub(super) static OAUTH: Shape = Shape {
    name: "oauth",
    doc: "sign-in for people.",
    fields: &[
        required(
            "provider",
            &Kind::OneOf(&["github"]),
            "The service that signs people in.",
        ),
        required(
            "client_id",
            &VALUE_K,
            "The id of the OAuth app. May hold `${VAR}`.",
        ),
        optional(
            "client_secret",
            &VALUE_K,
            "",
            "The secret of the OAuth app. May hold `${VAR}`.",
        ),
        optional(
            "allowed_users",
            &TEXTS,
            "[]",
            "Names at the provider of the people who are to be let in; empty is nobody.",
        ),
    ],
};

pub(super) static SECRETS: Shape = Shape {
    name: "secrets",
    doc: "Where the values of `${VAR}` come from.",
    fields: &[
        optional(
            "provider",
            &Kind::OneOf(&["env", "file", "vault", "doppler"]),
            "env",
            "`env` reads the environment, then `.env` beside this file. `file` reads `path` first, then the same as `env`. The others are not available yet.",
        ),
        optional(
            "path",
            &PATH_K,
            "",
            "For `file`: a folder with one file for each variable, such as /run/secrets, or a file of NAME=value lines.",
        ),
        optional(
            "mappings",
            &Kind::Map(&ENV_NAME, &ANY_VALUE_K),
            "{}",
            "Other names for variables.",
        ),
    ],
};

pub(super) const REQUESTS: Field = required("requests", &COUNT, "The number of requests.");
pub(super) const PER: Field = optional(
    "per",
    &DURATION_K,
    "1m",
    "The time in which this number of requests is allowed.",
);
pub(super) const BURST: Field = optional(
    "burst",
    &COUNT,
    "",
    "How many requests may come at once. The default is `requests`.",
);

pub(super) static RATE_LIMITS: Shape = Shape {
    name: "rate_limits",
    doc: "how often a client may call; what is not given is to have no limit.",
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

pub(super) static RATE: Shape = Shape {
    name: "rate",
    doc: "So many requests in so long.",
    fields: &[REQUESTS, PER, BURST],
};

pub(super) static RATE_RULE: Shape = Shape {
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

pub(super) static AUDIT: Shape = Shape {
    name: "audit",
    doc: "what is written down of every call.",
    fields: &[
        optional(
            "enabled",
            &Kind::Bool,
            "true",
            "Whether anything is to be written down.",
        ),
        optional(
            "arguments",
            &Kind::OneOf(&["none", "digest", "full"]),
            "digest",
            "What is to be kept of a call's arguments: nothing, a SHA-256, or all.",
        ),
        optional("keep", &DURATION_K, "90d", "How long rows are to be kept."),
    ],
};

pub(super) static GIT: Shape = Shape {
    name: "git",
    doc: "the repository that the hub pulls its files from.",
    fields: &[
        optional(
            "url",
            &text_of(&GIT_URL),
            "",
            "The address of the repository. The default is the remote of this file's folder. May hold `${VAR}`.",
        ),
        optional("branch", &SOME_TEXT_K, "main", "The branch."),
        optional(
            "interval",
            &DURATION_K,
            "",
            "How often the hub pulls by itself. The default is never.",
        ),
        optional(
            "token",
            &VALUE_K,
            "",
            "The token for https remotes. May hold `${VAR}`.",
        ),
    ],
};
