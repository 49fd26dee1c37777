//! Progress of calls that are silent for long.
//!
//! Many clients give a call up when nothing was said of it for 60 to 300 seconds. Comments that keep a connection alive
//! do not help, since the time is counted for each request; a progress notification does. A client that gave a progress
//! token gets one of the hub's own whenever the server was silent for [`SILENCE`]. The call still ends with the time
//! limit of its server.
//!
//! What the server says of its progress passes unchanged, except where the value would not be above one of the hub's
//! own: values must rise (MCP 2025-11-25, Progress). The hub's own values rise by so little that this is rare.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aih_mcp::{
    ErrorObject, Params, RawJson, RawObject,
    method::{self, meta},
};
use async_trait::async_trait;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::{names, provider::Peer};

/// How long a server is silent before the hub speaks.
const SILENCE: Duration = Duration::from_secs(15);
/// What the hub's own values rise by.
const STEP: f64 = 0.000_1;

/// Stands between a server and the client of one call that gave a progress token.
pub(super) struct ProgressRelay {
    peer: Arc<dyn Peer>,
    token: RawJson,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    /// The largest value that was sent.
    value: f64,
    /// The total that the server named last.
    total: Option<RawJson>,
    /// Whether the hub has sent a value of its own.
    spoke: bool,
    /// When something was said last.
    last: Instant,
}

