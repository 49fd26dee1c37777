//! Rewrites the strings and numbers of a JSON text, so that what comes out is JSON again.

use std::ops::Range;

use super::decode::Coding;
use super::filter::MARK;

/// The JSON text with [`MARK`] in place of what `find` finds in its decoded strings and in its numbers. A number in
/// which something is found becomes a string. `None` where nothing is found.
pub(super) fn rewrite(text: &[u8], find: impl Fn(&[u8]) -> Vec<Range<usize>>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // Everything before it is in `out` already.
    let mut done = 0;
    for token in tokens(text) {
        let bytes = text.get(token.range.clone()).unwrap_or_default();
        if !token.is_string {
            if !find(bytes).is_empty() {
                out.extend_from_slice(text.get(done..token.range.start).unwrap_or_default());
                out.extend_from_slice(format!("\"{MARK}\"").as_bytes());
                done = token.range.end;
            }
            continue;
        }
        let found = if bytes.contains(&b'\\') {
            let decoded = Coding::Backslash.decode(bytes);
            Coding::Backslash.origin(bytes, &find(&decoded))
        } else {
            find(bytes)
        };
        for range in found {
            let start = token.range.start + range.start;
            out.extend_from_slice(text.get(done..start).unwrap_or_default());
            out.extend_from_slice(MARK.as_bytes());
            done = token.range.start + range.end;
        }
    }
    if done == 0 {
        return None;
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
    Some(out)
}

/// A string, without its quotes, or a number.
struct Token {
    range: Range<usize>,
    is_string: bool,
}

fn tokens(text: &[u8]) -> impl Iterator<Item = Token> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            match *text.get(at)? {
                b'"' => {
                    let start = at + 1;
                    let mut end = start;
                    loop {
                        let rest = text.get(end..).unwrap_or_default();
                        match memchr::memchr2(b'"', b'\\', rest) {
                            Some(found) if rest.get(found) == Some(&b'\\') => end += found + 2,
                            Some(found) => {
                                end += found;
                                break;
                            }
                            None => {
                                end = text.len();
                                break;
                            }
                        }
                    }
                    at = end.saturating_add(1);
                    return Some(Token {
                        range: start..end.min(text.len()),
                        is_string: true,
                    });
                }
                b'-' | b'0'..=b'9' => {
                    let start = at;
                    let is_number = |b: &u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    while text.get(at).is_some_and(is_number) {
                        at += 1;
                    }
                    return Some(Token {
                        range: start..at,
                        is_string: false,
                    });
                }
                _ => at += 1,
            }
        }
    })
}
