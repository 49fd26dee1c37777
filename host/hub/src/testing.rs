//! What the unit tests of several modules share: callers, clients that ignore everything, a provider that only lists,
//! and skills, configs and hooks to serve.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU8},
    time::Duration,
};

use aih_mcp::{ErrorObject, ProtocolVersion, RawJson};
use aih_redact::OutsideText;
use async_trait::async_trait;

use crate::{
    access::{KeyId, PermissionSet, Principal},
    catalogue::{configs::ConfigSource, skills::SkillSource},
    provider::{
        Answer, Call, Client, ClientKey, Offers, Peer, Provider, ProviderKind, ProviderState, ProviderStatus,
    },
    registry::HookInfo,
};

/// A caller with these permissions.
pub(crate) fn principal(permissions: &[&str]) -> Principal {
    Principal::new(
        "tester",
        PermissionSet::parse(permissions).unwrap(),
        KeyId::ANONYMOUS,
    )
}

/// A client of that caller.
pub(crate) fn client(version: ProtocolVersion, permissions: &[&str], peer: Arc<dyn Peer>) -> Arc<Client> {
    Arc::new(Client {
        key: ClientKey("c".into()),
        principal: Arc::new(principal(permissions)),
        version,
        info: None,
        capabilities: RawJson::EMPTY_OBJECT,
        peer,
        log_level: AtomicU8::new(0),
        since: tokio::time::Instant::now(),
    })
}

/// Ignores everything and answers nothing.
pub(crate) struct SilentPeer;

#[async_trait]
impl Peer for SilentPeer {
    fn notify(&self, _: &str, _: &str, _: Option<RawJson>) {}

    async fn ask(&self, _: &str, _: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::internal("nobody asks"))
    }
}

/// A tool that a [`ListingProvider`] never answers.
pub(crate) const NEVER: &str = "never-answered";

/// An MCP server that lists what it is given and answers every request with an error, except for the tool [`NEVER`].
pub(crate) struct ListingProvider {
    name: &'static str,
    status: Mutex<ProviderStatus>,
    offers: Mutex<Arc<Offers>>,
}

impl ListingProvider {
    /// A server that is up.
    pub(crate) fn new(name: &'static str, offers: Offers) -> Arc<Self> {
        Arc::new(Self {
            name,
            status: Mutex::new(ProviderStatus {
                name: name.into(),
                kind: ProviderKind::Mcp,
                state: ProviderState::Up,
                last_error: None,
                transport: "http".into(),
                protocol: Some("2025-11-25".into()),
                connections: 0,
                restarts: 2,
                parked: Vec::new(),
                flaws: Vec::new(),
            }),
            offers: Mutex::new(Arc::new(offers)),
        })
    }

    /// Changes how it is.
    pub(crate) fn set(&self, state: ProviderState, last_error: Option<&str>) {
        let mut status = self.status.lock().unwrap();
        status.state = state;
        status.last_error = last_error.map(OutsideText::from);
    }

    /// Changes what it lists.
    pub(crate) fn list(&self, offers: Offers) {
        *self.offers.lock().unwrap() = Arc::new(offers);
    }
}

#[async_trait]
impl Provider for ListingProvider {
    fn name(&self) -> &str {
        self.name
    }

    fn status(&self) -> ProviderStatus {
        self.status.lock().unwrap().clone()
    }

    fn offers(&self) -> Arc<Offers> {
        self.offers.lock().unwrap().clone()
    }

    async fn request(&self, _: &str, params: Option<RawJson>, _: &Call) -> Result<Answer, ErrorObject> {
        if params.is_some_and(|params| params.text().contains(NEVER)) {
            return std::future::pending().await;
        }
        Err(ErrorObject::internal("not asked"))
    }

    async fn notify(&self, _: &str, _: Option<RawJson>, _: &Arc<Client>) {}

    async fn subscribe(&self, _: &str, _: &Arc<Client>) -> Result<(), ErrorObject> {
        Ok(())
    }

    async fn unsubscribe(&self, _: &str, _: &Arc<Client>) -> Result<(), ErrorObject> {
        Ok(())
    }

    async fn set_log_level(&self, _: &Arc<Client>) {}

    fn release(&self, _: &ClientKey) {}

    async fn shutdown(&self, _: Duration) {}
}

/// Tools of these names that take anything.
pub(crate) fn tools<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<RawJson> {
    let tool = |name: T| {
        RawJson::of(&serde_json::json!({ "name": name.as_ref(), "inputSchema": { "type": "object" } }))
    };
    names.into_iter().map(tool).collect()
}

/// Writes the skills `review.md` and `notes/SKILL.md` and the config `CLAUDE.md`.
pub(crate) fn write_files(dir: &Path) {
    fs::create_dir_all(dir.join("notes")).unwrap();
    fs::write(dir.join("review.md"), "# Review\n\nLook twice.\n").unwrap();
    let head = "---\nname: notes\ndescription: Write notes\n---\nUse the template.\n";
    fs::write(dir.join("notes/SKILL.md"), head).unwrap();
    fs::write(dir.join("CLAUDE.md"), "be brief\n").unwrap();
}

/// A skill of `dir`.
pub(crate) fn skill(dir: &Path, name: &str, file: &str) -> SkillSource {
    SkillSource {
        name: name.into(),
        description: None,
        file: file.into(),
        tags: vec!["work".into()],
        base_dir: dir.into(),
    }
}

/// A config of `dir`.
pub(crate) fn config(dir: &Path, key: &str, file: &str) -> ConfigSource {
    ConfigSource {
        key: key.into(),
        file: file.into(),
        base_dir: dir.into(),
    }
}

/// A hook.
pub(crate) fn hook() -> HookInfo {
    HookInfo {
        name: "greet".into(),
        trigger: "conversation.start".into(),
        action: "hooks/greet.js".into(),
        disabled: None,
    }
}
