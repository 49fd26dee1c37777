//! Streams of files in writable folders. They count what they write, and hold their file open.

use std::{fs::File, io, mem, sync::Arc};

use bytes::Bytes;
use wasmtime_wasi::{
    async_trait,
    p2::{DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult},
    runtime::AbortOnDropJoinHandle,
};

use crate::files::{Holder, Start, Writable};

/// Bytes of one write, as for other streams of wasmtime-wasi.
const ONCE: usize = 64 << 10;

/// A stream that reads a file, and holds it open.
pub(crate) struct Input {
    inner: DynInputStream,
    _file: Arc<Holder>,
}

impl Input {
    pub(crate) fn new(inner: DynInputStream, file: Arc<Holder>) -> Self {
        Self { inner, _file: file }
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.blocking_read(size).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

/// A stream that writes a file.
pub(crate) struct Output {
    target: Target,
    start: Start,
    state: State,
}

#[derive(Clone)]
struct Target {
    file: Arc<File>,
    _held: Option<Arc<Holder>>,
    folder: Writable,
}

enum State {
    Ready,
    Writing(AbortOnDropJoinHandle<io::Result<usize>>),
    Failed(io::Error),
    Closed,
}

impl Output {
    pub(crate) fn new(file: Arc<File>, held: Option<Arc<Holder>>, folder: Writable, start: Start) -> Self {
        Self {
            target: Target {
                file,
                _held: held,
                folder,
            },
            start,
            state: State::Ready,
        }
    }

    fn ended(&mut self, written: io::Result<usize>) {
        self.state = match written {
            Ok(length) => {
                if let Start::At(position) = &mut self.start {
                    *position = position.saturating_add(length as u64);
                }
                State::Ready
            }
            Err(error) => State::Failed(error),
        };
    }

    /// A failure is reported once; the stream is closed then.
    fn check(&mut self) -> StreamResult<()> {
        match mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            State::Closed => Err(StreamError::Closed),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }
}

impl Target {
    fn write(&self, bytes: Bytes, start: Start) -> AbortOnDropJoinHandle<io::Result<usize>> {
        let target = self.clone();
        self.folder.usage.change(move |turn| {
            turn.write(target.folder.quota, &target.file, &bytes, start)?;
            Ok(bytes.len())
        })
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let State::Writing(task) = &mut self.state {
            let written = task.await;
            self.ended(written);
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            State::Ready if bytes.len() <= ONCE => {
                self.state = State::Writing(self.target.write(bytes, self.start));
                Ok(())
            }
            State::Closed => Err(StreamError::Closed),
            _ => Err(StreamError::trap("a write that `check-write` did not permit")),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing is kept back.
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(match self.state {
            State::Ready => ONCE,
            _ => 0,
        })
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.check()?;
        let written = self.target.write(bytes, self.start).await;
        self.ended(written);
        self.check()
    }

    async fn cancel(&mut self) {
        // What was handed over is written, also where nobody asks for it any more: it is one piece at most.
        if let State::Writing(task) = mem::replace(&mut self.state, State::Closed) {
            let _ = task.await;
        }
    }
}
