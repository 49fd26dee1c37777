//! Runs the streams of HTTP/2 connections. If a client reads nothing of a response, the hub resets that stream, and
//! the other streams of the connection continue.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::Sleep;

use super::body::{PROGRESS, Progress};

/// The executor of hyper's HTTP/2 server: a task for each stream.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// How long a piece of a response may wait for the client.
    pub(super) limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = Arc::<Progress>::default();
        tokio::spawn(Stream {
            inner: Box::pin(PROGRESS.scope(progress.clone(), stream)),
            progress,
            limit: self.limit,
            sleep: None,
        });
    }
}

struct Stream<F> {
    inner: Pin<Box<F>>,
    progress: Arc<Progress>,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.inner.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(until) = this.progress.deadline(this.limit) else {
            this.sleep = None;
            return Poll::Pending;
        };
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        // What is dropped is reset.
        sleep.as_mut().poll(cx)
    }
}
