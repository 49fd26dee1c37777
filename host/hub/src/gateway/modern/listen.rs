//! `subscriptions/listen`: a stream that stays open and carries only notifications.

use std::sync::{Arc, Weak, atomic::AtomicU8};

use aih_mcp::{
    ErrorObject, Id, Message, RawJson, RawObject,
    method::{self, meta},
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{InUse, Modern, lock};
use crate::{
    access::Principal,
    catalogue::{ListKind, Scope},
    gateway::{Gateway, changes, rewrite, stream::Stream},
    memory::Permit,
    names::Namespace,
    provider::{Client, ClientKey, Peer},
};

/// `subscriptions/listen` streams, over all clients.
const MAX_LISTENERS: usize = 5_000;
/// The same for one key.
const MAX_LISTENERS_PER_KEY: usize = 1_000;
/// Resources that one listener may follow.
const MAX_FOLLOWED: usize = 500;

/// Who listens, and to what.
pub(super) struct Listener {
    principal: Arc<Principal>,
    client: ClientKey,
    scope: Scope,
    kinds: Vec<ListKind>,
    id: Id,
    stream: Weak<Stream>,
}

impl Modern {
    /// Tells the listeners that a list changed.
    pub fn tell(&self, kind: ListKind, concerns: impl Fn(&Scope, &Principal) -> bool) {
        self.tell_where(kind, |listener| concerns(&listener.scope, &listener.principal));
    }

    /// Tells those of one client.
    pub fn tell_client(
        &self,
        kind: ListKind,
        client: &ClientKey,
        concerns: impl Fn(&Scope, &Principal) -> bool,
    ) {
        self.tell_where(kind, |listener| {
            listener.client == *client && concerns(&listener.scope, &listener.principal)
        });
    }

    fn tell_where(&self, kind: ListKind, concerns: impl Fn(&Listener) -> bool) {
        lock(&self.listeners).retain(|_, listener| {
            let Some(stream) = listener.stream.upgrade() else {
                return false;
            };
            if listener.kinds.contains(&kind) && concerns(listener) {
                let params = with_subscription(None, &listener.id);
                // Only a question can fail.
                let _ = stream.push(&Message::notification(changes::notification(kind), Some(params)));
            }
            true
        });
    }

    /// Ends every `subscriptions/listen` stream: the hub stops.
    pub fn end_listeners(&self) {
        for (_, listener) in lock(&self.listeners).drain() {
            if let Some(stream) = listener.stream.upgrade() {
                stream.finish();
            }
        }
    }
}

/// `params` with the id of the listen request in `_meta`.
fn with_subscription(params: Option<RawJson>, id: &Id) -> RawJson {
    let params = params.unwrap_or(RawJson::EMPTY_OBJECT);
    let Ok(mut object) = RawObject::parse(&params) else {
        return params;
    };
    let mut meta: serde_json::Map<String, Value> = object.read("_meta").unwrap_or_default();
    meta.insert(meta::SUBSCRIPTION_ID.to_owned(), id.json().to_value());
    let meta = RawJson::of(&meta);
    object.set("_meta", &meta);
    object.to_json()
}

/// An open `subscriptions/listen`. Drop ends it.
pub struct Listening {
    gateway: Arc<Gateway>,
    number: u64,
    client: Arc<Client>,
    /// Its client is there while it listens.
    _in_use: InUse,
    /// Bytes of its request, of which it keeps the id and what it follows.
    _permit: Permit,
    /// What the listener gets; the acknowledgement is its first message.
    pub stream: Arc<Stream>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.gateway.modern.listeners).remove(&self.number);
        for provider in self.gateway.catalogue.providers().iter() {
            provider.release(&self.client.key);
        }
    }
}

