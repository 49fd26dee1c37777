//! Which client is subscribed to which resource. This is only a table; other modules send the subscriptions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aih_mcp::ErrorObject;

use crate::{
    provider::{Client, ClientKey},
    upstream::link::connection::lock,
};

/// Subscriptions that one key may have at one server.
const MAX_PER_KEY: usize = 5_000;
/// The longest URI of a subscription, in bytes.
const MAX_URI: usize = 4_096;

struct Subscriber {
    client: Arc<Client>,
    /// On the client's own connection.
    own: bool,
}

/// The subscriptions of one server's clients.
#[derive(Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<String, HashMap<ClientKey, Subscriber>>>);

impl Subscriptions {
    /// Whether a client may have one more.
    ///
    /// # Errors
    /// Which bound is reached.
    pub(crate) fn room(&self, uri: &str, client: &Client) -> Result<(), ErrorObject> {
        if uri.len() > MAX_URI {
            let text = format!("the URI of a subscription may have {MAX_URI} bytes at most");
            return Err(ErrorObject::invalid_params(text));
        }
        let table = lock(&self.0);
        let known = table.get(uri).is_some_and(|s| s.contains_key(&client.key));
        let all = table.values().flat_map(HashMap::values);
        let of_key = all.filter(|s| s.client.principal.id == client.principal.id);
        if !known && of_key.count() >= MAX_PER_KEY {
            let text = format!("this key has {MAX_PER_KEY} subscriptions at this server; end one first");
            return Err(ErrorObject::invalid_params(text));
        }
        Ok(())
    }

    /// Adds one; `own` when it is on the client's own connection.
    pub(crate) fn add(&self, uri: &str, client: &Arc<Client>, own: bool) {
        let client = client.clone();
        lock(&self.0)
            .entry(uri.to_owned())
            .or_default()
            .insert(client.key.clone(), Subscriber { client, own });
    }

    /// Takes one away. `Some(true)` when it was on a shared connection and nobody else's there wants it.
    pub(crate) fn remove(&self, uri: &str, key: &ClientKey) -> Option<bool> {
        let mut table = lock(&self.0);
        let subscribers = table.get_mut(uri)?;
        let removed = subscribers.remove(key)?;
        let last = !removed.own && subscribers.values().all(|s| s.own);
        if subscribers.is_empty() {
            table.remove(uri);
        }
        Some(last)
    }

    /// Takes all of a client's away and says which nobody wants on a shared connection any more.
    pub(crate) fn remove_client(&self, key: &ClientKey) -> Vec<String> {
        let uris: Vec<String> = lock(&self.0)
            .iter()
            .filter(|(_, s)| s.contains_key(key))
            .map(|(uri, _)| uri.clone())
            .collect();
        uris.into_iter()
            .filter(|uri| self.remove(uri, key) == Some(true))
            .collect()
    }

    /// Whether somebody wants `uri` on a shared connection.
    pub(crate) fn is_shared(&self, uri: &str) -> bool {
        lock(&self.0).get(uri).is_some_and(|s| s.values().any(|s| !s.own))
    }

    /// What is wanted on shared connections, sorted.
    pub(crate) fn shared(&self) -> Vec<String> {
        let mut uris: Vec<String> = lock(&self.0)
            .iter()
            .filter(|(_, s)| s.values().any(|s| !s.own))
            .map(|(uri, _)| uri.clone())
            .collect();
        uris.sort_unstable();
        uris
    }

    /// The clients that want something on shared connections.
    pub(crate) fn shared_by(&self) -> Vec<Arc<Client>> {
        let table = lock(&self.0);
        let all = table.values().flat_map(HashMap::values).filter(|s| !s.own);
        let clients: HashMap<_, _> = all.map(|s| (&s.client.key, &s.client)).collect();
        clients.into_values().cloned().collect()
    }

    /// What a client wants on its own connection.
    pub(crate) fn own(&self, key: &ClientKey) -> Vec<String> {
        lock(&self.0)
            .iter()
            .filter(|(_, s)| s.get(key).is_some_and(|s| s.own))
            .map(|(uri, _)| uri.clone())
            .collect()
    }

    /// The clients on shared connections that are subscribed to changes of `uri`. A server may name a part
    /// of what was subscribed to.
    pub(crate) fn interested(&self, uri: &str) -> Vec<Arc<Client>> {
        let mut found: HashMap<ClientKey, Arc<Client>> = HashMap::new();
        for (wanted, subscribers) in lock(&self.0).iter() {
            let part = uri.strip_prefix(wanted.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(['/', '#', '?']) || wanted.ends_with('/')
            });
            if part {
                for (key, subscriber) in subscribers.iter().filter(|(_, s)| !s.own) {
                    found.insert(key.clone(), subscriber.client.clone());
                }
            }
        }
        found.into_values().collect()
    }
}
