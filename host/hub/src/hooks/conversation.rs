//! Conversations: from the first request of a client until it leaves.
//!
//! A client with a session begins a conversation with `initialize`. A client without a session begins one with its
//! first request after it was silent for `server.conversation_timeout`. The answers of `conversation.start` hooks
//! become part of the `instructions` for the client, and of the prompt `aih__context`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use aih_mcp::ErrorObject;
use aih_runtime::{Decision, Outcome};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{Denied, EventContext, Hooks, Trigger, decide, event};
use crate::{
    catalogue::files::sha256_hex,
    provider::{Call, Client, ClientKey, Trail},
};

/// Conversations that are followed. For further ones background hooks do not run, and blocking ones are asked at each
/// request.
const FOLLOWED: usize = 50_000;
/// Bytes of all that hooks add to the instructions of one conversation.
const LONGEST: usize = 64 * 1024;

/// The conversations that go on.
#[derive(Default)]
pub(super) struct Conversations(Mutex<HashMap<ClientKey, Arc<Conversation>>>);

struct Conversation {
    client: Arc<Client>,
    session: String,
    began: Instant,
    /// What the hooks said, once they did.
    said: OnceCell<Result<Option<String>, Denied>>,
}

impl Conversations {
    /// The conversation of a client, and whether it is followed: one too many is not, and begins anew with each request.
    fn of(&self, client: &Arc<Client>) -> (Arc<Conversation>, bool) {
        // The map is whole at every point where code under the lock could panic.
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = map.get(&client.key) {
            return (known.clone(), true);
        }
        let mut session = sha256_hex(client.key.0.as_bytes());
        session.truncate(16);
        let new = Arc::new(Conversation {
            client: client.clone(),
            session,
            began: Instant::now(),
            said: OnceCell::new(),
        });
        let follows = map.len() < FOLLOWED;
        if follows {
            map.insert(client.key.clone(), new.clone());
        }
        (new, follows)
    }

    fn end(&self, client: &ClientKey) -> Option<Arc<Conversation>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(client)
    }
}

impl Hooks {
    /// Ends conversations of clients that nobody holds any more. Of a client that was one too many to be remembered, nobody
    /// says that it is gone.
    pub(crate) fn end_unheld(&self) {
        let gone: Vec<ClientKey> = {
            let map = self
                .conversations
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let unheld = |one: &&Arc<Conversation>| Arc::strong_count(&one.client) == 1;
            map.values()
                .filter(unheld)
                .map(|one| one.client.key.clone())
                .collect()
        };
        gone.iter().for_each(|client| self.client_gone(client));
    }

    /// Whether anybody wants to know of conversations.
    pub(crate) fn follow_conversations(&self) -> bool {
        self.any(Trigger::ConversationStart) || self.any(Trigger::ConversationEnd)
    }

    /// Whether hooks may have something to say to clients.
    pub fn have_context(&self) -> bool {
        !self.blocking(Trigger::ConversationStart).is_empty()
    }

    /// The client is there: its conversation begins, unless it goes on. Answers what the hooks want it to know.
    ///
    /// # Errors
    /// A hook denied the conversation.
    pub(crate) async fn conversation(&self, client: &Arc<Client>) -> Result<Option<String>, ErrorObject> {
        if !self.follow_conversations() {
            return Ok(None);
        }
        let (conversation, follows) = self.conversations.of(client);
        let begin = || async {
            match self.begin(&conversation, follows).await {
                // The next request asks again.
                Err(denied) if denied.undecided.is_some() => Err(denied),
                said => Ok(said),
            }
        };
        match conversation.said.get_or_try_init(begin).await {
            Ok(said) => said.clone().map_err(|denied| denied.as_error()),
            Err(denied) => Err(denied.as_error()),
        }
    }

    async fn begin(&self, conversation: &Conversation, follows: bool) -> Result<Option<String>, Denied> {
        let client = &conversation.client;
        let context = EventContext::client(client);
        let call = Call {
            client: client.clone(),
            peer: client.peer.clone(),
            cancel: CancellationToken::new(),
            depth: 0,
            trail: Trail::default(),
        };
        let payload = event::ConversationStart {
            session: &conversation.session,
        };
        let asked = self.ask(
            Trigger::ConversationStart,
            context,
            &call,
            String::new(),
            |facts, _| event::write(Trigger::ConversationStart, facts, &payload),
            |before, text| joined(before, &decide::instructions(text)?),
        );
        let text = asked.await?;
        if follows {
            self.tell(Trigger::ConversationStart, context, &payload);
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// The client is gone.
    pub(super) fn end_conversation(&self, client: &ClientKey) {
        if !self.follow_conversations() {
            return;
        }
        let Some(conversation) = self.conversations.end(client) else {
            return;
        };
        // One that a hook denied, or whose hooks still think, did not take place.
        if !matches!(conversation.said.get(), Some(Ok(_))) {
            return;
        }
        let payload = event::ConversationEnd {
            session: &conversation.session,
            duration_ms: u64::try_from(conversation.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.tell(
            Trigger::ConversationEnd,
            EventContext::client(&conversation.client),
            &payload,
        );
    }
}

/// What a hook said after what others did.
fn joined(before: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    let joined = match (before.is_empty(), text.is_empty()) {
        (_, true) => before.to_owned(),
        (true, false) => text.to_owned(),
        (false, false) => format!("{before}\n\n{text}"),
    };
    if joined.len() > LONGEST {
        return Err(format!(
            "the instructions of all hooks together are longer than {LONGEST} bytes"
        ));
    }
    Ok(joined)
}

/// What an outcome decides. `conversation.start` may answer its text as a result as well.
pub(super) fn decision(trigger: Trigger, outcome: Outcome) -> Decision {
    match (outcome.decision, outcome.event_result_json) {
        (Decision::Proceed, Some(result))
            if trigger == Trigger::ConversationStart && decide::instructions(&result).is_ok() =>
        {
            Decision::Replace(result)
        }
        (decision, _) => decision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hooks_say_stands_one_below_the_other() {
        assert_eq!(joined("", " a\n").unwrap(), "a");
        assert_eq!(joined("a", "b").unwrap(), "a\n\nb");
        assert_eq!(joined("a", "").unwrap(), "a");
        assert!(joined("a", &"x".repeat(LONGEST)).is_err());
    }

    #[test]
    fn the_text_may_be_the_result() {
        let outcome = |result: &str| Outcome {
            decision: Decision::Proceed,
            event_result_json: Some(result.to_owned()),
        };
        let said = r#"{"instructions":"x"}"#;
        let decided = decision(Trigger::ConversationStart, outcome(said));
        assert!(matches!(decided, Decision::Replace(text) if text == said));
        assert!(matches!(
            decision(Trigger::ConversationStart, outcome("{}")),
            Decision::Proceed
        ));
        assert!(matches!(
            decision(Trigger::ToolBefore, outcome(said)),
            Decision::Proceed
        ));
    }
}
