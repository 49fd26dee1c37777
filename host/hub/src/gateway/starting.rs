//! Requests of clients while the hub starts and still connects to its servers.
//!
//! A list that a client requests right after the start waits for servers that the hub connects to for the first time,
//! so that a client which lists only once gets the tools of these servers. The wait ends two seconds after the start
//! of the hub. Clients get a `list_changed` notification for servers that connect later.

use std::time::Duration;

use aih_mcp::ErrorObject;
use tokio::time::{timeout, timeout_at};

use super::{Gateway, dispatch::Request};
use crate::{access::Principal, catalogue::Scope, provider::ProviderState};

/// How long after its start the hub lets lists wait.
pub const START_UP: Duration = Duration::from_secs(2);
/// How long the greeting of an endpoint of one server waits for that server.
const ONE_SERVER: Duration = Duration::from_secs(10);

impl Gateway {
    /// Whether the hub has only just started.
    fn is_starting(&self) -> bool {
        self.started_at.elapsed() < START_UP
    }

    /// Waits until every server that `principal` may use on this endpoint has been reached or has failed, and
    /// has been listed; at most until the hub is [`START_UP`] old.
    pub(super) async fn until_servers_started(&self, scope: &Scope, principal: &Principal) {
        if !self.is_starting() {
            return;
        }
        let mut marks = self.catalogue.marks();
        let all_started = async {
            loop {
                marks.mark_unchanged();
                let snapshot = self.catalogue.snapshot_full();
                let waiting = snapshot
                    .in_scope(scope)
                    .any(|o| o.visible_to(principal) && !o.provider.settled());
                if !waiting || marks.changed().await.is_err() {
                    return;
                }
            }
        };
        // Clients get a notification for lists that come later.
        let _ = timeout_at(self.started_at + START_UP, all_started).await;
        // The catalogue makes its next snapshot a moment later; this answer needs it now.
        self.catalogue.refresh();
    }

    /// Finds what a request names. What is not known in the hub's first moments may be known in the next; later, a
    /// server that has just come up may not be in the snapshot yet.
    pub(super) async fn find_once_started<T>(
        &self,
        request: &Request,
        find: impl Fn() -> Result<T, ErrorObject>,
    ) -> Result<T, ErrorObject> {
        match find() {
            Err(_) if self.is_starting() => {
                self.until_servers_started(&request.scope, &request.client.principal)
                    .await;
                find()
            }
            Err(_) if self.catalogue.refresh() => find(),
            found => found,
        }
    }

