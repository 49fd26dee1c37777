//! Requests of clients while a server starts.
//!
//! A list that a client requests right after the start of the hub waits for servers that the hub connects to for the
//! first time. The wait ends two seconds after the start of the hub, and clients get a `list_changed` notification for
//! servers that connect later. A client that is known to list once waits longer (`server.first_list_wait`, from its
//! greeting), and so does every client of the older era for which the hub itself was started (`aih stdio`): it would
//! never see a server that needs some seconds. A call waits for the server that it names, whenever it comes.

use std::time::Duration;

use aih_mcp::{Era, ErrorCode, ErrorObject};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Gateway, dispatch::Request, known_clients::KnownClient};
use crate::{
    access::Principal,
    catalogue::Scope,
    provider::{Client, Provider, ProviderState},
};

/// How long after its start the hub lets lists wait.
pub const START_UP: Duration = Duration::from_secs(2);
/// How long the greeting of an endpoint of one server waits for that server.
const ONE_SERVER: Duration = Duration::from_secs(10);
/// How long a call waits for a server that starts and has never listed anything.
const CALL: Duration = Duration::from_secs(60);

/// How long the first list of a client waits for servers that start.
#[derive(Clone, Copy, Debug)]
pub struct FirstList {
    /// `server.first_list_wait`: the longest wait of a client that lists once, from its greeting.
    pub wait: Duration,
    /// Whether the hub was started for the one client that it has.
    pub one_client: bool,
}

impl Gateway {
    /// Until when a list of `client` waits.
    fn lists_wait_until(&self, client: &Client) -> Instant {
        let of_hub = self.started_at + START_UP;
        let long = self.first_list.one_client || KnownClient::of(client).lists_once;
        if client.era() == Era::Legacy && long {
            return of_hub.max(client.since + self.first_list.wait);
        }
        of_hub
    }

    /// Waits until every server that `client` may use on this endpoint has been reached or has failed, and has been
    /// listed; see the module for how long.
    pub(super) async fn until_servers_started(&self, scope: &Scope, client: &Client) {
        let deadline = self.lists_wait_until(client);
        if Instant::now() >= deadline {
            return;
        }
        let mut marks = self.catalogue.marks();
        let all_started = async {
            loop {
                marks.mark_unchanged();
                let snapshot = self.catalogue.snapshot_full();
                let waiting = snapshot
                    .in_scope(scope)
                    .any(|o| o.visible_to(&client.principal) && !o.provider.settled());
                if !waiting || marks.changed().await.is_err() {
                    return;
                }
            }
        };
        // Clients get a notification for lists that come later.
        let _ = timeout_at(deadline, all_started).await;
        // The catalogue makes its next snapshot a moment later; this answer needs it now.
        self.catalogue.refresh();
    }

    /// Finds what a request names. A server that has just come up may not be in the snapshot yet, and what a server has
    /// that starts is known only when it is up: such a request waits for its server, and is never answered with
    /// "unknown" while the hub cannot know. How the server is decides alone: the answer says nothing of what it has.
    pub(super) async fn find_once_started<T>(
        &self,
        request: &Request,
        name: &str,
        find: impl Fn() -> Result<T, ErrorObject>,
    ) -> Result<T, ErrorObject> {
        let unknown = match find() {
            Err(unknown) => unknown,
            found => return found,
        };
        if self.catalogue.refresh()
            && let Ok(found) = find()
        {
            return Ok(found);
        }
        let snapshot = self.catalogue.snapshot_full();
        let server = match &request.scope {
            Scope::All => snapshot.named(name),
            Scope::One(server) => snapshot.provider(server),
        };
        let server = server.filter(|server| server.visible_to(&request.client.principal));
        let Some(server) = server.map(|server| server.provider.clone()) else {
            return Err(unknown);
        };
        self.until_listed(&*server).await;
        self.catalogue.refresh();
        find().map_err(|unknown| not_listed(&*server).unwrap_or(unknown))
    }

    /// Waits until a server that starts has been listed, or has failed.
    async fn until_listed(&self, server: &dyn Provider) {
        let mut marks = self.catalogue.marks();
        let listed = async {
            while server.is_starting() {
                if marks.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(CALL, listed).await;
    }

    /// Waits, for a while, for a server that is just being started, if what it can do is not known. A caller that may not
    /// see the server does not wait, as for a server that is not there.
    pub(super) async fn until_started(&self, name: &str, principal: &Principal) {
        let starting = || {
            let snapshot = self.catalogue.snapshot();
            snapshot
                .provider(name)
                .filter(|o| o.visible_to(principal) && o.provider.offers().capabilities.is_none())
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

/// The error for a name of a server whose lists are not known; `None` where they are.
fn not_listed(server: &dyn Provider) -> Option<ErrorObject> {
    let (name, status) = (server.name(), server.status());
    let reason = status.last_error.as_deref().unwrap_or("no reason is known");
    let never = server.offers().capabilities.is_none();
    let text = match status.state {
        _ if server.is_starting() => format!("server `{name}` is still starting; try again"),
        ProviderState::Down if never => {
            format!("server `{name}` does not work: {reason}; see GET /api/v1/health")
        }
        ProviderState::Degraded if server.offers().tools.is_empty() => {
            format!(
                "the lists of server `{name}` could not be read: {reason}; the hub reads them again, so try later"
            )
        }
        _ => return None,
    };
    Some(ErrorObject::new(ErrorCode::UPSTREAM_UNAVAILABLE, text))
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
            FirstList {
                wait: Duration::from_secs(10),
                one_client: false,
            },
            crate::access::Compat::Auto,
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
