//! Starts a process and greets it.
//!
//! One process gets one greeting that it may accept. Some servers take `initialize` after `server/discover` as a change
//! of mind and speak the older era from then on, whatever they answered before. So `initialize` goes to the same process
//! only if the process refused `server/discover` with an error. A process that does not answer is waited for while it
//! starts; one that has read the greeting and stays silent is ended, and another process gets the older greeting.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aih_mcp::{Era, method};
use tokio::{sync::Notify, time::Instant};

use super::{
    lifecycle::{DialError, Dialer, Opening},
    start_turns::{self, Turn},
};
use crate::{
    config::Protocol,
    provider::Client,
    upstream::{
        link::connection::{Connection, ServerGreeting, lock},
        transport::{Transport, TransportError, activity::Activity, connector::TransportKind},
    },
};

/// How often a process that has not answered is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// A process that has read `server/discover`, and then neither worked nor printed for so long, does not know it: servers
/// of Python's `mcp` 1.6 never answer a method that they do not know.
const UNANSWERED: Duration = Duration::from_secs(4);
/// The same for a process that works all the time.
const UNANSWERED_AT_WORK: Duration = Duration::from_secs(15);
/// The same from its start, where the system does not say what a process has read.
const UNANSWERED_UNSEEN: Duration = Duration::from_secs(20);
/// How many times the limit a process may take that works all the time.
const AT_WORK: u32 = 5;
/// A process that was still for so long leaves its turn to the next one.
const STILL: Duration = Duration::from_secs(1);

/// Why a process could not be greeted.
enum StartError {
    /// It has read `server/discover` and does not answer.
    Unanswered,
    /// It ended, or could not be started.
    Ended {
        error: TransportError,
        /// Whether it had read what was written to it, as far as the system says.
        had_read: bool,
    },
    /// It answered with something else than a greeting, or not at all.
    Other(DialError),
}

impl From<StartError> for DialError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Unanswered => Self::Silent {
                method: method::DISCOVER,
                limit: UNANSWERED,
                said: Default::default(),
            },
            StartError::Ended { error, .. } => Self::Transport(error),
            StartError::Other(error) => error,
        }
    }
}

/// A process that has not answered.
struct Silence {
    transport: Arc<dyn Transport>,
    begun: Instant,
    seen: Option<Activity>,
    /// When it was seen at work, or printed, for the last time.
    active: Instant,
    /// When it was seen to have read all that was written.
    read: Option<Instant>,
    turn: Option<Turn>,
}

impl Silence {
    fn new(transport: Arc<dyn Transport>, turn: Turn) -> Self {
        let now = Instant::now();
        let mut silence = Self {
            transport,
            begun: now,
            seen: None,
            active: now,
            read: None,
            turn: Some(turn),
        };
        silence.look(now);
        silence
    }

    fn look(&mut self, now: Instant) {
        let Some(seen) = self.transport.activity() else {
            return;
        };
        let worked = |before: Activity| before.processor != seen.processor || before.printed != seen.printed;
        if self.seen.replace(seen).is_some_and(worked) {
            self.active = now;
        }
        if seen.has_read == Some(true) {
            self.read.get_or_insert(now);
        }
        if now - self.active >= STILL {
            self.turn = None;
        }
    }

    fn still_for(&self, now: Instant) -> Duration {
        now - self.read.map_or(self.active, |read| read.max(self.active))
    }

    /// Whether it does not know what it was asked.
    fn is_unanswered(&self, now: Instant) -> bool {
        match (self.seen.and_then(|seen| seen.has_read), self.read) {
            (Some(_), Some(read)) => self.still_for(now) >= UNANSWERED || now - read >= UNANSWERED_AT_WORK,
            (Some(_), None) => false,
            (None, _) => now - self.begun >= UNANSWERED_UNSEEN,
        }
    }

    /// Whether it was silent for too long.
    fn is_over(&self, now: Instant, limit: Duration) -> bool {
        now - self.active >= limit || now - self.begun >= limit.saturating_mul(AT_WORK)
    }
}