impl ProgressRelay {
    /// A relay in front of `peer`, if the request with these parameters has a progress token.
    pub(super) fn of(peer: &Arc<dyn Peer>, params: &Params) -> Option<Arc<Self>> {
        let meta = params.get("_meta")?;
        let token = RawObject::parse(meta).ok()?.raw(meta::PROGRESS_TOKEN)?;
        let now = Instant::now();
        Some(Arc::new(Self {
            peer: peer.clone(),
            // A copy: the parts of a message share its bytes.
            token: token.detached(),
            begun: now,
            state: Mutex::new(State {
                value: 0.0,
                total: None,
                spoke: false,
                last: now,
            }),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The numbers are each true by themselves.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the call, and speaks where the server is silent.
    pub(super) async fn during<T>(&self, call: impl Future<Output = T>) -> T {
        self.during_with(call, SILENCE).await
    }

    async fn during_with<T>(&self, call: impl Future<Output = T>, silence: Duration) -> T {
        tokio::pin!(call);
        loop {
            let until = self.lock().last + silence;
            tokio::select! {
                biased;
                outcome = &mut call => return outcome,
                () = sleep_until(until) => self.speak(silence),
            }
        }
    }

    /// Sends progress of the hub's own, unless the server spoke meanwhile.
    fn speak(&self, silence: Duration) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.last + silence > now {
            return;
        }
        state.last = now;
        state.spoke = true;
        state.value = above(state.value);
        let seconds = self.begun.elapsed().as_secs();
        let mut params = json!({
            "progressToken": self.token,
            "progress": state.value,
            "message": format!("still running after {seconds} s"),
        });
        if let (Some(total), Some(params)) = (&state.total, params.as_object_mut()) {
            params.insert("total".to_owned(), total.to_value());
        }
        let params = Some(RawJson::of(&params));
        // Under the lock, so that values are sent in their order. It never waits.
        self.peer.notify(names::BUILTIN, method::PROGRESS, params);
    }

    /// What the server said of this call, as the client gets it.
    fn rising(&self, state: &mut State, params: RawJson) -> RawJson {
        let Ok(mut fields) = RawObject::parse(&params) else {
            return params;
        };
        if fields.raw(meta::PROGRESS_TOKEN).as_ref() != Some(&self.token) {
            return params;
        }
        let Some(value) = fields.read::<f64>("progress") else {
            return params;
        };
        state.last = Instant::now();
        state.total = fields.raw("total").map(|total| total.detached());
        if !state.spoke || value > state.value {
            state.value = state.value.max(value);
            return params;
        }
        state.value = above(state.value);
        fields.set("progress", &RawJson::of(&state.value));
        fields.to_json()
    }
}

/// The next value of the hub's own.
fn above(value: f64) -> f64 {
    let next = value + STEP;
    // A large value does not change by a small step.
    if next > value { next } else { value.next_up() }
}

#[async_trait]
impl Peer for ProgressRelay {
    fn notify(&self, provider: &str, method: &str, params: Option<RawJson>) {
        match params {
            Some(params) if method == method::PROGRESS => {
                let mut state = self.lock();
                let params = self.rising(&mut state, params);
                self.peer.notify(provider, method, Some(params));
            }
            params => self.peer.notify(provider, method, params),
        }
    }

    async fn ask(
        &self,
        provider: &str,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<RawJson, ErrorObject> {
        self.peer.ask(provider, method, params).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Keeps what was said.
    #[derive(Default)]
    struct Kept(Mutex<Vec<(String, String)>>);

    #[async_trait]
    impl Peer for Kept {
        fn notify(&self, _: &str, method: &str, params: Option<RawJson>) {
            let params = params.map_or_else(String::new, |params| params.text().into_owned());
            self.0.lock().unwrap().push((method.to_owned(), params));
        }

        async fn ask(&self, _: &str, _: &str, _: Option<RawJson>) -> Result<RawJson, ErrorObject> {
            Ok(RawJson::EMPTY_OBJECT)
        }
    }

    fn relay(meta: &str) -> (Arc<Kept>, Option<Arc<ProgressRelay>>) {
        let kept = Arc::<Kept>::default();
        let params = RawJson::parse(format!(r#"{{"name":"x","_meta":{meta}}}"#)).unwrap();
        let params = Params::read(method::TOOLS_CALL, Some(params)).unwrap();
        let peer: Arc<dyn Peer> = kept.clone();
        (kept, ProgressRelay::of(&peer, &params))
    }

    fn said(kept: &Kept) -> Vec<Value> {
        let all = kept.0.lock().unwrap();
        all.iter()
            .map(|(_, params)| serde_json::from_str(params).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_silent_call_makes_progress_and_one_that_speaks_does_not() {
        let silence = Duration::from_millis(50);
        for token in ["7", "\"a-1\""] {
            let (kept, relay) = relay(&format!(r#"{{"progressToken":{token}}}"#));
            let relay = relay.unwrap();
            relay.during_with(tokio::time::sleep(silence * 5), silence).await;
            let said = said(&kept);
            assert!((2..=5).contains(&said.len()), "{said:?}");
            let mut before = 0.0;
            for one in said {
                assert_eq!(one["progressToken"].to_string(), token);
                let value = one["progress"].as_f64().unwrap();
                assert!(value > before && value < 0.01, "{one}");
                before = value;
                assert!(
                    one["message"].as_str().unwrap().starts_with("still running"),
                    "{one}"
                );
                assert!(one.get("total").is_none());
            }
        }
        let (kept, relay) = relay(r#"{"progressToken":1}"#);
        let relay = relay.unwrap();
        let speaks = async {
            for n in 1..=12 {
                tokio::time::sleep(silence / 5).await;
                let params = RawJson::of(&json!({ "progressToken": 1, "progress": n }));
                relay.notify("s", method::PROGRESS, Some(params));
            }
        };
        relay.during_with(speaks, silence).await;
        assert_eq!(
            said(&kept)
                .iter()
                .map(|one| one["progress"].as_u64())
                .collect::<Vec<_>>(),
            (1..=12).map(Some).collect::<Vec<_>>()
        );
    }

    #[test]
    fn without_a_token_there_is_no_relay() {
        for meta in ["{}", r#"{"x":1}"#, "null"] {
            assert!(relay(meta).1.is_none(), "{meta}");
        }
    }

    #[test]
    fn what_a_server_says_passes_byte_for_byte() {
        let (kept, relay) = relay(r#"{"progressToken":"t"}"#);
        let relay = relay.unwrap();
        let texts = [
            r#"{"progressToken":"t","progress":1.50,"total":3e0,"message":"ä","x":[1.0]}"#,
            // A server's own values may stand still or fall as they like, as without a hub.
            r#"{"progressToken":"t","progress":1.50}"#,
            r#"{"progressToken":"t","progress":0}"#,
            r#"{"progressToken":"other","progress":0}"#,
            r#"{"progressToken":"t","progress":"no number"}"#,
            r#"{"progressToken":"t"}"#,
            r#"{"level":"info","data":{"progress":0}}"#,
        ];
        for text in texts {
            relay.notify(
                "s",
                method::PROGRESS,
                Some(RawJson::parse(text.to_owned()).unwrap()),
            );
        }
        relay.notify("s", method::LOG_MESSAGE, None);
        let kept = kept.0.lock().unwrap();
        assert_eq!(
            kept.iter().map(|(_, text)| &**text).collect::<Vec<_>>(),
            [&texts[..], &[""]].concat()
        );
    }

    proptest! {
        /// The server's values rise; the hub speaks in between: what the client sees rises too, and the server's values
        /// are its own wherever they can be.
        #[test]
        fn what_a_client_sees_rises(steps in prop::collection::vec((any::<bool>(), 0.0_f64..3.0), 1..40), start in -1e3_f64..1e16) {
            let (kept, relay) = relay(r#"{"progressToken":1}"#);
            let relay = relay.unwrap();
            let (mut value, mut own) = (start, Vec::new());
            for (hub, step) in steps {
                if hub {
                    relay.lock().last = Instant::now().checked_sub(SILENCE).unwrap();
                    relay.speak(SILENCE);
                } else {
                    value = above(value + step);
                    own.push(value);
                    let params = RawJson::of(&json!({ "progressToken": 1, "progress": value, "total": 1e17 }));
                    relay.notify("s", method::PROGRESS, Some(params));
                }
            }
            let said = said(&kept);
            let seen: Vec<f64> = said.iter().map(|one| one["progress"].as_f64().unwrap()).collect();
            for pair in seen.windows(2) {
                prop_assert!(pair[0] < pair[1], "{seen:?}");
            }
            let servers = said.iter().filter(|one| one.get("message").is_none());
            for (one, value) in servers.zip(own) {
                let given = one["progress"].as_f64().unwrap();
                prop_assert!(given >= value, "{given} for {value}");
                if (0.01..1e6).contains(&start) {
                    prop_assert!(given - value <= 0.01, "{given} for {value}");
                }
            }
        }
    }
}
