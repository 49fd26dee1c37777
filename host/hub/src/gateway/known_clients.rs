//! What is known of a client by the name that it gives in its greeting: the one table of the hub about programs of
//! others.
//!
//! MCP lets a client declare its capabilities. It says nothing of limits and habits that a client has beyond them, such
//! as a client that never lists a second time. The table [`ROWS`] has these. A row only ever changes how an answer is
//! given, never who may have it: the name is what the client says of itself, so anybody can give any name.
//!
//! Each row names where its facts are from. *Seen* means that the program ran against a hub, in the version that the
//! row names. *Read* means that its source says so. A client that is not in the table gets [`UNKNOWN`].

use aih_mcp::RawJson;
use http::{HeaderMap, header::USER_AGENT};
use serde::Deserialize;

use crate::{access::Compat, catalogue::SchemaRules, provider::Client};

/// Longest `clientInfo` that is looked at, in bytes. A longer one is of an unknown client: it is read again with each
/// list, and no known client says as much of itself.
const MAX_INFO: usize = 4 * 1024;

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// It lists once, when it starts, and does not list again after a `list_changed` notification. It never sees a tool
    /// of a server that its first list lacked.
    pub lists_once: bool,
    /// The longest event of an event stream that it reads, in bytes, with the name of the event and its id; `None` if
    /// there is no limit that matters.
    pub max_event_bytes: Option<usize>,
    /// It gives the `instructions` of the greeting to its model.
    pub shows_instructions: bool,
    /// It gives `structuredContent` alone to its model where a result has it, and not the text blocks of `content`. It does
    /// not ask for `structuredContent` where a tool has an `outputSchema`.
    pub shows_structured_only: bool,
    /// What is rewritten for it unless its key says `compat: off`.
    pub compat: CompatRules,
}

/// What a client cannot read although the protocol allows it. Each rule changes how something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompatRules {
    /// How the schemas of tools are written.
    pub schemas: SchemaRules,
    /// It loses a whole result with a content block that its SDK does not take.
    pub refuses_unknown_blocks: bool,
}

/// No rule.
const READS_ALL: CompatRules = CompatRules {
    schemas: SchemaRules {
        leaves_out_root_choice: false,
        leaves_out_definitions: false,
    },
    refuses_unknown_blocks: false,
};

/// Seen with all clients of the table: the schema of the SDK refuses the whole result.
const REFUSES_BLOCKS: CompatRules = CompatRules {
    refuses_unknown_blocks: true,
    ..READS_ALL
};

/// What the hub assumes of every client that it does not know.
pub const UNKNOWN: KnownClient = KnownClient {
    lists_once: false,
    max_event_bytes: None,
    shows_instructions: true,
    shows_structured_only: false,
    compat: READS_ALL,
};

/// Which names a row is about.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// This one.
    Is(&'static str),
    /// This one, also with a hyphen and more behind it: some clients add the name of the server in their own
    /// configuration.
    Begins(&'static str),
}

impl Name {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Is(known) => name == known,
            Self::Begins(known) => name
                .strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
        }
    }
}

