//! Server-sent events (WHATWG HTML, section 9.2), as MCP uses them.

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `event:`; absent means `message`.
    pub name: Option<String>,
    /// `id:`, from which a client can resume.
    pub id: Option<String>,
    /// `retry:`, in milliseconds: how long to wait before reconnecting.
    pub retry: Option<u64>,
    /// `data:`, lines joined by a line feed.
    pub data: Bytes,
}

impl Event {
    /// A message event around one line of JSON.
    pub fn message(data: Bytes) -> Self {
        Self {
            data,
            ..Self::default()
        }
    }

    /// Whether it carries a message: the official SDKs skip events of other names.
    pub fn is_message(&self) -> bool {
        matches!(self.name.as_deref(), None | Some("" | "message"))
    }

    /// The event as it goes over the wire.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.data.len() + 64);
        if let Some(name) = &self.name {
            out.extend_from_slice(format!("event: {name}\n").as_bytes());
        }
        if let Some(id) = &self.id {
            out.extend_from_slice(format!("id: {id}\n").as_bytes());
        }
        if let Some(retry) = self.retry {
            out.extend_from_slice(format!("retry: {retry}\n").as_bytes());
        }
        for line in self.data.split(|b| *b == b'\n') {
            out.extend_from_slice(b"data: ");
            out.extend(line.iter().filter(|b| **b != b'\r'));
            out.push(b'\n');
        }
        out.push(b'\n');
        out.into()
    }
}

/// A comment that keeps a silent stream open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// An event grew past the decoder's limit.
#[derive(Debug, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// Turns chunks of a response body into events.
#[derive(Debug)]
pub struct Decoder {
    line: BytesMut,
    event: Event,
    data: BytesMut,
    has_data: bool,
    last_was_cr: bool,
    started: bool,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            line: BytesMut::new(),
            event: Event::default(),
            data: BytesMut::new(),
            has_data: false,
            last_was_cr: false,
            started: false,
            limit,
        }
    }

    /// Feeds a chunk and appends the events that it completes to `out`.
    ///
    /// # Errors
    /// [`TooLarge`]; the decoder must not be used after it.
    pub fn feed(&mut self, mut chunk: &[u8], out: &mut Vec<Event>) -> Result<(), TooLarge> {
        while !chunk.is_empty() {
            if self.last_was_cr {
                self.last_was_cr = false;
                if let Some(rest) = chunk.strip_prefix(b"\n") {
                    chunk = rest;
                    continue;
                }
            }
            let end = memchr::memchr2(b'\n', b'\r', chunk);
            let (part, rest) = chunk.split_at(end.unwrap_or(chunk.len()));
            if self.line.len() + self.data.len() + part.len() > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
            let Some((end, rest)) = rest.split_first() else {
                self.line.extend_from_slice(part);
                return Ok(());
            };
            self.last_was_cr = *end == b'\r';
            chunk = rest;
            if self.line.is_empty() {
                self.line_done(part, out);
            } else {
                self.line.extend_from_slice(part);
                let line = self.line.split().freeze();
                self.line_done(&line, out);
            }
        }
        Ok(())
    }

    fn line_done(&mut self, line: &[u8], out: &mut Vec<Event>) {
        let line = if self.started {
            line
        } else {
            line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line)
        };
        self.started = true;
        if line.is_empty() {
            if self.has_data || self.event.id.is_some() || self.event.retry.is_some() {
                let mut event = std::mem::take(&mut self.event);
                event.data = self.data.split().freeze();
                out.push(event);
            }
            self.event = Event::default();
            self.has_data = false;
            return;
        }
        let (field, value) = match memchr::memchr(b':', line) {
            None => (line, b"".as_slice()),
            Some(at) => {
                let value = line.get(at + 1..).unwrap_or_default();
                (
                    line.get(..at).unwrap_or_default(),
                    value.strip_prefix(b" ").unwrap_or(value),
                )
            }
        };
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            b"data" => {
                if self.has_data {
                    self.data.extend_from_slice(b"\n");
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.event.name = Some(text()),
            b"id" if !value.contains(&0) => self.event.id = Some(text()),
            b"retry" => self.event.retry = text().parse().ok(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1000);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.feed(chunk, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn all_line_ends_and_any_split() {
        let text = b"\xef\xbb\xbfid: 1\r\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: c\n\ndata:x\r\rretry: 5\nid: 2\ndata\n\n";
        let whole = decode(&[text]);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0].data, "{\"a\":\n1}");
        assert_eq!(whole[1].data, "x");
        assert_eq!(
            (whole[2].retry, whole[2].id.as_deref(), whole[2].data.len()),
            (Some(5), Some("2"), 0)
        );
        for at in 0..text.len() {
            assert_eq!(decode(&[&text[..at], &text[at..]]), whole, "split at {at}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::new(100);
        let mut out = Vec::new();
        assert!((0..20).any(|_| decoder.feed(b"data: 0123456789\n", &mut out).is_err()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(data in "[^\r]{0,80}", id in proptest::option::of("[a-z0-9]{1,9}")) {
            let event = Event { id, data: data.into_bytes().into(), ..Event::default() };
            let mut out = Vec::new();
            Decoder::new(10_000).feed(&event.encode(), &mut out).unwrap();
            prop_assert_eq!(out, vec![event]);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Decoder::new(200).feed(&bytes, &mut Vec::new());
        }
    }
}
