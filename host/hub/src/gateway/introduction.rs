//! What the hub says of itself, or of one server, to a client that begins: the answers to `initialize` and
//! `server/discover`.

use std::sync::Arc;

use aih_mcp::{ErrorObject, ProtocolVersion, RawJson};
use serde_json::json;

use super::Gateway;
use crate::{
    catalogue::{Scope, skills_mcp},
    names,
    provider::{Client, Provider, ProviderState},
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
                    instructions: hub.offers.instructions.clone(),
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
                    server_info: offers.server_info.clone().unwrap_or_else(own_info),
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
            "capabilities": self.capabilities,
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
            "capabilities": self.capabilities,
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
