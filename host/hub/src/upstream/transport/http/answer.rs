//! Reads the answer to a request: a JSON body, an event stream, or a refusal.

use std::time::Duration;

use aih_mcp::{Era, Id, Message, Unreadable, sse::Decoder};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{
    Core, MAX_MESSAGE, Outcome, Response, is_stream, passing,
    resume::{ResumePoint, backoff},
};
use crate::upstream::transport::{TransportError, http_client::Refusal, read, unreadable};

/// How often in a row the rest of an answer is fetched without anything new in it.
const MAX_EMPTY: u32 = 20;
/// How often in a row fetching the rest of an answer may fail.
const MAX_FAILED: u32 = 3;

/// How reading a stream ended.
enum Ending {
    Answered(Outcome),
    /// The stream ended or broke; `news` says whether an event came.
    Broken {
        why: TransportError,
        news: bool,
    },
}

/// What one text of an answer held.
#[derive(Default)]
pub(super) struct Sorted {
    /// The answer, or why it cannot be read.
    pub(super) answer: Option<Result<Outcome, TransportError>>,
    /// What is wrong with the first message that is skipped because the answer may follow.
    pub(super) skipped: Option<TransportError>,
}

impl Sorted {
    fn take(&mut self, answer: Result<Outcome, TransportError>) {
        self.answer.get_or_insert(answer);
    }

    fn skip(&mut self, error: TransportError) {
        self.skipped.get_or_insert(error);
    }
}

impl Core {
    /// Turns a status that is not a success into an error, or into the JSON-RPC error that it carries.
    pub(super) async fn refused(
        &self,
        id: Option<u64>,
        response: Response,
    ) -> Result<Outcome, TransportError> {
        let lost = response.status() == StatusCode::NOT_FOUND && self.has_session();
        let refusal = Refusal::of(&response);
        let body = whole(response).await.unwrap_or_default();
        let wanted = id.map(Id::number);
        let own_error = read(&body).find_map(|message| match message {
            Ok(Message::Response {
                id: answered,
                outcome: Err(error),
            }) if answered.is_none() && !lost || answered.is_some() && answered == wanted => Some(error),
            _ => None,
        });
        match (
            own_error,
            refusal.error(&body, &self.standing.load().headers, self.target.url()),
        ) {
            (_, refused @ TransportError::Unauthorized { .. }) => Err(refused),
            // Also with 404: the server knows the session, as it answers this request.
            (Some(error), _) => Ok(Err(error)),
            (None, _) if lost => {
                self.lose(TransportError::SessionLost);
                Err(TransportError::SessionLost)
            }
            (None, refused) => Err(refused),
        }
    }

    /// Takes one text of an answer. What is not the answer itself goes to the inbox.
    pub(super) fn sort(&self, id: u64, data: &Bytes) -> Sorted {
        let wanted = Id::number(id);
        let mut sorted = Sorted::default();
        for message in read(data) {
            match message {
                Ok(Message::Response {
                    id: Some(answered),
                    outcome,
                }) if answered == wanted => sorted.take(Ok(outcome)),
                Ok(Message::Response {
                    id: None,
                    outcome: Err(error),
                }) => sorted.take(Ok(Err(error))),
                Ok(Message::Response { .. }) => sorted.skip(TransportError::Protocol(
                    "an answer to a request that was not sent".into(),
                )),
                Ok(other) => self.inbox.message(Some(id), other),
                Err(Unreadable { id, error }) => {
                    let error = unreadable(error, &self.excerpt(data));
                    if id.is_some_and(|id| id == wanted) {
                        sorted.take(Err(error));
                    } else {
                        sorted.skip(error);
                    }
                }
            }
        }
        sorted
    }

    /// Reads one stream to the answer or to its end.
    async fn read_stream(
        &self,
        id: u64,
        response: &mut Response,
        resume: &mut ResumePoint,
    ) -> Result<Ending, TransportError> {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        let mut events = Vec::new();
        let mut news = false;
        let mut skipped = None;
        let why = loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    break TransportError::Closed("the answer stream ended before the answer".into());
                }
                Err(error) => break error,
            };
            let fed = decoder.feed(&chunk, &mut events);
            for event in events.drain(..) {
                news = true;
                resume.pass(&event);
                if event.data.is_empty() || !event.is_message() {
                    continue;
                }
                let sorted = self.sort(id, &event.data);
                if let Some(outcome) = sorted.answer {
                    return Ok(Ending::Answered(outcome?));
                }
                skipped = skipped.or(sorted.skipped);
            }
            fed.map_err(|e| TransportError::TooLarge { limit: e.limit })?;
        };
        let why = skipped.unwrap_or(why);
        Ok(Ending::Broken { why, news })
    }

    /// Reads an answer stream to the answer, and fetches the rest where it breaks off (SEP-1699).
    pub(super) async fn read_answer(
        &self,
        id: u64,
        mut response: Response,
    ) -> Result<Outcome, TransportError> {
        let mut resume = ResumePoint::start();
        let mut empty = 0;
        loop {
            let why = match self.read_stream(id, &mut response, &mut resume).await? {
                Ending::Answered(outcome) => {
                    response.finish();
                    return Ok(outcome);
                }
                Ending::Broken { why, news } => {
                    empty = if news { 0 } else { empty + 1 };
                    why
                }
            };
            let version = self.standing.load().version;
            let resumable = version.is_none_or(|v| v.era() == Era::Legacy) && empty < MAX_EMPTY;
            response = match &resume.last_id {
                Some(last) if resumable => self.resume(last, resume.retry).await.ok_or(why)?,
                _ => return Err(why),
            };
        }
    }

    /// Opens the rest of an answer stream; `None` when that cannot be had.
    async fn resume(&self, last: &HeaderValue, retry: Duration) -> Option<Response> {
        for failures in 0..MAX_FAILED {
            tokio::time::sleep(backoff(retry, failures)).await;
            let Ok(response) = self.open_stream(Some(last)).await else {
                continue;
            };
            if is_stream(&response) {
                return Some(response);
            }
            // 404 may mean the session, the stream or the method: the next request finds out.
            if !passing(response.status()) {
                return None;
            }
        }
        None
    }
}

/// A whole body within the limit.
pub(super) async fn whole(mut response: Response) -> Result<Bytes, TransportError> {
    let too_large = TransportError::TooLarge { limit: MAX_MESSAGE };
    let announced = response.announced();
    let Some(announced) = usize::try_from(announced).ok().filter(|n| *n <= MAX_MESSAGE) else {
        return Err(too_large);
    };
    let Some(first) = response.chunk().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = response.chunk().await? else {
        return Ok(first);
    };
    let mut all = Vec::with_capacity(announced.max((first.len() + second.len()) * 2));
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = response.chunk().await? {
        if all.len() + chunk.len() > MAX_MESSAGE {
            return Err(too_large);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}
