//! Limits on questions of one server that wait for clients: for each client, for each key, and in total.
//!
//! A client that does not answer its questions must not keep the server from asking others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::connection::lock;
use crate::{
    access::KeyId,
    memory::count_down,
    provider::{Client, ClientKey},
};

/// Questions of one server that may wait for one client.
pub(crate) const MAX_PER_CLIENT: usize = 32;
/// Questions of one server that may wait for all clients of one key.
pub(crate) const MAX_PER_KEY: usize = 128;
/// Questions of one server that may wait in all: at least 32 keys have to use up their shares before another one
/// finds no room.
pub(crate) const MAX_IN_ALL: usize = 4_096;

#[derive(Default)]
struct Open {
    clients: HashMap<ClientKey, usize>,
    keys: HashMap<KeyId, usize>,
    total: usize,
}

/// The questions of one server that wait.
#[derive(Default)]
pub(crate) struct Questions(Arc<Mutex<Open>>);

/// The place of one question; given back when dropped.
pub(crate) struct QuestionPermit {
    open: Arc<Mutex<Open>>,
    client: ClientKey,
    key: KeyId,
}

impl Questions {
    /// A place for one more question to `client`.
    ///
    /// # Errors
    /// Which share is used up.
    pub(crate) fn open(&self, client: &Client) -> Result<QuestionPermit, String> {
        let key = client.principal.id;
        let mut open = lock(&self.0);
        let of_client = open.clients.get(&client.key).copied().unwrap_or(0);
        let of_key = open.keys.get(&key).copied().unwrap_or(0);
        if of_client >= MAX_PER_CLIENT {
            return Err(format!("{MAX_PER_CLIENT} questions wait for this client already"));
        }
        if of_key >= MAX_PER_KEY {
            return Err(format!(
                "{MAX_PER_KEY} questions wait for clients of this key already"
            ));
        }
        if open.total >= MAX_IN_ALL {
            return Err(format!("{MAX_IN_ALL} questions of this server wait already"));
        }
        open.clients.insert(client.key.clone(), of_client + 1);
        open.keys.insert(key, of_key + 1);
        open.total += 1;
        Ok(QuestionPermit {
            open: self.0.clone(),
            client: client.key.clone(),
            key,
        })
    }
}

impl Drop for QuestionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.total = open.total.saturating_sub(1);
        count_down(&mut open.clients, &self.client);
        count_down(&mut open.keys, &self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::{client, client_of};
    use aih_mcp::ProtocolVersion;

    #[test]
    fn a_client_uses_up_its_own_share_and_no_other() {
        let questions = Questions::default();
        let [a, b] = ["a", "b"].map(|key| client(key, ProtocolVersion::V2025_11_25, "{}"));
        let mut permits: Vec<_> = (0..MAX_PER_CLIENT)
            .map(|_| questions.open(&a).ok().unwrap())
            .collect();
        assert!(questions.open(&a).is_err());
        assert!(questions.open(&b).is_ok());
        permits.pop();
        assert!(questions.open(&a).is_ok(), "its place is free again");
        drop(permits);
        assert_eq!(lock(&questions.0).total, 0);
        assert!(lock(&questions.0).clients.is_empty() && lock(&questions.0).keys.is_empty());
    }

    #[test]
    fn clients_of_one_key_share_a_share() {
        let questions = Questions::default();
        let mut permits = Vec::new();
        for n in 0..MAX_PER_KEY {
            let one = client_of("mallory", &format!("m{n}"));
            permits.push(questions.open(&one).ok().unwrap());
        }
        assert!(questions.open(&client_of("mallory", "another")).is_err());
        assert!(questions.open(&client_of("alice", "a")).is_ok());
    }
}