/// The table. The first row that matches counts.
const ROWS: &[(Name, KnownClient)] = &[
    // Claude Code. Seen with 2.1.197: it shows `structuredContent` only, and leaves out a tool whose `inputSchema` has
    // `oneOf` at its root, without a word. Its name: read in transcripts of others.
    (
        Name::Is("claude-code"),
        KnownClient {
            shows_structured_only: true,
            compat: CompatRules {
                schemas: SchemaRules {
                    leaves_out_root_choice: true,
                    ..READS_ALL.schemas
                },
                ..REFUSES_BLOCKS
            },
            ..UNKNOWN
        },
    ),
    // Codex. Seen with 0.171.0: it ignores `list_changed`, and shows `structuredContent` only. It shows instructions (as the description of a namespace).
    // Its name: read in `codex-rs` (`codex-mcp-client`).
    (
        Name::Is("codex-mcp-client"),
        KnownClient {
            lists_once: true,
            shows_structured_only: true,
            compat: REFUSES_BLOCKS,
            ..UNKNOWN
        },
    ),
    // Qwen Code. Seen with 0.15.10: it ignores `list_changed`, and shows no instructions. Its names: read in its
    // `mcp-client.ts` (`qwen-code-mcp-client`, and `qwen-cli-mcp-client-` with the name of the server).
    (Name::Begins("qwen-code-mcp-client"), QWEN_CODE),
    (Name::Begins("qwen-cli-mcp-client"), QWEN_CODE),
    // Copilot CLI. Seen with 1.0.102: it shows no instructions, and lists again when lists change. Its name: read in
    // transcripts of others, with version 1.0.57.
    (
        Name::Is("github-copilot-developer"),
        KnownClient {
            shows_instructions: false,
            compat: REFUSES_BLOCKS,
            ..UNKNOWN
        },
    ),
    // Gemini CLI and opencode. Seen with 0.61.0 and 1.18.33. Their names: read in `mcp-client.ts` of the first
    // (`gemini-cli-mcp-client`, in earlier versions with the name of the server behind it) and in
    // `packages/opencode/src/mcp/index.ts`.
    (Name::Begins("gemini-cli-mcp-client"), TAKES_KNOWN_BLOCKS),
    (Name::Is("opencode"), TAKES_KNOWN_BLOCKS),
    // Continue, the command line and the editor. Seen with `@continuedev/cli` 1.5.47: it ignores `list_changed`, and
    // shows no instructions. It drops `$defs` of a schema and keeps the references to them. Its names: read in `extensions/cli/src/services/MCPService.ts` and
    // `core/context/mcp/MCPConnection.ts`.
    (Name::Is("continue-cli-client"), CONTINUE),
    (Name::Is("continue-client"), CONTINUE),
    // What Python programs send that give no name of their own (`DEFAULT_CLIENT_INFO` of the package `mcp`). Read in
    // `mcp` 2.3.0: `DEFAULT_MAX_SSE_EVENT_SIZE` of `client/streamable_http.py`; a longer event ends the request with an
    // error. Programs on `mcp` 1.x send the same name and have no such limit; theirs is the lower one here.
    (
        Name::Is("mcp"),
        KnownClient {
            max_event_bytes: Some(1024 * 1024),
            compat: REFUSES_BLOCKS,
            ..UNKNOWN
        },
    ),
];

const TAKES_KNOWN_BLOCKS: KnownClient = KnownClient {
    compat: REFUSES_BLOCKS,
    ..UNKNOWN
};

/// The longest event that each HTTP client reads, in bytes, by the beginning of its `User-Agent`. It says more than the
/// name in the greeting: programs give names of their own, and the package `mcp` gave the same name when it was built on
/// another HTTP client.
const MAX_EVENT_BYTES_BY_USER_AGENT: &[(&str, Option<usize>)] = &[
    // The HTTP client of the Python package `mcp` 2.x. Read in `httpx2` 2.16.2: `DEFAULT_MAX_EVENT_SIZE_BYTES` of
    // `_config.py`.
    ("python-httpx2/", Some(1024 * 1024)),
    // That of `mcp` 1.x. Read in `httpx` 0.28.1 and `httpx-sse`: there is no limit.
    ("python-httpx/", None),
];

const QWEN_CODE: KnownClient = KnownClient {
    lists_once: true,
    shows_instructions: false,
    compat: REFUSES_BLOCKS,
    ..UNKNOWN
};

const CONTINUE: KnownClient = KnownClient {
    lists_once: true,
    shows_instructions: false,
    compat: CompatRules {
        schemas: SchemaRules {
            leaves_out_definitions: true,
            ..READS_ALL.schemas
        },
        ..REFUSES_BLOCKS
    },
    ..UNKNOWN
};

impl KnownClient {
    /// What is known of the client that greeted with this `clientInfo`. One short parse; a `clientInfo` without a name,
    /// or one that is too long, is of an [`UNKNOWN`] client.
    pub fn by_info(info: Option<&RawJson>) -> &'static Self {
        #[derive(Deserialize)]
        struct Info {
            name: String,
        }
        let name = info
            .filter(|info| info.len() <= MAX_INFO)
            .and_then(|info| info.read::<Info>().ok())
            .map(|info| info.name);
        name.map_or(&UNKNOWN, |name| Self::by_name(&name))
    }

    /// What is known of `client`.
    pub fn of(client: &Client) -> &'static Self {
        Self::by_info(client.info.as_ref())
    }

    /// The rules that count for `client`: none where its key says `compat: off`, or where it says nothing and `default` does.
    pub fn rules(&self, client: &Client, default: Compat) -> CompatRules {
        match client.principal.compat.unwrap_or(default) {
            Compat::Auto => self.compat,
            Compat::Off => READS_ALL,
        }
    }

    fn by_name(name: &str) -> &'static Self {
        ROWS.iter()
            .find(|(known, _)| known.matches(name))
            .map_or(&UNKNOWN, |(_, row)| row)
    }
}

