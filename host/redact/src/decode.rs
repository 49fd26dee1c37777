//! Other ways in which a text can be written: backslash escapes (JSON, JavaScript, Rust, Python) and
//! percent-encoding (RFC 3986, section 2.1).
//!
//! A decoded text is searched like the text itself, so that no list of spellings is needed: which characters are
//! escaped, and whether with upper or lower case digits, is different in each encoder.

use std::ops::Range;

/// A way to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// `\n`, `\"`, `\/`, `\u00e4`, `\u{e4}`, `\xe4`. What is not an escape stands for itself.
    Backslash,
    /// `%C3%A4`. A `+` stands for itself.
    Percent,
}

impl Coding {
    fn lead(self) -> u8 {
        match self {
            Self::Backslash => b'\\',
            Self::Percent => b'%',
        }
    }

    /// Whether decoding `text` may show what the text itself does not. `plain` says that nothing is looked for that
    /// has a quote, a backslash or a control character in it; then the short escapes for those do not count.
    pub(super) fn concerns(self, text: &[u8], plain: bool) -> bool {
        memchr::memchr_iter(self.lead(), text).any(|at| {
            let next = text.get(at + 1).copied().unwrap_or_default();
            match self {
                Self::Backslash => !plain || matches!(next, b'u' | b'U' | b'x' | b'/'),
                Self::Percent => next.is_ascii_hexdigit(),
            }
        })
    }

    /// The decoded text.
    pub(super) fn decode(self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        self.pieces(text, |_, piece| out.extend_from_slice(piece));
        out
    }

    /// Where the ranges of the decoded text, which are in order and apart, stand in `text`; whole escapes only.
    pub(super) fn origin(self, text: &[u8], decoded: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut ranges = decoded.iter();
        let mut wanted = ranges.next();
        let mut begun = None;
        let mut found = Vec::new();
        let mut at = 0;
        self.pieces(text, |source, piece| {
            let end = at + piece.len();
            // A piece as long as its source stands for itself, byte for byte.
            let same = source.len() == piece.len();
            while let Some(range) = wanted {
                if begun.is_none() {
                    if range.start >= end {
                        break;
                    }
                    let into = if same { range.start.saturating_sub(at) } else { 0 };
                    begun = Some(source.start + into);
                }
                if range.end > end {
                    break;
                }
                let stop = if same {
                    source.start + (range.end - at)
                } else {
                    source.end
                };
                found.extend(begun.take().map(|start| start..stop));
                wanted = ranges.next();
            }
            at = end;
        });
        found
    }

    /// Goes through `text`: hands on each piece's place and what it stands for.
    fn pieces(self, text: &[u8], mut each: impl FnMut(Range<usize>, &[u8])) {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr::memchr(self.lead(), rest).unwrap_or(rest.len());
            let (before, from) = rest.split_at(plain);
            if !before.is_empty() {
                each(at..at + plain, before);
                at += plain;
            }
            if from.is_empty() {
                return;
            }
            let (length, bytes, count) = match self {
                Self::Backslash => escape(from),
                Self::Percent => percent(from),
            };
            each(at..at + length, bytes.get(..count).unwrap_or_default());
            at += length;
        }
    }
}

/// How many bytes an escape takes, and what it stands for.
type Decoded = (usize, [u8; 4], usize);

fn one(length: usize, byte: u8) -> Decoded {
    (length, [byte, 0, 0, 0], 1)
}

fn percent(from: &[u8]) -> Decoded {
    match hex(from, 1, 2) {
        Some(byte) => one(3, u8::try_from(byte).unwrap_or_default()),
        None => one(1, b'%'),
    }
}

