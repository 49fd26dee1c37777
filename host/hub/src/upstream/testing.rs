//! What the tests of this module share: clients, peers that write down what they hear, and a server that
//! answers from a script. Real servers are covered by the end-to-end tests.

use std::sync::{Arc, Mutex, atomic::AtomicU8};

use async_trait::async_trait;

use crate::{
    access::Principal,
    catalogue::provider::{Client, ClientKey, Peer},
    mcp::{ErrorObject, ProtocolVersion, RawJson},
};

/// Writes down what it hears and answers every question with its name.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) heard: Mutex<Vec<(String, String)>>,
    pub(super) name: &'static str,
}

#[async_trait]
impl Peer for Recorder {
    fn notify(&self, _: &str, method: &str, params: Option<RawJson>) {
        let params = params.map(|p| p.text().into_owned()).unwrap_or_default();
        self.heard.lock().unwrap().push((method.to_owned(), params));
    }

    async fn ask(&self, _: &str, method: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        if method == "never" {
            std::future::pending::<()>().await;
        }
        Ok(RawJson::of(&serde_json::json!({ "answered": self.name })))
    }
}

pub(super) fn client_with(
    key: &str,
    version: ProtocolVersion,
    capabilities: &str,
    peer: Arc<dyn Peer>,
) -> Arc<Client> {
    Arc::new(Client {
        key: ClientKey(key.into()),
        principal: Arc::new(Principal::anonymous_admin()),
        version,
        info: Some(RawJson::of(&serde_json::json!({ "name": key, "version": "1" }))),
        capabilities: RawJson::parse(capabilities.to_owned()).unwrap(),
        peer,
        log_level: AtomicU8::new(0),
    })
}

pub(super) fn client(key: &str, version: ProtocolVersion, capabilities: &str) -> Arc<Client> {
    client_with(key, version, capabilities, Arc::new(Recorder::default()))
}