/// The longest event that a client reads, as far as that is known yet.
#[derive(Clone, Copy, Debug)]
pub struct EventLimit {
    /// What is known for certain: a number of bytes, or that there is no limit.
    known: Option<Option<usize>>,
}

impl EventLimit {
    /// What the headers of a request say.
    pub fn by_agent(headers: &HeaderMap) -> Self {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let mut rows = MAX_EVENT_BYTES_BY_USER_AGENT.iter();
        let row = agent.and_then(|agent| rows.find(|(known, _)| agent.starts_with(known)));
        Self {
            known: row.map(|(_, limit)| *limit),
        }
    }

    /// The limit in bytes, once the client has introduced itself.
    pub fn bytes(self, client: Option<&Client>) -> Option<usize> {
        self.known
            .unwrap_or_else(|| KnownClient::of(client?).max_event_bytes)
    }

    /// The same, known for certain.
    pub fn settled(self, client: &Client) -> Self {
        Self {
            known: Some(self.bytes(Some(client))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn by(info: &str) -> &'static KnownClient {
        KnownClient::by_info(Some(&RawJson::parse(info.to_owned()).unwrap()))
    }

    #[test]
    fn a_client_is_known_by_its_name_whatever_its_version() {
        for version in ["0.171.0", "9.9.9"] {
            let info =
                serde_json::json!({ "name": "codex-mcp-client", "version": version, "title": "Codex" });
            assert!(KnownClient::by_info(Some(&RawJson::of(&info))).lists_once);
        }
        assert_eq!(
            by(r#"{"version":"1","name":"mcp"}"#).max_event_bytes,
            Some(1_048_576)
        );
        assert!(!by(r#"{"name":"github-copilot-developer"}"#).shows_instructions);
    }

    #[test]
    fn some_clients_add_the_name_of_the_server_to_theirs() {
        assert!(by(r#"{"name":"qwen-cli-mcp-client-ai-hub"}"#).lists_once);
        assert!(by(r#"{"name":"qwen-cli-mcp-client"}"#).lists_once);
        assert_eq!(by(r#"{"name":"qwen-cli-mcp-clientele"}"#), &UNKNOWN);
        assert_eq!(by(r#"{"name":"mcp-remote"}"#), &UNKNOWN);
        assert_eq!(by(r#"{"name":"continue-client-2"}"#), &UNKNOWN);
    }

    #[test]
    fn the_limit_of_a_client_is_known_by_its_http_library_first() {
        let named = |name: &str| {
            let peer = Arc::new(crate::testing::SilentPeer);
            let mut client = crate::testing::client(aih_mcp::ProtocolVersion::LATEST, &["*"], peer);
            let info = RawJson::of(&serde_json::json!({ "name": name, "version": "1" }));
            Arc::get_mut(&mut client).unwrap().info = Some(info);
            client
        };
        let (python, other) = (named("mcp"), named("agent"));
        let limit = |agent: &'static str, client: &Client| {
            let headers = HeaderMap::from_iter([(USER_AGENT, http::HeaderValue::from_static(agent))]);
            let limit = EventLimit::by_agent(&headers);
            assert_eq!(limit.settled(client).bytes(None), limit.bytes(Some(client)));
            limit.bytes(Some(client))
        };
        for client in [&python, &other] {
            assert_eq!(limit("python-httpx2/2.16.2", client), Some(1_048_576));
            assert_eq!(limit("python-httpx/0.28.1", client), None);
        }
        for agent in ["python-httpx2", "node", "", "x python-httpx2/2"] {
            assert_eq!(limit(agent, &other), None, "{agent}");
            assert_eq!(limit(agent, &python), Some(1_048_576), "{agent}");
        }
        let none = EventLimit::by_agent(&HeaderMap::new());
        assert_eq!(
            (none.bytes(None), none.bytes(Some(&python))),
            (None, Some(1_048_576))
        );
    }

    #[test]
    fn whatever_else_a_client_says_it_is_unknown() {
        for info in [
            r#"{"name":"MCP"}"#,
            r#"{"name":""}"#,
            r#"{"name":7}"#,
            r#"{"name":null}"#,
            "{}",
            "[]",
            "null",
            r#""mcp""#,
        ] {
            assert_eq!(by(info), &UNKNOWN, "{info}");
        }
        assert_eq!(KnownClient::by_info(None), &UNKNOWN);
        let long = serde_json::json!({ "name": "mcp", "description": "x".repeat(MAX_INFO) });
        assert_eq!(KnownClient::by_info(Some(&RawJson::of(&long))), &UNKNOWN);
    }
}