impl Gateway {
    pub(super) async fn listen(
        self: &Arc<Self>,
        client: &Arc<Client>,
        in_use: InUse,
        scope: Scope,
        id: Id,
        params: Option<&RawJson>,
        permit: Permit,
    ) -> Result<Listening, ErrorObject> {
        let wanted: Value = params
            .and_then(|p| RawObject::parse(p).ok()?.read("notifications"))
            .ok_or_else(|| ErrorObject::invalid_params("`params.notifications` is missing"))?;
        let full = {
            let listeners = lock(&self.modern.listeners);
            let own = |l: &&Listener| l.principal.id == client.principal.id;
            listeners.len() >= MAX_LISTENERS
                || listeners.values().filter(own).count() >= MAX_LISTENERS_PER_KEY
        };
        if full {
            return Err(ErrorObject::internal("too many streams are listening; close one"));
        }
        in_use.listens();
        let capabilities = self.introduction(&scope, client).await?.capabilities.to_value();
        let mut accepted = serde_json::Map::new();
        let mut kinds = Vec::new();
        for (member, capability, kind) in [
            ("toolsListChanged", "tools", ListKind::Tools),
            ("promptsListChanged", "prompts", ListKind::Prompts),
            ("resourcesListChanged", "resources", ListKind::Resources),
        ] {
            let offered =
                capabilities.get(capability).and_then(|c| c.get("listChanged")) == Some(&Value::Bool(true));
            if offered && wanted.get(member) == Some(&Value::Bool(true)) {
                accepted.insert(member.to_owned(), true.into());
                kinds.push(kind);
            }
        }
        // Of the message only the id is kept, in a copy of its own.
        let id = Id::from_json(id.json().detached()).unwrap_or(id);
        let _permit = self
            .memory
            .requests
            .of(client.principal.id)
            .force(id.json().len());
        drop(permit);
        let stream = Stream::new(self.memory.once(client.principal.id));
        let number = self.next_number();
        // Its own client: connections that are opened for these subscriptions end with it.
        let own = Arc::new(Client {
            key: ClientKey(format!("listen-{number}").into()),
            principal: client.principal.clone(),
            version: client.version,
            info: client.info.clone(),
            capabilities: RawJson::EMPTY_OBJECT,
            peer: Arc::new(ListenPeer {
                scope: scope.clone(),
                id: id.clone(),
                stream: Arc::downgrade(&stream),
            }),
            log_level: AtomicU8::new(0),
            since: tokio::time::Instant::now(),
        });
        let listening = Listening {
            gateway: self.clone(),
            number,
            client: own.clone(),
            _in_use: in_use,
            _permit,
            stream: stream.clone(),
        };
        let mut followed = Vec::new();
        let uris = wanted
            .get("resourceSubscriptions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for uri in uris.iter().filter_map(Value::as_str).take(MAX_FOLLOWED) {
            let Ok((offering, original)) = self.find_resource(&scope, uri, client) else {
                continue;
            };
            if offering.provider.subscribe(&original, &own).await.is_ok() {
                followed.push(Value::from(uri));
            }
        }
        if !uris.is_empty() {
            accepted.insert("resourceSubscriptions".to_owned(), followed.into());
        }
        let acknowledged = RawJson::of(&json!({ "notifications": accepted }));
        let acknowledged = with_subscription(Some(acknowledged), &id);
        stream.push_first(&Message::notification(method::ACKNOWLEDGED, Some(acknowledged)));
        let listener = Listener {
            principal: client.principal.clone(),
            client: client.key.clone(),
            scope,
            kinds,
            id,
            stream: Arc::downgrade(&stream),
        };
        lock(&self.modern.listeners).insert(number, listener);
        Ok(listening)
    }
}

struct ListenPeer {
    scope: Scope,
    id: Id,
    stream: Weak<Stream>,
}

#[async_trait]
impl Peer for ListenPeer {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        // A listener gets what it asked for and nothing else.
        if method != method::RESOURCE_UPDATED {
            return;
        }
        let params = match params {
            Some(params) if self.scope == Scope::All => {
                Some(rewrite::expose_uri(&params, &Namespace::new(provider)))
            }
            params => params,
        };
        if let Some(stream) = self.stream.upgrade() {
            let _ = stream.push(&Message::notification(
                method,
                Some(with_subscription(params, &self.id)),
            ));
        }
    }

    async fn ask(&self, _: &str, method: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(method))
    }
}
