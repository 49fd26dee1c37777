//! The smallest HTTP/1.1 client that can measure a server: one keep-alive connection, one request at a
//! time, bytes in and bytes out.
//!
//! A load generator shares the cores with what it measures, so it must cost little itself. It reads
//! `Content-Length` and chunked bodies, and must never guess: an answer that it cannot delimit is an error.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes of an answer's body: more than any result that is measured.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// How much is read at a time, in bytes.
const READ: usize = 64 * 1024;

/// What is needed of an answer's head.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The body is `text/event-stream`.
    pub event_stream: bool,
    /// The `Mcp-Session-Id` header.
    pub session: Option<String>,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Received, from `read` on not consumed.
    buffer: Vec<u8>,
    read: usize,
    body: Vec<u8>,
}

impl Connection {
    /// Opens a connection with `TCP_NODELAY`.
    ///
    /// # Errors
    /// When nobody listens at `address`.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(READ),
            read: 0,
            body: Vec::new(),
        })
    }

    /// Sends a whole request and reads the whole answer; its body is then in [`Self::body`].
    ///
    /// # Errors
    /// When the connection breaks, or the answer is not a delimited HTTP/1.1.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Head> {
        self.stream.write_all(request).await.context("cannot send")?;
        let (head, framing) = self.head().await?;
        self.body.clear();
        match framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        }
        if self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        }
        Ok(head)
    }

    /// The body of the last answer, without its transfer coding.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    async fn more(&mut self) -> Result<()> {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.reserve(READ);
        let count = self
            .stream
            .read_buf(&mut self.buffer)
            .await
            .context("cannot receive")?;
        ensure!(count > 0, "the server closed the connection within an answer");
        Ok(())
    }

    async fn head(&mut self) -> Result<(Head, Framing)> {
        let end = loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n\r\n") {
                break end;
            }
            ensure!(self.unread().len() < MAX_HEAD, "the answer's head is too long");
            self.more().await?;
        };
        let parsed = parse_head(self.unread().get(..end).unwrap_or_default());
        self.read += end + 4;
        parsed
    }

    /// The next `length` bytes, onto the body.
    async fn take(&mut self, length: usize) -> Result<()> {
        ensure!(
            self.body.len() + length <= MAX_BODY,
            "the answer's body is too long"
        );
        let mut missing = length;
        loop {
            let unread = self.buffer.get(self.read..).unwrap_or_default();
            let some = unread.get(..missing).unwrap_or(unread);
            self.body.extend_from_slice(some);
            self.read += some.len();
            missing -= some.len();
            if missing == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> Result<()> {
        loop {
            let line = self.line().await?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
                .context("a chunk has no size")?;
            if size == 0 {
                // Trailers, then the empty line.
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.take(size).await?;
            ensure!(self.line().await?.is_empty(), "a chunk is longer than its size");
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n") {
                let line = self.unread().get(..end).unwrap_or_default().to_vec();
                self.read += end + 2;
                return Ok(line);
            }
            ensure!(self.unread().len() < MAX_HEAD, "a chunk's size line is too long");
            self.more().await?;
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<(Head, Framing)> {
    let text = std::str::from_utf8(bytes).context("the answer's head is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .and_then(|code| code.parse().ok())
        .context("the answer is not HTTP/1.1")?;
    let mut head = Head {
        status,
        ..Head::default()
    };
    let mut framing = None;
    for line in lines {
        let (name, value) = line.split_once(':').context("a header line has no colon")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Some(Framing::Length(
                value.parse().context("the Content-Length is not a number")?,
            ));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(
                value.eq_ignore_ascii_case("chunked"),
                "unknown transfer coding {value:?}"
            );
            framing = Some(Framing::Chunked);
        } else if name.eq_ignore_ascii_case("content-type") {
            head.event_stream = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            head.session = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            bail!("the server (status {status}) closes the connection after the answer");
        }
    }
    let framing = match framing {
        Some(framing) => framing,
        // RFC 9112, 6.3: these have no body.
        None if status == 204 || status == 304 => Framing::Length(0),
        None => bail!("the answer (status {status}) has neither Content-Length nor chunks"),
    };
    Ok((head, framing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers every connection with these pieces, one write each.
    async fn answering(pieces: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1];
            stream.read_exact(&mut asked).await.unwrap();
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        Connection::open(address).await.unwrap()
    }

    #[tokio::test]
    async fn reads_a_body_of_known_length() {
        let mut connection = answering(&[
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nMcp-Session-Id: s1\r\n",
            "\r\nhe",
            "llo",
        ])
        .await;
        let head = connection.exchange(b"x").await.unwrap();
        assert_eq!((head.status, head.session.as_deref()), (200, Some("s1")));
        assert_eq!(connection.body(), b"hello");
    }

    #[tokio::test]
    async fn reads_chunks_cut_anywhere() {
        let mut connection = answering(&[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n5",
            "\r\nhel",
            "lo\r",
            "\n6;x=y\r\n world\r\n0\r",
            "\n\r\n",
        ])
        .await;
        let head = connection.exchange(b"x").await.unwrap();
        assert!(head.event_stream);
        assert_eq!(connection.body(), b"hello world");
    }

    #[tokio::test]
    async fn refuses_what_it_cannot_delimit() {
        let mut connection = answering(&["HTTP/1.1 200 OK\r\n\r\nhello"]).await;
        assert!(connection.exchange(b"x").await.is_err());
        let mut connection = answering(&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"]).await;
        let error = connection.exchange(b"x").await.unwrap_err();
        assert!(error.to_string().contains("closed the connection"), "{error}");
    }
}
