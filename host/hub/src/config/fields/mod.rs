//! Every key of `aih-config.yaml`.

mod code;
mod mcps;
mod settings;

use code::{GRANTS, HOOK, LIMITS, PLUGIN};
use mcps::{MCPS, TOOL_RULES};
use settings::{AUDIT, AUTH, CACHE, GIT, RATE_LIMITS, SECRETS, SERVER, STORE};

use super::forms::{
    ANY_VALUE, DURATION, ENV_NAME, HTTP_URL, NAME, PATH, PATTERN, PERMISSION, SIZE, SOME_TEXT, VALUE,
};
use super::table::{Form, Kind, Shape, optional, required};

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
    doc: "What an AI Infrastructure Hub offers and allows.",
    fields: &[
        required("version", &Kind::OneOf(&["1.0"]), "The version of this format."),
        optional(
            "name",
            &Kind::Text,
            "ai-hub",
            "The name of the hub. Clients and hooks see it.",
        ),
        optional(
            "server",
            &Kind::Object(&SERVER),
            "",
            "Where the hub listens, and who may connect.",
        ),
        optional("store", &Kind::Object(&STORE), "", "Where the hub keeps state."),
        optional(
            "cache",
            &Kind::Object(&CACHE),
            "",
            "a cache and limits that several replicas share.",
        )
        .without_effect("each hub keeps its own state, and replicas share nothing"),
        optional("auth", &Kind::Object(&AUTH), "", "The keys of clients."),
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
            "Settings files of AI clients, each under a name.",
        ),
        optional(
            "secrets",
            &Kind::Object(&SECRETS),
            "",
            "Where the values of `${VAR}` come from.",
        ),
        optional(
            "rate_limits",
            &Kind::Object(&RATE_LIMITS),
            "",
            "how often a client may call.",
        )
        .without_effect("no request is limited"),
        optional(
            "audit",
            &Kind::Object(&AUDIT),
            "",
            "what is written down of every call.",
        )
        .without_effect("no call is written down"),
        optional(
            "git",
            &Kind::Object(&GIT),
            "",
            "the repository that the hub pulls its files from.",
        )
        .without_effect("no repository is pulled"),
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
            "What the skill is for. The default is the description in the file's front matter.",
        ),
        required(
            "file",
            &PATH_K,
            "A Markdown file. The file name `SKILL.md` means the whole folder of the file.",
        ),
        optional(
            "tags",
            &TEXTS,
            "[]",
            "Words for a search. The default is the tags in the file's front matter.",
        ),
    ],
};

static CLIENT_CONFIG: Shape = Shape {
    name: "client_config",
    doc: "A settings file of an AI client.",
    fields: &[required("file", &PATH_K, "The file.")],
};
