//! `plugins` and `hooks`.

use super::mcps::{ENABLED, PROVIDER_NAME};
use super::{COUNT, DURATION_K, ENV_NAME_K, GRANTS_K, LIMITS_K, NAME_K, PATH_K, PATTERNS, SIZE_K, text_of};
use crate::config::TRIGGERS;
use crate::config::forms::{CRON, HTTP_GRANT};
use crate::config::table::{Field, Kind, Shape, optional, required};

pub(super) const RUNTIME: Field = optional(
    "runtime",
    &Kind::OneOf(&["node", "python", "wasm"]),
    "",
    "The language of the source, or `wasm` for a finished component. The default depends on the file's extension.",
);
pub(super) const GRANTS_FIELD: Field = optional(
    "grants",
    &GRANTS_K,
    "",
    "What the code may reach. The code reaches nothing else.",
);
pub(super) const LIMITS_FIELD: Field = optional("limits", &LIMITS_K, "", "What one call may use.");
pub(super) const CODE_CONFIG: Field = optional(
    "config",
    &Kind::Json,
    "{}",
    "Any values. The code reads them as JSON.",
);

pub(super) static PLUGIN: Shape = Shape {
    name: "plugin",
    doc: "Sandboxed code that offers tools.",
    fields: &[
        required("name", &NAME_K, PROVIDER_NAME),
        optional("description", &Kind::Text, "", "What the plugin is for."),
        required("file", &PATH_K, "The source or the component."),
        RUNTIME,
        ENABLED,
        GRANTS_FIELD,
        LIMITS_FIELD,
        CODE_CONFIG,
    ],
};

pub(super) static HOOK: Shape = Shape {
    name: "hook",
    doc: "Sandboxed code that runs on events.",
    fields: &[
        required("name", &NAME_K, "Unique among hooks."),
        required(
            "trigger",
            &Kind::OneOf(TRIGGERS),
            "The event on which the hook runs.",
        ),
        required("action", &PATH_K, "The source or the component."),
        RUNTIME,
        ENABLED,
        optional(
            "match",
            &Kind::Object(&HOOK_MATCH),
            "",
            "The hook runs only on events that match.",
        ),
        optional(
            "order",
            &Kind::Int {
                min: -1_000_000,
                max: 1_000_000,
            },
            "0",
            "Hooks with a lower number run first.",
        ),
        optional(
            "mode",
            &Kind::OneOf(&["blocking", "background"]),
            "",
            "Whether the event waits for the hook. The default depends on the trigger.",
        ),
        optional(
            "on_failure",
            &Kind::OneOf(&["open", "closed"]),
            "",
            "What happens if the hook fails: `open` lets the event pass with a warning, `closed` denies the event. The default is `closed` for `tool.before`, `resource.read` and `prompt.get`, else `open`.",
        ),
        optional(
            "schedule",
            &text_of(&CRON),
            "",
            "When a hook on `schedule` runs, as a cron expression in UTC; `CRON_TZ=Europe/Berlin` in front names another time zone.",
        ),
        optional(
            "webhook",
            &Kind::Object(&WEBHOOK),
            "",
            "Who may call a hook on `http` at `/api/v1/hooks/{name}/webhook`. Without `webhook` nobody may.",
        ),
        GRANTS_FIELD,
        LIMITS_FIELD,
        CODE_CONFIG,
    ],
};

pub(super) static WEBHOOK: Shape = Shape {
    name: "webhook",
    doc: "Calls from outside. Each call has an HMAC-SHA256 of its body instead of an API key.",
    fields: &[
        required(
            "secret",
            &ENV_NAME_K,
            "The name of the variable with the secret that the sender signs with.",
        ),
        optional(
            "scheme",
            &Kind::OneOf(&["github", "stripe", "slack"]),
            "github",
            "How the signature is sent: `X-Hub-Signature-256`, `Stripe-Signature` or `X-Slack-Signature`.",
        ),
        optional(
            "tolerance",
            &DURATION_K,
            "5m",
            "How old a signature may be, and for how long the hub refuses the same request.",
        ),
    ],
};

pub(super) static HOOK_MATCH: Shape = Shape {
    name: "hook_match",
    doc: "Patterns in which `*` matches any text. An empty list matches all.",
    fields: &[
        optional("mcps", &PATTERNS, "[]", "Names of MCPs."),
        optional(
            "tools",
            &PATTERNS,
            "[]",
            "Names of tools: the server's own, that of `tools.rename`, or that of a `list.tools` hook.",
        ),
        optional("keys", &PATTERNS, "[]", "Names of API keys."),
    ],
};

pub(super) static GRANTS: Shape = Shape {
    name: "grants",
    doc: "What the code may reach. The code has only the grants that are written here.",
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
            "Names of variables that the code may read.",
        ),
        optional(
            "env",
            &Kind::List(&ENV_NAME_K),
            "[]",
            "Environment variables that the code sees.",
        ),
        optional("mcps", &PATTERNS, "[]", "Tools of other MCPs such as `github/*`."),
        optional(
            "files",
            &Kind::List(&Kind::Object(&FILE_GRANT)),
            "[]",
            "Folders that the code sees.",
        ),
        optional(
            "client",
            &Kind::List(&Kind::OneOf(&["elicit", "sample", "roots"])),
            "[]",
            "What the code may ask of the client: `elicit` a person, `sample` the client's model, read the client's `roots`.",
        ),
        optional(
            "state",
            &Kind::Object(&STATE_GRANT),
            "",
            "State that outlives a call.",
        ),
    ],
};

pub(super) static FILE_GRANT: Shape = Shape {
    name: "file_grant",
    doc: "A folder that the code sees.",
    fields: &[
        required("path", &PATH_K, "The folder."),
        optional(
            "mode",
            &Kind::OneOf(&["ro", "rw"]),
            "ro",
            "`ro` lets the code read, and `rw` lets it also write.",
        ),
        optional(
            "as",
            &Kind::Text,
            "",
            "The absolute path that the code sees. The default is `/` and the folder's name.",
        ),
        optional(
            "max_bytes",
            &SIZE_K,
            "256MiB",
            "With `rw`: how much may be in the folder. The hub refuses more while the call runs. A file counts by its length.",
        ),
        optional(
            "max_files",
            &Kind::Int {
                min: 0,
                max: 1_000_000,
            },
            "10000",
            "With `rw`: how many files, folders and links may be in the folder.",
        ),
    ],
};

pub(super) static STATE_GRANT: Shape = Shape {
    name: "state_grant",
    doc: "State that outlives a call.",
    fields: &[required("max_bytes", &SIZE_K, "How much the code may keep.")],
};

pub(super) static LIMITS: Shape = Shape {
    name: "limits",
    doc: "What one call may use. Without a value, the hub's default holds.",
    fields: &[
        optional("memory", &SIZE_K, "", "The memory of one call."),
        optional("time", &DURATION_K, "", "The time of one call."),
        optional("output", &SIZE_K, "", "The size of one call's answer."),
        optional("concurrency", &COUNT, "", "How many calls may run at one time."),
        optional(
            "warm",
            &Kind::Int { min: 0, max: 1_000 },
            "0",
            "How many used instances are kept for the next calls. With 0 each call gets a fresh sandbox. With more, a call can read in memory what the call before left.",
        ),
    ],
};