    /// Waits, for a while, for a server that is just being started: what it can do is not known before. A caller that may
    /// not see the server does not wait, as for a server that is not there.
    pub(super) async fn until_started(&self, name: &str, principal: &Principal) {
        let starting = || {
            let snapshot = self.catalogue.snapshot();
            snapshot
                .provider(name)
                .filter(|o| o.visible_to(principal))
                .is_some_and(|o| o.provider.status().state == ProviderState::Starting)
        };
        let mut marks = self.catalogue.marks();
        let wait = async {
            while starting() {
                if marks.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(ONE_SERVER, wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicBool};

    use futures::FutureExt as _;
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        calls::record::Records,
        catalogue::Catalogue,
        hooks::Hooks,
        provider::{ChangeSignal, Offers},
        testing::{ListingProvider, SilentPeer, client, tools},
    };
    use aih_mcp::{ProtocolVersion, RawJson, method};

    fn offers(names: &[&str]) -> Offers {
        Offers {
            tools: tools(names),
            ..Offers::default()
        }
    }

    fn gateway(servers: &[&Arc<ListingProvider>], signal: &ChangeSignal) -> Arc<Gateway> {
        let providers = servers.iter().map(|s| (*s).clone() as _).collect();
        Gateway::new(
            Catalogue::of(providers, signal.clone()),
            "hub".to_owned(),
            Hooks::none(),
            Records::to_log(),
            Duration::from_secs(900),
        )
    }

    fn request(method: &str, params: Option<RawJson>, permissions: &[&str]) -> Request {
        Request {
            scope: Scope::All,
            method: method.into(),
            params,
            param_headers: None,
            client: client(ProtocolVersion::LATEST_LEGACY, permissions, Arc::new(SilentPeer)),
            peer: Arc::new(SilentPeer),
            cancel: CancellationToken::new(),
            made: AtomicBool::new(false),
        }
    }

    async fn list(gateway: &Gateway, permissions: &[&str]) -> Vec<String> {
        let answer = gateway
            .answer(request(method::TOOLS_LIST, None, permissions))
            .await;
        let tools = answer.unwrap().to_value()["tools"].clone();
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        tools.as_array().unwrap().iter().map(name).collect()
    }

    /// `late` lists a tool and is up.
    fn come_up(late: &ListingProvider, signal: &ChangeSignal) {
        late.list(offers(&["b"]));
        late.set(ProviderState::Up, None);
        signal.mark();
    }

    #[tokio::test]
    async fn the_first_list_waits_for_servers_that_start() {
        let signal = ChangeSignal::default();
        let (quick, late) = (
            ListingProvider::new("quick", offers(&["a"])),
            ListingProvider::new("late", offers(&[])),
        );
        late.set(ProviderState::Starting, None);
        let gateway = gateway(&[&quick, &late], &signal);
        let mut listing = Box::pin(list(&gateway, &["*"]));
        assert!(futures::poll!(&mut listing).is_pending());
        // Some other server changed.
        signal.mark();
        assert!(futures::poll!(&mut listing).is_pending());
        come_up(&late, &signal);
        assert_eq!(listing.await, ["quick__a", "late__b"]);
    }

    #[tokio::test]
    async fn no_list_waits_for_a_server_that_has_failed() {
        let signal = ChangeSignal::default();
        let (well, sick) = (
            ListingProvider::new("well", offers(&["a"])),
            ListingProvider::new("sick", offers(&[])),
        );
        sick.set(ProviderState::Down, Some("refused"));
        let mut gateway = gateway(&[&well, &sick], &signal);
        let at_once = |gateway: &Gateway, permissions: &[&str]| {
            list(gateway, permissions).now_or_never().is_some_and(|listed| {
                assert_eq!(listed, ["well__a"]);
                true
            })
        };
        assert!(at_once(&gateway, &["*"]), "it has failed already");
        // The list waits for a server that is silent while the hub starts.
        sick.set(ProviderState::Starting, None);
        assert!(!at_once(&gateway, &["*"]));
        assert!(at_once(&gateway, &["mcps/well/*"]), "this key may not use it");
        assert_eq!(list(&gateway, &["*"]).await, ["well__a"]);
        Arc::get_mut(&mut gateway).unwrap().started_at -= START_UP;
        assert!(at_once(&gateway, &["*"]), "the start of the hub is over");
    }

    #[tokio::test]
    async fn a_call_of_a_tool_that_is_not_known_yet_waits_too() {
        let signal = ChangeSignal::default();
        let late = ListingProvider::new("late", offers(&[]));
        late.set(ProviderState::Starting, None);
        let gateway = gateway(&[&late], &signal);
        let params = RawJson::of(&serde_json::json!({ "name": "late__b" }));
        let mut call = Box::pin(gateway.answer(request(method::TOOLS_CALL, Some(params), &["*"])));
        assert!(futures::poll!(&mut call).is_pending());
        come_up(&late, &signal);
        assert_eq!(
            call.await.unwrap_err().message,
            "not asked",
            "the server was reached"
        );
    }

    #[tokio::test]
    async fn a_call_right_after_a_server_came_up_finds_its_tool() {
        let signal = ChangeSignal::default();
        let late = ListingProvider::new("late", offers(&[]));
        let mut gateway = gateway(&[&late], &signal);
        Arc::get_mut(&mut gateway).unwrap().started_at -= START_UP;
        let call = |name: &str| {
            let params = RawJson::of(&serde_json::json!({ "name": name }));
            gateway.answer(request(method::TOOLS_CALL, Some(params), &["*"]))
        };
        assert_eq!(
            call("late__b").await.unwrap_err().message,
            "unknown tool: late__b"
        );
        // Nobody runs the catalogue here: its next snapshot is made for this call.
        come_up(&late, &signal);
        assert_eq!(call("late__b").await.unwrap_err().message, "not asked");
    }
}
