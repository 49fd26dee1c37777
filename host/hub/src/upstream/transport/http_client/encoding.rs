//! The body of an answer without its content codings (RFC 9110, 8.4): gzip, deflate, br and zstd.
//!
//! Decoding holds nothing back: each piece of the body gives at once what it decodes to, so events pass whole. One step
//! never gives more than [`STEP`] bytes, however small the piece is. So the callers' limits hold for what is decoded.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use async_compression::{
    tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, BufReader, ReadBuf};

use super::{closed, response::RawBody};
use crate::upstream::transport::{Cause, TransportError};

/// The codings that the hub reads, as `Accept-Encoding`.
pub(in crate::upstream::transport) const CODINGS: HeaderValue =
    HeaderValue::from_static("gzip, deflate, br, zstd");

/// Most bytes that one step gives.
const STEP: usize = 64 * 1024;
/// Codings of one answer, one around the other.
const MAX_CODINGS: usize = 3;
/// The largest window of zstd, as a power of two: 8 MB (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// What a body is coded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The codings of an answer with these headers, in the order in which they were applied.
    ///
    /// # Errors
    /// The coding that the hub does not read, or all of them where they are too many.
    pub(super) fn of(headers: &HeaderMap) -> Result<Vec<Self>, String> {
        let mut codings = Vec::new();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
                codings.push(match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    other => return Err(other.to_owned()),
                });
                if codings.len() > MAX_CODINGS {
                    return Err(format!("more than {MAX_CODINGS} codings"));
                }
            }
        }
        Ok(codings)
    }

    /// Decodes `coded`, which begins with the byte `first`.
    fn decoder(self, coded: Source, first: u8) -> Box<dyn AsyncRead + Send + Unpin> {
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(coded);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            // Some servers leave out the frame of zlib that RFC 9110 asks for: its first byte says `8`.
            Self::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new(coded)),
            Self::Deflate => Box::new(DeflateDecoder::new(coded)),
            Self::Brotli => Box::new(BrotliDecoder::new(coded)),
            Self::Zstd => {
                let window = [DParameter::window_log_max(ZSTD_WINDOW)];
                let mut decoder = ZstdDecoder::with_params(coded, &window);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
        }
    }
}

type Source = Box<dyn AsyncBufRead + Send + Unpin>;

/// The body as it arrives, for the innermost decoder.
struct Pieces {
    raw: Arc<Mutex<RawBody>>,
    piece: Bytes,
}

impl AsyncBufRead for Pieces {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            // Nobody else polls it as long as it is decoded.
            let mut raw = this.raw.lock().unwrap_or_else(PoisonError::into_inner);
            match ready!(raw.poll_data(cx)) {
                None => break,
                Some(Ok(piece)) => this.piece = piece,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.piece.advance(amount);
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = piece.len().min(into.remaining());
        into.put_slice(piece.get(..length).unwrap_or_default());
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

/// A decoder that begins with the first byte: a body without any has no coding either.
enum LateDecoder {
    Waiting(Option<Source>, Coding),
    Reading(Box<dyn AsyncRead + Send + Unpin>),
}

impl AsyncRead for LateDecoder {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this {
                Self::Reading(decoder) => return Pin::new(decoder).poll_read(cx, into),
                Self::Waiting(source, coding) => {
                    let Some(waiting) = source else {
                        return Poll::Ready(Ok(()));
                    };
                    let start = ready!(Pin::new(waiting).poll_fill_buf(cx))?;
                    let Some((first, coded)) = start.first().copied().zip(source.take()) else {
                        return Poll::Ready(Ok(()));
                    };
                    *this = Self::Reading(coding.decoder(coded, first));
                }
            }
        }
    }
}

/// See the module.
pub(super) struct DecodedBody {
    raw: Arc<Mutex<RawBody>>,
    decoder: LateDecoder,
}

impl DecodedBody {
    /// The body with these codings around it, the first applied first; `Err` gives back a body without any.
    pub(super) fn new(raw: RawBody, codings: &[Coding]) -> Result<Self, RawBody> {
        let mut outermost_first = codings.iter().rev();
        let Some(outermost) = outermost_first.next() else {
            return Err(raw);
        };
        let raw = Arc::new(Mutex::new(raw));
        let pieces = Pieces {
            raw: raw.clone(),
            piece: Bytes::new(),
        };
        let first = LateDecoder::Waiting(Some(Box::new(pieces)), *outermost);
        let decoder = outermost_first.fold(first, |coded, coding| {
            LateDecoder::Waiting(Some(Box::new(BufReader::new(coded))), *coding)
        });
        Ok(Self { raw, decoder })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`TransportError::Closed`]: the connection broke. [`TransportError::Protocol`]: it is not coded as it says.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, TransportError> {
        let mut piece = BytesMut::with_capacity(STEP);
        match self.decoder.read_buf(&mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(piece.freeze())),
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(broken) => closed(broken),
                Err(error) => {
                    let text = format!("the compressed answer cannot be read: {error}");
                    TransportError::Protocol(Cause::with_text(text, error))
                }
            }),
        }
    }

    /// The body as it arrives, or what is left of it.
    pub(super) fn into_raw(self) -> Option<RawBody> {
        drop(self.decoder);
        let raw = Arc::into_inner(self.raw)?;
        Some(raw.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