fn escape(from: &[u8]) -> Decoded {
    match from.get(1) {
        Some(b'n') => one(2, b'\n'),
        Some(b'r') => one(2, b'\r'),
        Some(b't') => one(2, b'\t'),
        Some(b'b') => one(2, 8),
        Some(b'f') => one(2, 12),
        Some(b'0') => one(2, 0),
        Some(other @ (b'"' | b'\'' | b'\\' | b'/')) => one(2, *other),
        Some(b'x') => match hex(from, 2, 2) {
            Some(value) => character(4, value),
            None => one(1, b'\\'),
        },
        Some(b'U') => match hex(from, 2, 8) {
            Some(value) => character(10, value),
            None => one(1, b'\\'),
        },
        Some(b'u') if from.get(2) == Some(&b'{') => {
            let digits = from.iter().skip(3).take_while(|b| b.is_ascii_hexdigit()).count();
            let closed = from.get(3 + digits) == Some(&b'}');
            match hex(from, 3, digits).filter(|_| closed && (1..=6).contains(&digits)) {
                Some(value) => character(digits + 4, value),
                None => one(1, b'\\'),
            }
        }
        Some(b'u') => match hex(from, 2, 4) {
            Some(high @ 0xd800..=0xdbff) if from.get(6..8) == Some(b"\\u") => match hex(from, 8, 4) {
                Some(low @ 0xdc00..=0xdfff) => {
                    character(12, 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                }
                _ => character(6, high),
            },
            Some(value) => character(6, value),
            None => one(1, b'\\'),
        },
        _ => one(1, b'\\'),
    }
}

fn character(length: usize, value: u32) -> Decoded {
    let mut bytes = [0; 4];
    let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
    let count = c.encode_utf8(&mut bytes).len();
    (length, bytes, count)
}

/// The number that `count` digits from `at` on write.
fn hex(text: &[u8], at: usize, count: usize) -> Option<u32> {
    let digits = text.get(at..at.checked_add(count)?)?;
    digits.iter().try_fold(0_u32, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        value.checked_mul(16)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_of_several_languages() {
        for (text, decoded) in [
            (r#"a\"b\\c\/d\ne"#, "a\"b\\c/d\ne"),
            (
                r"\u00e4\u00E4\u{e4}\xe4\U000000e4",
                "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
            ),
            (r"\ud83d\ude00 \ud83d \ud83dx", "\u{1f600} \u{fffd} \u{fffd}x"),
            (r"\u12 \q \", r"\u12 \q \"),
            (r"\u{} \u{1234567} \xg", r"\u{} \u{1234567} \xg"),
        ] {
            let got = Coding::Backslash.decode(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), decoded, "{text}");
        }
        let got = Coding::Percent.decode(b"a%2Fb%c3%A4%zz%2");
        assert_eq!(String::from_utf8_lossy(&got), "a/b\u{e4}%zz%2");
    }

    proptest! {
        #[test]
        fn json_is_decoded_as_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let inside = &json.as_bytes()[1..json.len() - 1];
            prop_assert_eq!(Coding::Backslash.decode(inside), text.into_bytes());
        }

        #[test]
        fn ranges_lead_back(before in "[a\\\\\"%\u{e4}]{0,6}", within in "[a\"\n\\\\\u{e4}]{1,6}", after in "[a\"]{0,6}") {
            for coding in [Coding::Backslash, Coding::Percent] {
                let write = |text: &str| match coding {
                    Coding::Backslash => {
                        let json = serde_json::to_string(text).unwrap();
                        json[1..json.len() - 1].to_owned()
                    }
                    Coding::Percent => {
                        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
                    }
                };
                let (a, b, c) = (write(&before), write(&within), write(&after));
                let text = format!("{a}{b}{c}");
                let range = before.len()..before.len() + within.len();
                let got = coding.origin(text.as_bytes(), &[range]);
                prop_assert_eq!(got, vec![a.len()..a.len() + b.len()]);
            }
        }

        #[test]
        fn any_bytes_can_be_decoded(bytes in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'%'), Just(b'u'), Just(b'd'), Just(b'8'), any::<u8>()], 0..40)) {
            for coding in [Coding::Backslash, Coding::Percent] {
                let decoded = coding.decode(&bytes);
                let all = coding.origin(&bytes, std::slice::from_ref(&(0..decoded.len())));
                if !decoded.is_empty() {
                    prop_assert_eq!(all, vec![0..bytes.len()]);
                }
            }
        }
    }
}
