//! Finds known secrets in texts, however they are written, and puts [`MARK`] in their place.
//!
//! Every secret is looked for as it is, in Base64 and in hexadecimal digits; the text is looked through as it is
//! and with its escapes decoded (`decode.rs`). Of each form eight bytes are searched for, the ones that other texts
//! have least. As all have the same length, the search can skip most of the text (Wu and Manber, "A fast algorithm
//! for multi-pattern searching", 1994): it does not get slower with more secrets, as an automaton of Aho and Corasick
//! does, whose states leave the cache of the processor.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::{decode::Coding, forms, json};

/// What stands in the place of a secret.
pub(crate) const MARK: &str = "[redacted]";

/// Bytes of a form that are searched for. No form is shorter.
pub(super) const WINDOW: usize = 8;

/// Texts in texts: how often the escapes of a text are decoded again, as for JSON in a string of JSON.
const DEPTH: usize = 3;

/// Bytes that tell how far the search can skip.
const GRAM: usize = 3;

/// Entries of the table of skips, as a power of two: it stays in the fastest cache.
const SLOTS: u32 = 15;

/// One form of a secret, found by its window.
struct Form {
    /// The window's place in it.
    at: usize,
    bytes: Box<[u8]>,
}

/// Everything that is known, ready to search.
#[derive(Default)]
pub(super) struct Filter {
    /// By window.
    forms: HashMap<[u8; WINDOW], Vec<Form>>,
    /// For each gram, by its [`slot`], how many bytes further on the next window can end at the earliest.
    skips: Vec<u8>,
    /// No secret has a quote, a backslash or a control character.
    plain: bool,
}

impl Filter {
    /// A filter for these secrets.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut windows: HashMap<[u8; WINDOW], Vec<Form>> = HashMap::new();
        let mut plain = true;
        for secret in secrets {
            plain &= !secret
                .bytes()
                .any(|b| matches!(b, b'"' | b'\'' | b'\\') || b < b' ');
            for bytes in forms::of(secret) {
                let Some((at, window)) = rarest(&bytes) else {
                    continue;
                };
                let forms = windows.entry(window).or_default();
                if !forms.iter().any(|form| *form.bytes == *bytes) {
                    let bytes = bytes.into_boxed_slice();
                    forms.push(Form { at, bytes });
                }
            }
        }
        // A gram that stands in no window.
        let mut skips = vec![(WINDOW - GRAM + 1) as u8; 1 << SLOTS];
        for window in windows.keys() {
            for (skip, gram) in (0_u8..).zip(window.windows(GRAM).rev()) {
                if let Some(known) = slot(gram).and_then(|slot| skips.get_mut(slot)) {
                    *known = skip.min(*known);
                }
            }
        }
        Self {
            forms: windows,
            skips,
            plain,
        }
    }

    /// `text` without secrets. Borrows where there are none.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.find(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(replaced(text, &found, text.len()))
    }

    /// The first `keep` bytes of `text` without secrets, and whole characters only. A secret that `keep` would cut
    /// in two goes as a whole, if all of it is in `text`.
    pub(super) fn start(&self, text: &str, keep: usize) -> String {
        let keep = text.floor_char_boundary(keep);
        replaced(text, &self.find(text.as_bytes()), keep)
    }

    /// A JSON text without secrets in its strings and numbers; the same bytes where there are none. It stays JSON.
    pub(super) fn json(&self, text: Bytes) -> Bytes {
        if !self.any(&text, DEPTH) {
            return text;
        }
        json::rewrite(&text, |string| self.find(string)).map_or(text, Bytes::from)
    }

    /// Whether there is a secret in `text`.
    fn any(&self, text: &[u8], depth: usize) -> bool {
        if self.forms.is_empty() {
            return false;
        }
        self.matches(text).next().is_some()
            || (depth > 0
                && self
                    .codings(text)
                    .any(|coding| self.any(&coding.decode(text), depth - 1)))
    }

    /// Where secrets stand in `text`: in order and apart.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.any(text, DEPTH) {
            self.collect(text, DEPTH, &mut found);
        }
        found
    }

    fn collect(&self, text: &[u8], depth: usize, found: &mut Vec<Range<usize>>) {
        found.extend(self.matches(text));
        if depth > 0 {
            for coding in self.codings(text) {
                let decoded = coding.decode(text);
                let mut inner = Vec::new();
                self.collect(&decoded, depth - 1, &mut inner);
                if !inner.is_empty() {
                    found.extend(coding.origin(text, &inner));
                }
            }
        }
        merge(found);
    }

    /// The codings of which `text` holds escapes that matter.
    fn codings(&self, text: &[u8]) -> impl Iterator<Item = Coding> {
        [Coding::Backslash, Coding::Percent]
            .into_iter()
            .filter(|coding| coding.concerns(text, self.plain))
    }

    fn matches<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        self.windows(text).flat_map(move |(at, forms)| {
            forms.iter().filter_map(move |form| {
                let start = at.checked_sub(form.at)?;
                let rest = text.get(start..)?;
                rest.starts_with(&form.bytes)
                    .then(|| start..start + form.bytes.len())
            })
        })
    }

    /// The windows in `text`: where each begins, and the forms that it is of.
    fn windows<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'t [Form])> + 't {
        let mut end = WINDOW;
        std::iter::from_fn(move || {
            loop {
                let skip = *self.skips.get(slot(text.get(end - GRAM..end)?)?)?;
                if skip > 0 {
                    end += usize::from(skip);
                    continue;
                }
                let start = end - WINDOW;
                end += 1;
                let window = text.get(start..)?.first_chunk::<WINDOW>()?;
                if let Some(forms) = self.forms.get(window) {
                    return Some((start, forms.as_slice()));
                }
            }
        })
    }
}

/// The gram's place in the table of skips.
fn slot(gram: &[u8]) -> Option<usize> {
    let [a, b, c] = *gram.first_chunk::<GRAM>()?;
    // Fibonacci hashing.
    let hash = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1);
    usize::try_from(hash >> (u32::BITS - SLOTS)).ok()
}

/// The place of the eight bytes that are rarest in other texts, as far as their kinds tell, and these bytes.
fn rarest(bytes: &[u8]) -> Option<(usize, [u8; WINDOW])> {
    let weight = |byte: &u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | 0x80.. => 3,
        b'a'..=b'z' | b' ' => 0,
        _ => 1,
    };
    let windows = bytes.windows(WINDOW).enumerate();
    let (at, window) = windows.max_by_key(|(_, window)| window.iter().map(weight).sum::<u32>())?;
    Some((at, window.try_into().ok()?))
}

/// Sorts ranges and joins those that touch.
fn merge(ranges: &mut Vec<Range<usize>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
}

/// The first `keep` bytes of `text` with [`MARK`] in place of each range that begins there.
fn replaced(text: &str, ranges: &[Range<usize>], keep: usize) -> String {
    let mut out = String::with_capacity(keep.min(text.len()));
    let mut at = 0;
    for range in ranges.iter().take_while(|range| range.start < keep) {
        // A secret is whole characters; what is found in a decoded text may begin within one that it replaces.
        let (start, end) = (
            text.floor_char_boundary(range.start),
            text.ceil_char_boundary(range.end),
        );
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push_str(MARK);
        at = end;
    }
    out.push_str(text.get(at..keep).unwrap_or_default());
    out
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
