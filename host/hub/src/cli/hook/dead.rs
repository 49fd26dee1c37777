//! `aih hooks dead`: the events that were given up, straight from the store. A hub may be running on it.

use std::{path::PathBuf, process::ExitCode};

use aih_store::{
    Store,
    queue::{EventId, Pick},
};
use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::cli::{DEFAULT_CONFIG, load, report};

/// Events that are shown where no number is given.
const SHOWN: usize = 50;

/// See the module.
#[derive(Debug, clap::Args)]
pub struct DeadEvents {
    /// The configuration file.
    #[arg(long, short, env = "AIH_CONFIG", default_value = DEFAULT_CONFIG, value_name = "FILE")]
    config: PathBuf,
    /// Put the event with this id back into the queue, or all of them with `all`.
    #[arg(long, value_name = "ID|all", conflicts_with = "purge")]
    replay: Option<String>,
    /// Remove the event with this id for good, or all of them with `all`.
    #[arg(long, value_name = "ID|all", num_args = 0..=1, default_missing_value = "all")]
    purge: Option<String>,
    /// How many events to show, the latest first.
    #[arg(long, default_value_t = SHOWN)]
    limit: usize,
    /// Print JSON, payloads included.
    #[arg(long)]
    json: bool,
}

impl DeadEvents {
    /// Does what the flags say.
    ///
    /// # Errors
    /// The store cannot be opened, or has no such event.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match load(&self.config) {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let store = Store::open(loaded.config.store.url.expose_secret(), &loaded.base_dir).await?;
        let outcome = self.on(&store).await;
        store.close().await;
        outcome
    }

    async fn on(&self, store: &Store) -> anyhow::Result<ExitCode> {
        let queue = store.queue();
        let (done, count) = match (&self.replay, &self.purge) {
            (Some(id), _) => ("put back", queue.replay(pick(id)).await?),
            (None, Some(id)) => ("removed", queue.purge(pick(id)).await?),
            (None, None) => return self.list(store).await,
        };
        let asked = self.replay.as_deref().or(self.purge.as_deref());
        anyhow::ensure!(
            count > 0 || asked == Some("all"),
            "no event with the id `{}` was given up; `aih hooks dead` lists those that were",
            asked.unwrap_or_default()
        );
        let noun = if count == 1 { "event" } else { "events" };
        report::line(&format!("{count} {noun} {done}"));
        Ok(ExitCode::SUCCESS)
    }

    async fn list(&self, store: &Store) -> anyhow::Result<ExitCode> {
        let page = store.queue().list_dead(None, self.limit).await?;
        let more = page.next.is_some();
        if !self.json {
            if page.events.is_empty() {
                report::line("no event was given up");
            }
            for dead in &page.events {
                let event = &dead.event;
                report::entry(&format!(
                    "{}  {}  {}  {}  after {} attempts: {}",
                    event.id,
                    dead.died,
                    event.hook,
                    event.trigger,
                    event.attempt,
                    event.error.as_deref().unwrap_or("no error is known")
                ));
            }
            if more {
                report::line("there are more; --limit shows them");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let events: Vec<_> = page
            .events
            .iter()
            .map(|dead| {
                let event = &dead.event;
                serde_json::json!({
                    "id": event.id, "hook": event.hook, "trigger": event.trigger, "attempts": event.attempt,
                    "error": event.error, "created": event.created.to_string(), "died": dead.died.to_string(),
                    "payload": event.payload,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&events).context("the events cannot be written")?;
        report::line(&text);
        Ok(ExitCode::SUCCESS)
    }
}

fn pick(id: &str) -> Pick {
    match id {
        "all" => Pick::All,
        id => Pick::One(EventId::from_text(id)),
    }
}