impl Dialer {
    /// Starts a process and greets it; `begun` is notified whenever one starts.
    ///
    /// A process that ends over its start is not started again here: that is for the next attempt. Only the first that
    /// ends after it has read `server/discover` is followed by one that gets `initialize`.
    pub(super) async fn process(
        &self,
        limit: Duration,
        instance: usize,
        owner: Option<&Arc<Client>>,
        begun: Option<&Notify>,
    ) -> Result<Arc<Connection>, DialError> {
        let known = lock(&self.memory).map(|(_, era)| era);
        let auto = self.spec.protocol == Protocol::Auto;
        let era = match self.spec.protocol {
            Protocol::Auto => known.unwrap_or_else(|| *lock(&self.guess)),
            Protocol::Modern => Era::Modern,
            Protocol::Legacy => Era::Legacy,
        };
        let error = match self.start(era, limit, instance, owner, begun).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        *lock(&self.memory) = None;
        let other = match (&error, era) {
            (StartError::Unanswered, _) => Some(Era::Legacy),
            (StartError::Ended { had_read: true, .. }, Era::Modern) if auto => {
                (!self.ended_greeted.swap(true, Ordering::Relaxed)).then_some(Era::Legacy)
            }
            (StartError::Other(DialError::Version(_)), Era::Modern) if auto => Some(Era::Legacy),
            (StartError::Other(DialError::Version(_) | DialError::Refused { .. }), Era::Legacy) if auto => {
                Some(Era::Modern)
            }
            _ => None,
        };
        let Some(other) = other else {
            self.guess_after(&error, era);
            return Err(error.into());
        };
        tracing::debug!(server = %self.server, error = %DialError::from(error), "another process gets another greeting");
        let again = self.start(other, limit, instance, owner, begun).await;
        again.map_err(|error| {
            self.guess_after(&error, other);
            error.into()
        })
    }

    /// A process that ended over a greeting gets the other one at the next attempt.
    fn guess_after(&self, error: &StartError, era: Era) {
        if matches!(error, StartError::Ended { had_read: true, .. }) {
            *lock(&self.guess) = match era {
                Era::Modern => Era::Legacy,
                Era::Legacy => Era::Modern,
            };
        }
    }

    /// One process, and its greeting in this era. A process that refuses `server/discover` gets `initialize` too, if the
    /// era is to be found out.
    async fn start(
        &self,
        era: Era,
        limit: Duration,
        instance: usize,
        owner: Option<&Arc<Client>>,
        begun: Option<&Notify>,
    ) -> Result<Arc<Connection>, StartError> {
        let turn = start_turns::turn().await;
        if let Some(begun) = begun {
            begun.notify_one();
        }
        let not_started = |error| StartError::Ended {
            error,
            had_read: false,
        };
        let connection = self.open(TransportKind::Stdio, instance, owner).await;
        let connection = connection.map_err(not_started)?;
        let opening = Opening::new(connection.clone(), &self.tasks);
        let transport = connection.transport().map_err(not_started)?.clone();
        let mut silence = Silence::new(transport, turn);
        let greeted = self.greet(&connection, era, limit, &mut silence).await;
        let settled = match greeted {
            Ok(greeting) => {
                let settled = self.settle(connection, Ok(greeting)).await;
                settled.map_err(StartError::Other)
            }
            Err(error) => {
                silence.turn = None;
                connection.close().await;
                Err(error)
            }
        };
        opening.keep();
        let found = settled?;
        *lock(&self.memory) = Some((TransportKind::Stdio, found.era()));
        Ok(found)
    }

    async fn greet(
        &self,
        connection: &Connection,
        era: Era,
        limit: Duration,
        silence: &mut Silence,
    ) -> Result<ServerGreeting, StartError> {
        let auto = self.spec.protocol == Protocol::Auto;
        // The answer is waited for below, by what is seen of the process.
        let longest = limit.saturating_mul(AT_WORK + 1);
        if era == Era::Modern {
            let discover = self.discover(connection, longest);
            match answer(discover, method::DISCOVER, limit, silence, auto).await {
                Err(StartError::Other(DialError::Refused { .. })) if auto => {}
                found => return found,
            }
        }
        let initialize = self.initialize(connection, longest);
        answer(initialize, method::INITIALIZE, limit, silence, false).await
    }
}

