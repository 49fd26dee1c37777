//! Lines of a process's output that are larger than a message may be.
//!
//! Such a line is read past, so that it costs its own call and no other. A line that does not end costs the connection.

use aih_mcp::{Id, received};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The beginning and the end of a line that are looked at for its id, in bytes.
const ENDS: usize = 512;
/// How much of a line is read past.
const MAX_SKIPPED: usize = 256 * 1024 * 1024;

/// The request that a line answers, if its beginning says so.
pub(super) fn id_at_start(line: &[u8]) -> Option<Id> {
    received::answered(line.get(..ENDS).unwrap_or(line))
}

/// Reads to the end of the line, and gives the request that it answers, if its end says so. `None` where the line does
/// not end: the output does, or there is too much.
///
/// # Errors
/// Those of `input`.
pub(super) async fn skip_rest(mut input: impl AsyncBufRead + Unpin) -> std::io::Result<Option<Option<Id>>> {
    let mut end: Vec<u8> = Vec::with_capacity(2 * ENDS);
    let mut skipped = 0_usize;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() || skipped > MAX_SKIPPED {
            return Ok(None);
        }
        let found = memchr::memchr(b'\n', chunk);
        let part = chunk.get(..found.unwrap_or(chunk.len())).unwrap_or_default();
        end.extend_from_slice(part.get(part.len().saturating_sub(ENDS)..).unwrap_or_default());
        end.drain(..end.len().saturating_sub(ENDS));
        let used = found.map_or(chunk.len(), |at| at + 1);
        skipped = skipped.saturating_add(used);
        input.consume(used);
        if found.is_some() {
            return Ok(Some(received::answered_at_end(&end)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rest_of_a_line_is_skipped_in_whatever_pieces_it_comes() {
        let text = format!("{}],\"jsonrpc\":\"2.0\",\"id\":7}}\nnext", "x".repeat(5000));
        for piece in [1, 7, 511, 512, 4096, 10_000] {
            let mut input = tokio::io::BufReader::with_capacity(piece, text.as_bytes());
            let id = skip_rest(&mut input).await.unwrap().unwrap();
            assert_eq!(id, Some(Id::number(7)), "{piece}");
            let mut rest = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut input, &mut rest)
                .await
                .unwrap();
            assert_eq!(rest, "next", "{piece}");
        }
        assert_eq!(skip_rest(&b"no end"[..]).await.unwrap(), None);
        assert_eq!(skip_rest(&b"no id\n"[..]).await.unwrap(), Some(None));
    }
}
