//! What a guest prints becomes lines of its log, up to a budget.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::host::{Host, Level};

/// Bytes of one line; longer ones are cut into several.
const LINE: usize = 4 << 10;
/// Bytes of all log lines of one call, printed ones included.
const BUDGET: usize = 256 << 10;

/// The log of one call: where it goes, and what it may still hold.
pub(crate) struct CallLog(Mutex<Budget>);

struct Budget {
    host: Arc<dyn Host>,
    left: usize,
}

impl CallLog {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self(Mutex::new(Budget { host, left: BUDGET }))
    }

    /// The next call of a warm instance begins.
    pub(crate) fn begin(&self, host: Arc<dyn Host>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Budget { host, left: BUDGET };
    }

    /// Writes a line, or drops it where the budget is used up; the first dropped one is said.
    pub(crate) fn write(&self, level: Level, message: &str, fields: Option<&str>) {
        let cost = message.len() + fields.map_or(0, str::len) + 32;
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.left == 0 {
            return;
        }
        if cost > budget.left {
            budget.left = 0;
            let text = "the call wrote more than its log may hold; the rest is dropped";
            budget.host.log(Level::Warn, text, None);
            return;
        }
        budget.left -= cost;
        budget.host.log(level, message, fields);
    }
}

/// `stdout` or `stderr` of one store.
#[derive(Clone)]
pub(crate) struct Printed {
    log: Arc<CallLog>,
    level: Level,
    line: Arc<Mutex<PartialLine>>,
}

#[derive(Default)]
struct PartialLine {
    begun: Vec<u8>,
    last: String,
}

impl Printed {
    pub(crate) fn new(log: Arc<CallLog>, level: Level) -> Self {
        Self {
            log,
            level,
            line: Arc::default(),
        }
    }

    fn take(&self, mut bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            let room = LINE.saturating_sub(line.begun.len());
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let (part, rest, full) = match end {
                Some(end) => {
                    let (part, rest) = bytes.split_at(end);
                    (part, rest.get(1..).unwrap_or_default(), true)
                }
                None => {
                    let (part, rest) = bytes.split_at(bytes.len().min(room));
                    (part, rest, line.begun.len() + part.len() >= LINE)
                }
            };
            line.begun.extend_from_slice(part);
            if full {
                self.emit(&mut line);
            }
            bytes = rest;
        }
    }

    fn emit(&self, line: &mut PartialLine) {
        let text = String::from_utf8_lossy(&line.begun);
        self.log.write(self.level, &text, None);
        if !text.trim().is_empty() {
            line.last = text.into_owned();
        }
        line.begun.clear();
    }

    /// Writes what stands without a line's end, and answers the last line that was not empty.
    pub(crate) fn finish(&self) -> String {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.begun.is_empty() {
            self.emit(&mut line);
        }
        std::mem::take(&mut line.last)
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
