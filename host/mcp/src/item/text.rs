//! What parsers of clients do not take in the text of an item: half a surrogate pair, and what nests too deep. And how a
//! time is written.

use crate::RawJson;

/// How deep arrays and objects nest in JSON text.
pub(super) fn nesting(json: &[u8]) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The same JSON with U+FFFD in place of each escape of half a surrogate pair; `None` where there is none.
pub(super) fn without_lone_surrogates(json: &RawJson) -> Option<RawJson> {
    let text = json.bytes();
    // The two ways to begin such an escape; `\` cannot stand outside of a text.
    if memchr::memmem::find(text, b"\\ud").is_none() && memchr::memmem::find(text, b"\\uD").is_none() {
        return None;
    }
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut changed) = (0, false);
    while let Some(byte) = text.get(at) {
        let (taken, lone) = match (byte, unit(at)) {
            (b'\\', Some(0xD800..=0xDBFF)) => match unit(at + 6) {
                Some(0xDC00..=0xDFFF) => (12, false),
                _ => (6, true),
            },
            (b'\\', Some(0xDC00..=0xDFFF)) => (6, true),
            (b'\\', Some(_)) => (6, false),
            (b'\\', None) => (2, false),
            _ => (1, false),
        };
        if lone {
            out.extend_from_slice(b"\\ufffd");
            changed = true;
        } else {
            out.extend_from_slice(text.get(at..at + taken).unwrap_or_default());
        }
        at += taken;
    }
    changed.then(|| RawJson::trusted(out))
}

/// Whether `text` is a date and a time as RFC 3339 writes it with capital letters: `2026-02-28T23:59:59.5+01:00`.
pub(super) fn is_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else {
        return false;
    };
    let date: Vec<&str> = date.split('-').collect();
    let &[year, month, day] = &*date else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    let (clock, offset) = match time.strip_suffix('Z') {
        Some(clock) => (clock, None),
        None => match time.rfind(['+', '-']) {
            Some(at) => (
                time.get(..at).unwrap_or_default(),
                Some(time.get(at + 1..).unwrap_or_default()),
            ),
            None => return false,
        },
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    (1..=days).contains(&day)
        && is_clock(clock, 3)
        && offset.is_none_or(|offset| is_clock(offset, 2))
        && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
}

/// `23:59` or `23:59:59`.
fn is_clock(text: &str, parts: usize) -> bool {
    let found: Vec<Option<u32>> = text.split(':').map(|part| digits(part, 2)).collect();
    found.len() == parts
        && found
            .iter()
            .zip([24, 60, 60])
            .all(|(part, end)| part.is_some_and(|part| part < end))
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let fits = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}
