//! Text that others wrote, as it may stand in a line of a log or on a terminal.
//!
//! Escapes are those of JSON, so that a JSON text which is escaped stays the same JSON text.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether `c` can end a line, control a terminal, or hide or reorder what stands around it: the control
/// characters of Unicode (C0, DEL and C1), the line and paragraph separators, the bidirectional controls
/// (UAX #9, section 2), and format characters that print nothing. The joiners U+200C and U+200D are left out:
/// scripts and emoji need them.
#[must_use]
pub(crate) fn is_unprintable(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// `text` on one line: every character that [`is_unprintable`] stands as its JSON escape. Borrows where there
/// is nothing to escape.
#[must_use]
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, |_| false)
}

/// [`escape`], but line feeds and tabs stay: for texts of several lines on a terminal.
#[must_use]
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, |c| matches!(c, '\n' | '\t'))
}

fn escape_except(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_bad = |c: char| is_unprintable(c) && !keep(c);
    let Some(first) = text.find(is_bad) else {
        return Cow::Borrowed(text);
    };
    let (good, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(good);
    for c in rest.chars() {
        if is_bad(c) {
            // Writing to a String cannot fail.
            let _ = write_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn write_escaped(out: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c => {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .try_for_each(|unit| write!(out, "\\u{unit:04x}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_forge_a_line_or_move_a_cursor_is_escaped() {
        for (text, shown) in [
            (
                "plain, \u{e4} \u{1f469}\u{200d}\u{1f4bb} \\ \"",
                "plain, \u{e4} \u{1f469}\u{200d}\u{1f4bb} \\ \"",
            ),
            ("a\nb\rc\td", "a\\nb\\rc\\td"),
            (
                "\u{1b}[2J\u{7}\u{8}\u{b}\u{c}\0\u{7f}",
                "\\u001b[2J\\u0007\\u0008\\u000b\\u000c\\u0000\\u007f",
            ),
            ("\u{85}\u{9b}31m\u{9d}", "\\u0085\\u009b31m\\u009d"),
            ("\u{2028}\u{2029}", "\\u2028\\u2029"),
            (
                "\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}",
                "\\u202e\\u2066\\u2069\\u200f\\u061c",
            ),
            ("\u{feff}\u{200b}\u{e0041}", "\\ufeff\\u200b\\udb40\\udc41"),
        ] {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(escape_lines("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u001b");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_json(text in "\\PC*|[\\x00-\\xff\u{2028}\u{202e}\u{e0041}]*") {
            let json = serde_json::to_string(&text).unwrap();
            let escaped = escape(&json);
            prop_assert!(!escaped.chars().any(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
