//! The long `subscriptions/listen` request of the modern era, one for each shared connection. It is opened again when
//! the wanted subscriptions change (the new stream opens before the old one ends), and when it ends.

use std::{sync::Arc, time::Duration};

use aih_mcp::RawJson;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::{backoff, core::Core, supervisor::jitter};
use crate::upstream::{
    link::connection::{CallError, Connection},
    transport::TransportError,
};

/// How long the hub waits for the confirmation of a stream before it takes it for open.
const CONFIRM: Duration = Duration::from_secs(3);
/// How long a server that refused is left alone.
const REFUSED: Duration = Duration::from_secs(60);

impl Core {
    /// What to listen for; `None` when there is nothing.
    fn filter(&self, connection: &Connection) -> Option<RawJson> {
        let mut filter = serde_json::Map::new();
        for (capability, member) in [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ] {
            if connection.declares_member(capability, "listChanged") {
                filter.insert(member.to_owned(), true.into());
            }
        }
        for client in self.subscriptions.shared_by() {
            connection.users.note(&client);
        }
        let uris = self.subscriptions.shared();
        if !uris.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), uris.into());
        }
        (!filter.is_empty()).then(|| RawJson::of(&filter))
    }

    /// Listens for as long as it is polled.
    pub(crate) async fn listen(self: &Arc<Self>, index: usize, connection: &Arc<Connection>) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let mut wanted = self.version.subscribe();
        let mut old: Option<AbortOnDropHandle<_>> = None;
        let mut failures = 0;
        let mut ended = false;
        loop {
            let version = *wanted.borrow_and_update();
            let Some(filter) = self.filter(connection) else {
                drop(old.take());
                slot.confirmed.send_replace(version);
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let (confirm, confirmed) = oneshot::channel();
            let stream = connection.clone();
            let mut stream = AbortOnDropHandle::new(tokio::spawn(async move {
                stream
                    .listen(filter, move || {
                        let _ = confirm.send(());
                    })
                    .await
            }));
            // A stream that ends at once also ends the wait: its end drops the sender.
            let confirmed = tokio::time::timeout(CONFIRM, confirmed).await;
            drop(old.take());
            slot.confirmed.send_replace(version);
            if matches!(confirmed, Ok(Ok(()))) {
                failures = 0;
                if std::mem::take(&mut ended) {
                    // Changes may have been missed in between.
                    self.refresh_all();
                }
            }
            let outcome = tokio::select! {
                outcome = &mut stream => outcome,
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    old = Some(stream);
                    continue;
                }
            };
            ended = true;
            let pause = match outcome {
                Ok(Err(CallError::Rpc(error))) => {
                    tracing::debug!(server = %self.name, %error, "no subscriptions");
                    REFUSED
                }
                Ok(Err(CallError::Transport(
                    error @ (TransportError::Connect(_) | TransportError::SessionLost),
                ))) => {
                    connection.fail(&error);
                    return std::future::pending().await;
                }
                _ => backoff::delay(failures),
            };
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(jitter(pause)) => {}
                _ = wanted.changed() => {}
            }
        }
    }
}
