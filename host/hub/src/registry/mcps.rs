//! MCP servers as a key may see them.

use std::fmt::Display;

use aih_redact::OutsideText;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Principal,
    catalogue::{ListKind, Offering, Snapshot, Target},
    provider::{ItemFlaw, ProviderKind, ProviderState, ProviderStatus},
};

/// Where an MCP runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum McpKind {
    /// Reached over HTTP.
    External,
    /// Started by the hub and spoken to over stdio.
    Local,
}

/// Paths of the hub at which one MCP is reached by itself, its names without prefix.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Endpoints {
    /// Streamable HTTP.
    pub mcp: String,
    /// HTTP with SSE.
    pub sse: String,
}

/// One MCP server behind the hub.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct McpView {
    /// Its name in the configuration.
    pub name: String,
    /// Where it runs.
    pub kind: McpKind,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it wants to be used, in its own words: the first 16,000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[schemars(with = "Option<String>")]
    pub instructions: Option<OutsideText>,
    /// How it is reached: `http`, `sse` or `stdio`.
    pub transport: String,
    /// Whether it serves.
    pub state: ProviderState,
    /// Whether the configuration lets it serve.
    pub enabled: bool,
    /// The last error, also after recovery; where it is disabled, the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How many of its tools this key may use.
    pub tools: usize,
    /// How many of its prompts this key may use.
    pub prompts: usize,
    /// How many of its resources this key may use.
    pub resources: usize,
    /// The revision of MCP that was negotiated with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Items of its lists that do not follow MCP, 50 of each list at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<ItemFlaw>,
    /// Where it is reached by itself.
    pub endpoints: Endpoints,
}

/// Longest instructions of one server, in characters.
const MAX_INSTRUCTIONS: usize = 16_000;

fn instructions(said: &str) -> Option<OutsideText> {
    let said = said.trim();
    let end = said
        .char_indices()
        .nth(MAX_INSTRUCTIONS)
        .map_or(said.len(), |(end, _)| end);
    (!said.is_empty()).then(|| said.get(..end).unwrap_or_default().into())
}

/// `text` as one segment of a path: all but `[A-Za-z0-9-._~]` percent-encoded.
pub(super) fn segment(text: &str) -> impl Display {
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, SEGMENT)
}

pub(super) fn visible_mcps<'s>(
    snapshot: &'s Snapshot,
    principal: &'s Principal,
) -> impl Iterator<Item = (&'s Offering, ProviderStatus)> {
    snapshot
        .offerings()
        .iter()
        .map(|offering| (&**offering, offering.provider.status()))
        .filter(|(offering, status)| status.kind == ProviderKind::Mcp && offering.visible_to(principal))
        .map(|(offering, mut status)| {
            let may = |name: &str| principal.permissions().allows(&offering.permission(name));
            status.parked.retain(|parked| may(&parked.name));
            status.flaws.retain(|flaw| may_know(offering, flaw, principal));
            (offering, status)
        })
}

/// Whether `principal` may use the item of a flaw, so that it may know of it.
fn may_know(offering: &Offering, flaw: &ItemFlaw, principal: &Principal) -> bool {
    // An item without a name has none that could tell something.
    let nameless = flaw
        .item
        .strip_prefix('#')
        .is_some_and(|place| place.bytes().all(|b| b.is_ascii_digit()));
    if nameless && flaw.left_out {
        return true;
    }
    let target = match ListKind::ALL.into_iter().find(|kind| kind.member() == flaw.list) {
        Some(ListKind::Resources | ListKind::Templates) => Target::Resource((*flaw.item).into()),
        Some(ListKind::Prompts) => Target::Prompt((*flaw.item).into()),
        _ => match offering.tool_names(&flaw.item) {
            Some(names) => Target::Tool { names, shown: None },
            None => return false,
        },
    };
    offering.permits(&target, principal)
}

pub(super) fn count(offering: &Offering, kind: ListKind, principal: &Principal) -> usize {
    let items = offering.items(kind).iter();
    items.filter(|item| item.visible_to(principal)).count()
}

/// The MCP servers that `principal` may use anything of.
pub fn mcps(snapshot: &Snapshot, principal: &Principal) -> Vec<McpView> {
    visible_mcps(snapshot, principal)
        .map(|(offering, status)| {
            let info = offering
                .offers
                .server_info
                .as_ref()
                .map(aih_mcp::RawJson::to_value);
            let said = |key: &str| {
                let text = info.as_ref()?.get(key)?.as_str()?;
                (!text.is_empty()).then(|| text.to_owned())
            };
            McpView {
                kind: if status.transport == "stdio" {
                    McpKind::Local
                } else {
                    McpKind::External
                },
                description: said("description").or_else(|| said("title")),
                instructions: offering.offers.instructions.as_deref().and_then(instructions),
                tools: count(offering, ListKind::Tools, principal),
                prompts: count(offering, ListKind::Prompts, principal),
                resources: count(offering, ListKind::Resources, principal),
                endpoints: Endpoints {
                    mcp: format!("/mcp/{}", segment(&status.name)),
                    sse: format!("/mcp/{}/sse", segment(&status.name)),
                },
                name: status.name,
                transport: status.transport,
                enabled: status.state != ProviderState::Disabled,
                state: status.state,
                last_error: status.last_error.map(String::from),
                protocol: status.protocol,
                flaws: status.flaws,
            }
        })
        .collect()
}
