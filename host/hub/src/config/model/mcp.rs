//! The MCP servers behind the hub.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;

use super::{Endpoint, EntryState, Text};

/// `mcps`.
#[derive(Debug, Clone, Default)]
pub struct Mcps {
    /// `external`: reached over HTTP.
    pub external: Vec<ExternalMcp>,
    /// `local`: started by the hub and spoken to over stdio.
    pub local: Vec<LocalMcp>,
}

/// One entry of `mcps.external`.
#[derive(Debug, Clone)]
pub struct ExternalMcp {
    /// `name`: unique among MCPs and plugins, also as a namespace.
    pub name: String,
    /// `url`, then `instances`: the addresses of the same server. At least one when the entry is enabled;
    /// empty when a variable in an address is not set.
    pub endpoints: Vec<Endpoint>,
    /// `transport`. Default `auto`.
    pub transport: Transport,
    /// `headers` with `auth` merged in: what goes with every request.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// `timeout`: how long one call may take. Default 60 s.
    pub call_timeout: Duration,
    /// `concurrency`: how many requests run at one time; the others wait. Default no limit.
    pub concurrency: Option<u32>,
    /// `tools`: which tools are offered and under what name.
    pub tools: ToolRules,
    /// `sessions`. Default `auto`.
    pub sessions: Sessions,
    /// `protocol`. Default `auto`.
    pub protocol: Protocol,
    /// Whether it serves.
    pub state: EntryState,
}

/// One entry of `mcps.local`.
#[derive(Debug, Clone)]
pub struct LocalMcp {
    /// `name`: unique among MCPs and plugins, also as a namespace.
    pub name: String,
    /// `command`: a program on the PATH, or a path. A path with a `/` that is not absolute is already resolved
    /// against the config file's folder.
    pub command: Text,
    /// `args`.
    pub args: Vec<Text>,
    /// `env`: added to the few variables that every child gets. Always secret, also when written in the file.
    pub env: Vec<(String, Text)>,
    /// `cwd`: an absolute path. Default the config file's folder.
    pub cwd: PathBuf,
    /// `instances`: how many processes share the calls, 1 to 64. Default 1.
    pub instances: u32,
    /// `start_timeout`: how long a process may take to answer its greeting without working or printing. Default 90 s.
    pub start_timeout: Duration,
    /// `timeout`: how long one call may take. Default 60 s.
    pub call_timeout: Duration,
    /// `concurrency`: how many requests run at one time; the others wait. Default no limit.
    pub concurrency: Option<u32>,
    /// `tools`: which tools are offered and under what name.
    pub tools: ToolRules,
    /// `sessions`. Default `auto`.
    pub sessions: Sessions,
    /// `protocol`. Default `auto`.
    pub protocol: Protocol,
    /// Whether it serves.
    pub state: EntryState,
}

/// `transport` of an external MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// `http`: streamable HTTP.
    Http,
    /// `sse`: the transport of 2024-11-05.
    Sse,
    /// `auto`: streamable HTTP first, then SSE.
    #[default]
    Auto,
}

/// `sessions`: whether clients share a connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sessions {
    /// `auto`: the hub looks at what the server is.
    #[default]
    Auto,
    /// `shared`: one connection for all clients.
    Shared,
    /// `per_client`: each client session has its own.
    PerClient,
}

/// `protocol`: which era of MCP the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// `auto`: found out when connecting.
    #[default]
    Auto,
    /// `modern`: 2026-07-28 and later.
    Modern,
    /// `legacy`: up to 2025-11-25.
    Legacy,
}

/// `tools` of an MCP. In patterns `*` matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolRules {
    /// `allow`: only these are offered; empty offers all.
    pub allow: Vec<String>,
    /// `deny`: these are not offered, also when `allow` names them.
    pub deny: Vec<String>,
    /// `rename`: the server's name to the name that clients see.
    pub rename: BTreeMap<String, String>,
}

impl ToolRules {
    /// Whether the tool with the server's name `tool` is offered.
    #[must_use]
    pub fn offers(&self, tool: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|p| matches_pattern(p, tool));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    /// The name that clients see for the server's `tool`.
    #[must_use]
    pub fn public_name<'a>(&'a self, tool: &'a str) -> &'a str {
        self.rename.get(tool).map_or(tool, String::as_str)
    }
}

/// Whether `text` is `pattern`, where each `*` stands for any text. Linear in the two lengths' product.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut i, mut j) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while j < t.len() {
        if p.get(i) == Some(&b'*') {
            retry = Some((i + 1, j));
            i += 1;
        } else if p.get(i) == t.get(j) {
            i += 1;
            j += 1;
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            i = after_star;
            j = from + 1;
        } else {
            return false;
        }
    }
    p.get(i..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("create_*", "create_link"));
        assert!(matches_pattern("*link*x", "a_link_bx"));
        assert!(!matches_pattern("create_*", "delete"));
        assert!(!matches_pattern("a", "ab"));
        assert!(!matches_pattern("", "a"));
    }

    #[test]
    fn deny_wins_over_allow() {
        let rules = ToolRules {
            allow: vec!["create_*".into()],
            deny: vec!["*_refund".into()],
            rename: BTreeMap::from([("create_link".into(), "link".into())]),
        };
        assert!(rules.offers("create_link"));
        assert!(!rules.offers("create_refund"));
        assert!(!rules.offers("list"));
        assert_eq!(rules.public_name("create_link"), "link");
        assert_eq!(rules.public_name("other"), "other");
    }
}
