//! State that all connections to one server share: questions that wait for clients, ids that the server gave out,
//! calls that end its processes, and what the server may write into the hub's log.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aih_mcp::{RawJson, RawObject, method};
use tokio::time::Instant;

use super::{connection::lock, crashes::Crashes, owned_ids::OwnedIds, questions::Questions};
use crate::{provider::LogLevel, upstream::transport::http_client::excerpt};

/// Rows of the log that one server may write in [`PERIOD`] with what it says to nobody.
const ROWS: u32 = 50;
/// See [`ROWS`].
const PERIOD: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Common {
    /// The server's name.
    pub(crate) name: Arc<str>,
    /// Questions that wait for clients.
    pub(crate) questions: Questions,
    /// Tasks and elicitations.
    pub(crate) owned_ids: OwnedIds,
    /// Calls that ended processes.
    pub(crate) crashes: Crashes,
    rows: Mutex<Rows>,
}

struct Rows {
    since: Instant,
    written: u32,
    left_out: u64,
}

impl Common {
    /// For server `name`.
    pub(crate) fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            name,
            questions: Questions::default(),
            owned_ids: OwnedIds::default(),
            crashes: Crashes::default(),
            rows: Mutex::new(Rows {
                since: Instant::now(),
                written: 0,
                left_out: 0,
            }),
        })
    }

    /// Writes a notification that concerns no client for certain into the hub's log: log messages at their own level,
    /// everything else at `debug`. Texts are cut, and rows above [`ROWS`] in [`PERIOD`] are counted instead.
    pub(crate) fn write_to_log(&self, method: &str, params: Option<&RawJson>) {
        if !self.may_write() {
            return;
        }
        let server = &*self.name;
        if method != method::LOG_MESSAGE {
            let params = params.map(|p| excerpt(p.bytes())).unwrap_or_default();
            let method = excerpt(method.as_bytes());
            tracing::debug!(target: "aih::upstream", server, method, params, "a notification that names no request");
            return;
        }
        let fields = params.and_then(|p| RawObject::parse(p).ok());
        let level = fields
            .as_ref()
            .and_then(|f| LogLevel::parse(&f.str("level")?))
            .unwrap_or(LogLevel::Debug);
        let data = fields.as_ref().and_then(|f| f.raw("data"));
        let text = data.map(|d| excerpt(d.bytes())).unwrap_or_default();
        match level {
            LogLevel::Debug => tracing::debug!(target: "aih::upstream::log", server, "{text}"),
            LogLevel::Info | LogLevel::Notice => {
                tracing::info!(target: "aih::upstream::log", server, "{text}")
            }
            LogLevel::Warning => tracing::warn!(target: "aih::upstream::log", server, "{text}"),
            LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => {
                tracing::error!(target: "aih::upstream::log", server, "{text}");
            }
        }
    }

    fn may_write(&self) -> bool {
        let left_out = {
            let mut rows = lock(&self.rows);
            if rows.since.elapsed() < PERIOD {
                rows.written += 1;
                if rows.written > ROWS {
                    rows.left_out += 1;
                    return false;
                }
                0
            } else {
                (rows.since, rows.written) = (Instant::now(), 1);
                std::mem::take(&mut rows.left_out)
            }
        };
        if left_out > 0 {
            tracing::warn!(
                target: "aih::upstream", server = &*self.name, left_out,
                "says more than {ROWS} things in {} s that name no request; the rest is not written down",
                PERIOD.as_secs()
            );
        }
        true
    }
}