/// The answer to a greeting. With `give_up`, a process that does not know what it was asked is not waited for.
async fn answer(
    greeting: impl Future<Output = Result<ServerGreeting, DialError>>,
    method: &'static str,
    limit: Duration,
    silence: &mut Silence,
    give_up: bool,
) -> Result<ServerGreeting, StartError> {
    let mut greeting = std::pin::pin!(greeting);
    loop {
        tokio::select! {
            answered = &mut greeting => return answered.map_err(|error| match error {
                DialError::Transport(error) => {
                    silence.look(Instant::now());
                    let unseen = silence.seen.is_none_or(|seen| seen.has_read.is_none());
                    StartError::Ended { error, had_read: unseen || silence.read.is_some() }
                }
                error => StartError::Other(error),
            }),
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = Instant::now();
        silence.look(now);
        if give_up && silence.is_unanswered(now) {
            return Err(StartError::Unanswered);
        }
        if silence.is_over(now, limit) {
            return Err(StartError::Other(DialError::Silent {
                method,
                limit: limit.min(now - silence.begun),
                said: silence.transport.last_words().into(),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use aih_mcp::{ErrorObject, Message, ProtocolVersion, RawJson, headers::ParamHeader};
    use async_trait::async_trait;
    use std::sync::Mutex;

    use super::*;

    /// A process of which this is seen.
    #[derive(Default)]
    struct Seen(Mutex<Option<Activity>>);

    impl Seen {
        fn set(&self, has_read: Option<bool>, processor: u64, printed: u64) {
            *lock(&self.0) = Some(Activity {
                has_read,
                processor: Some(processor),
                printed,
            });
        }
    }

    #[async_trait]
    impl Transport for Seen {
        async fn request(
            &self,
            _: u64,
            _: &str,
            _: Option<RawJson>,
            _: &[ParamHeader],
        ) -> Result<Result<RawJson, ErrorObject>, TransportError> {
            std::future::pending().await
        }

        async fn send(&self, _: Message) -> Result<(), TransportError> {
            Ok(())
        }

        fn negotiated(&self, _: ProtocolVersion) {}

        fn stateful(&self) -> bool {
            true
        }

        fn activity(&self) -> Option<Activity> {
            *lock(&self.0)
        }

        async fn close(&self) {}
    }

    const LIMIT: Duration = Duration::from_secs(60);

    async fn silence(visible: bool) -> (Arc<Seen>, Silence, Instant) {
        let seen = Arc::new(Seen::default());
        if visible {
            seen.set(Some(false), 0, 0);
        }
        let silence = Silence::new(seen.clone(), start_turns::turn().await);
        let begun = silence.begun;
        (seen, silence, begun)
    }

    #[tokio::test]
    async fn a_process_that_has_not_read_its_input_is_still_starting() {
        let (seen, mut silence, begun) = silence(true).await;
        for second in 1..59 {
            seen.set(Some(false), 0, 0);
            let now = begun + Duration::from_secs(second);
            silence.look(now);
            assert!(
                !silence.is_unanswered(now) && !silence.is_over(now, LIMIT),
                "{second} s"
            );
        }
        assert!(silence.turn.is_none(), "others start while it waits");
        assert!(silence.is_over(begun + LIMIT, LIMIT));
        // From the moment of reading it has a short time.
        seen.set(Some(true), 0, 0);
        let read = begun + Duration::from_secs(59);
        silence.look(read);
        assert!(!silence.is_unanswered(read + UNANSWERED / 2));
        assert!(silence.is_unanswered(read + UNANSWERED));
    }

    #[tokio::test]
    async fn work_and_lines_are_no_silence_but_do_not_last_for_ever() {
        for printing in [false, true] {
            let (seen, mut silence, begun) = silence(true).await;
            let (mut over, mut unanswered) = (None, None);
            for second in 1..400 {
                let (processor, printed) = if printing { (0, second) } else { (second, 0) };
                seen.set(Some(second > 100), processor, printed);
                let now = begun + Duration::from_secs(second);
                silence.look(now);
                if silence.is_unanswered(now) {
                    unanswered.get_or_insert(second);
                }
                if silence.is_over(now, LIMIT) {
                    over.get_or_insert(second);
                }
            }
            assert_eq!(over, Some(LIMIT.as_secs() * u64::from(AT_WORK)));
            assert_eq!(unanswered, Some(101 + UNANSWERED_AT_WORK.as_secs()));
            assert!(silence.turn.is_some(), "it works, and keeps its turn");
        }
    }

    #[tokio::test]
    async fn where_nothing_is_seen_time_alone_counts() {
        let (_, mut silence, begun) = silence(false).await;
        silence.look(begun + UNANSWERED_UNSEEN / 2);
        assert!(!silence.is_unanswered(begun + UNANSWERED_UNSEEN / 2));
        assert!(silence.is_unanswered(begun + UNANSWERED_UNSEEN));
        assert!(silence.is_over(begun + LIMIT, LIMIT) && !silence.is_over(begun + LIMIT / 2, LIMIT));
    }
}
