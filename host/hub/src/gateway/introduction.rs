//! What the hub says of itself, or of one server, to a client that begins: the answers to `initialize` and
//! `server/discover`.

use std::sync::Arc;

use aih_mcp::{ErrorObject, ProtocolVersion, RawJson, item};
use serde_json::json;

use super::Gateway;
use crate::{
    catalogue::{Offering, Scope, skills_mcp},
    names::{self, SEPARATOR},
    provider::{Client, Provider, ProviderKind, ProviderState},
};

impl Gateway {
    /// The fields that `initialize` and `server/discover` share: capabilities, serverInfo, instructions.
    pub async fn introduction(
        &self,
        scope: &Scope,
        client: &Arc<Client>,
    ) -> Result<ServerDescription, ErrorObject> {
        let mut introduction = self.introduction_of(scope, client).await?;
        if let Some(said) = self.hooks.conversation(client).await? {
            let instructions = introduction.instructions.take();
            introduction.instructions = Some(match instructions {
                Some(own) => format!("{own}\n\n{said}"),
                None => said,
            });
        }
        Ok(introduction)
    }

    async fn introduction_of(
        &self,
        scope: &Scope,
        client: &Client,
    ) -> Result<ServerDescription, ErrorObject> {
        let own_info = || {
            RawJson::of(&json!({
                "name": "aih", "title": self.name, "version": env!("CARGO_PKG_VERSION"),
            }))
        };
        match scope {
            Scope::All => {
                let hub = self.only(names::BUILTIN, client)?;
                Ok(ServerDescription {
                    capabilities: RawJson::of(&json!({
                        "tools": { "listChanged": true },
                        "prompts": { "listChanged": true },
                        "resources": { "listChanged": true, "subscribe": true },
                        "completions": {},
                        "logging": {},
                        "extensions": { (skills_mcp::EXTENSION): skills_mcp::capability() },
                    })),
                    server_info: own_info(),
                    instructions: Some(self.instructions(&hub, client)),
                })
            }
            Scope::One(name) => {
                self.until_started(name, &client.principal).await;
                let offering = self.only(name, client)?;
                let offers = offering.provider.offers();
                let said = [state_of(&*offering.provider), offers.instructions.clone()];
                let said: Vec<String> = said.into_iter().flatten().collect();
                Ok(ServerDescription {
                    capabilities: offers.capabilities.clone().unwrap_or_else(unknown_capabilities),
                    server_info: offers
                        .server_info
                        .as_ref()
                        .and_then(item::implementation)
                        .unwrap_or_else(own_info),
                    instructions: (!said.is_empty()).then(|| said.join("\n\n")),
                })
            }
        }
    }
}

/// The capabilities of a server that has never said which it has. Some clients never list what was not declared, so all
/// lists are declared, with the notification of a change that comes when the server is up.
fn unknown_capabilities() -> RawJson {
    let list = json!({ "listChanged": true });
    RawJson::of(&json!({ "tools": list, "prompts": list, "resources": list }))
}

/// What a client should know of a server that does not serve now.
fn state_of(server: &dyn Provider) -> Option<String> {
    let (name, status) = (server.name(), server.status());
    let text = match status.state {
        ProviderState::Up | ProviderState::Degraded => return None,
        ProviderState::Starting => {
            format!(
                "The server `{name}` is still starting. Its lists may be empty until then, and calls wait for it."
            )
        }
        ProviderState::Down | ProviderState::Disabled => format!(
            "The server `{name}` does not work now: {}. Calls fail until then.",
            status.last_error.as_deref().unwrap_or("no reason is known")
        ),
    };
    Some(text)
}

/// Longest instructions of one server on the aggregated endpoint, in characters. Claude Code cuts the instructions of a
/// server at 2,048 characters when it is connected by itself.
const MAX_OF_ONE: usize = 2_000;
/// Longest instructions of all servers together, in characters.
const MAX_OF_ALL: usize = 12_000;

impl Gateway {
    /// The hub's own instructions, and those of the servers that `client` may use, under their names.
    fn instructions(&self, hub: &Offering, client: &Client) -> String {
        let mut text = hub.offers.instructions.clone().unwrap_or_default();
        let snapshot = self.catalogue.snapshot_full();
        let servers = snapshot.in_scope(&Scope::All).filter(|offering| {
            offering.kind() == ProviderKind::Mcp && offering.visible_to(&client.principal)
        });
        let (mut left, mut further) = (MAX_OF_ALL, Vec::new());
        for server in servers {
            let said = server.offers.instructions.as_deref().unwrap_or_default().trim();
            if said.is_empty() {
                continue;
            }
            let name = server.provider.name();
            let length = said.chars().count().min(MAX_OF_ONE);
            if length > left {
                further.push(name);
                continue;
            }
            left -= length;
            let end = said.char_indices().nth(MAX_OF_ONE).map(|(end, _)| end);
            let (shown, cut) = match end {
                Some(end) => (
                    said.get(..end).unwrap_or_default(),
                    "… (aih__list_mcps has the rest)",
                ),
                None => (said, ""),
            };
            let namespace = server.namespace.as_str();
            text.push_str(&format!(
                "\n\n# Instructions of the server `{name}` (tools {namespace}{SEPARATOR}…)\n\n{shown}{cut}"
            ));
        }
        if !further.is_empty() {
            text.push_str(&format!(
                "\n\nMore servers have instructions, which aih__list_mcps shows: {}.",
                further.join(", ")
            ));
        }
        text
    }
}

/// What a server says of itself.
pub struct ServerDescription {
    /// Its capabilities.
    pub capabilities: RawJson,
    /// Its `serverInfo`.
    pub server_info: RawJson,
    /// How to use it.
    pub instructions: Option<String>,
}

impl ServerDescription {
    /// The result of `initialize`.
    pub fn initialize_result(&self, version: ProtocolVersion) -> RawJson {
        let mut result = json!({
            "protocolVersion": version.as_str(),
            "capabilities": item::capabilities(&self.capabilities),
            "serverInfo": self.server_info,
        });
        if let (Some(text), Some(object)) = (&self.instructions, result.as_object_mut()) {
            object.insert("instructions".into(), text.as_str().into());
        }
        RawJson::of(&result)
    }

    /// The result of `server/discover`.
    pub fn discover_result(&self) -> RawJson {
        let mut versions: Vec<_> = ProtocolVersion::ALL.iter().map(|v| v.as_str()).collect();
        versions.reverse();
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": versions,
            "capabilities": item::capabilities(&self.capabilities),
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": self.server_info },
        });
        if let (Some(text), Some(object)) = (&self.instructions, result.as_object_mut()) {
            object.insert("instructions".into(), text.as_str().into());
        }
        RawJson::of(&result)
    }
}
