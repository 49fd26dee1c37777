//! Reads the text of a `.env` file: NAME=value lines.
//!
//! A value is what is written. `$` means nothing, because such files hold passwords, and a password that is cut short in
//! silence is the hardest mistake to find. A line that cannot be read costs that line alone. No message repeats a part
//! of a line but its number: a broken line may be the secret itself.
//!
//! The form is the common part of what Docker, Node and the libraries of several languages read:
//!
//! - Blank lines and lines that begin with `#` are left out. `export` before the name is left out.
//! - `NAME=value`: blanks around the name and the value are not a part of them. A ` #` begins a comment.
//! - `NAME='value'`: everything up to the next `'`, line ends too.
//! - `NAME="value"`: the same up to the next `"`. `\n`, `\r`, `\t`, `\"`, `\\` and `\$` stand for a line end, a carriage
//!   return, a tab, `"`, `\` and `$`; another `\` stands for itself.

use super::template::is_variable_name;

/// The name and the value of a variable.
type Pair = (String, String);

/// A line that gives no variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OddLine {
    /// From 1.
    pub(super) number: usize,
    /// What is wrong, without a part of the line.
    pub(super) why: &'static str,
}

/// The variables of a text, in its order, and the lines that give none.
pub(super) fn parse(bytes: &[u8]) -> (Vec<Pair>, Vec<OddLine>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut pairs, mut odd) = (Vec::new(), Vec::new());
    let (mut rest, mut number) = (bytes, 1);
    while !rest.is_empty() {
        let line = first_line(rest);
        let read = match entry(line, rest) {
            Ok((pair, read)) => {
                pairs.extend(pair);
                read
            }
            Err(why) => {
                odd.push(OddLine { number, why });
                line.len()
            }
        };
        // A value in quotes may have taken several lines; what is left of the last one holds nothing.
        let read = read + first_line(rest.get(read..).unwrap_or_default()).len();
        let (done, after) = rest.split_at(read.min(rest.len()));
        let after = after.strip_prefix(b"\n").unwrap_or(after);
        number += done.iter().filter(|byte| **byte == b'\n').count() + 1;
        rest = after;
    }
    (pairs, odd)
}

/// The bytes before the first line end.
fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// Reads the line that `rest` begins with: a variable, if it gives one, and how many bytes belong to it.
fn entry(line: &[u8], rest: &[u8]) -> Result<(Option<Pair>, usize), &'static str> {
    if line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#") {
        return Ok((None, line.len()));
    }
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
        return Err("it has no `=`; write NAME=value");
    };
    let (name, value) = line.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    let name = std::str::from_utf8(name).map_err(|_| NOT_A_NAME)?.trim();
    let name = match name.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        _ => name,
    };
    if !is_variable_name(name) {
        return Err(NOT_A_NAME);
    }
    let blanks = value.len() - value.trim_ascii_start().len();
    let begin = equals + 1 + blanks;
    let (value, end) = match rest.get(begin) {
        Some(quote @ (b'\'' | b'"')) => {
            let inside = rest.get(begin + 1..).unwrap_or_default();
            let (value, length) = quoted(inside, *quote).ok_or("its quote is not closed")?;
            let end = begin + 1 + length;
            let after = first_line(rest.get(end..).unwrap_or_default()).trim_ascii();
            if !after.is_empty() && !after.starts_with(b"#") {
                return Err("there is more text behind the closing quote; put all of the value into quotes");
            }
            (value, end)
        }
        _ => (plain(value).to_vec(), line.len()),
    };
    let value = String::from_utf8(value).map_err(|_| "it is not UTF-8; save the file as UTF-8")?;
    if value.contains('\0') {
        return Err("it holds a null character; save the file as UTF-8");
    }
    Ok((Some((name.to_owned(), value)), end))
}

const NOT_A_NAME: &str = "the text before `=` does not name a variable; use letters, digits and `_`, and do not start with a digit";

/// A value without quotes: up to a comment, without the blanks around it.
fn plain(value: &[u8]) -> &[u8] {
    let comment = value.iter().enumerate().position(|(at, byte)| {
        *byte == b'#' && at > 0 && value.get(at - 1).is_some_and(u8::is_ascii_whitespace)
    });
    let value = value.get(..comment.unwrap_or(value.len()));
    value.unwrap_or_default().trim_ascii()
}

/// The value in quotes that `inside` begins with, and its length with the closing quote. `None` where none closes it.
fn quoted(inside: &[u8], quote: u8) -> Option<(Vec<u8>, usize)> {
    let mut value = Vec::new();
    let mut bytes = inside.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            _ if byte == quote => return Some((value, at + 1)),
            b'\\' if quote == b'"' => {
                let meant = match bytes.peek() {
                    Some((_, b'n')) => b'\n',
                    Some((_, b'r')) => b'\r',
                    Some((_, b't')) => b'\t',
                    Some((_, same @ (b'"' | b'\\' | b'$'))) => *same,
                    _ => {
                        value.push(byte);
                        continue;
                    }
                };
                value.push(meant);
                bytes.next();
            }
            // Line ends of Windows.
            b'\r' if matches!(bytes.peek(), Some((_, b'\n'))) => {}
            _ => value.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let (pairs, odd) = parse(text.as_bytes());
        assert_eq!(odd, [], "{text}");
        pairs
    }

    fn value(line: &str) -> String {
        let mut pairs = pairs(line);
        assert_eq!(pairs.len(), 1, "{line}");
        pairs.remove(0).1
    }

    #[test]
    fn values_are_what_is_written() {
        for (line, expected) in [
            ("A=pa$$word", "pa$$word"),
            ("A=p$word${B}", "p$word${B}"),
            ("A='pa$$word'", "pa$$word"),
            ("A=\"p$word\"", "p$word"),
            ("A=two words", "two words"),
            ("A=  x\t", "x"),
            ("export A=1", "1"),
            ("A = 1", "1"),
            ("A=a#b", "a#b"),
            ("A=a # b", "a"),
            ("A= # b", ""),
            ("A=#b", "#b"),
            ("A=", ""),
            ("A=''", ""),
            ("A=a=b==", "a=b=="),
            ("A=C:\\new", "C:\\new"),
            ("A='C:\\new'", "C:\\new"),
            ("A=\"a\\nb\\tc\\\"d\\\\e\\$f\\q\"", "a\nb\tc\"d\\e$f\\q"),
            ("A='it is #1' # more", "it is #1"),
            ("A=it's", "it's"),
            ("A=\"{\\\"a\\\": 1}\"", "{\"a\": 1}"),
            ("A={\"a\": 1}", "{\"a\": 1}"),
            ("A=1\r", "1"),
            ("A=\u{e4}\u{1f600}", "\u{e4}\u{1f600}"),
        ] {
            assert_eq!(value(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_value_in_quotes_may_have_lines() {
        let text = "KEY=\"-----BEGIN-----\r\nabc\r\n-----END-----\"\r\nB='x\ny' # more\nC=3\n";
        let expected = [
            ("KEY", "-----BEGIN-----\nabc\n-----END-----"),
            ("B", "x\ny"),
            ("C", "3"),
        ];
        assert_eq!(pairs(text), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn an_odd_line_costs_itself_alone() {
        for line in [
            "my-var=1",
            "hunter2 is my password",
            "=x",
            "1A=x",
            "A b=x",
            "NOT_CLOSED=\"abc",
            "NOT_CLOSED='abc",
            "MORE='a'b",
            "NULL=\0",
            "export",
            "A: 1",
        ] {
            let text = format!("\u{feff}FIRST=1\n\n{line}\n# more\nLAST=2\n");
            let (pairs, odd) = parse(text.as_bytes());
            let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["FIRST", "LAST"], "{line}");
            assert_eq!(odd.len(), 1, "{line}");
            assert_eq!(odd[0].number, 3, "{line}");
            assert!(!odd[0].why.contains("hunter2"), "{line}");
        }
        let (pairs, odd) = parse(b"A=1\nB='x\ny'\nC=caf\xe9\nD=4");
        assert_eq!(pairs.len(), 3);
        assert_eq!(odd[0].number, 4);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let (pairs, odd) = parse(&bytes);
            let lines = bytes.split(|byte| *byte == b'\n').count();
            prop_assert!(pairs.len() + odd.len() <= lines);
            prop_assert!(odd.iter().all(|odd| (1..=lines).contains(&odd.number)));
        }

        #[test]
        fn any_value_can_be_written(value in "[^\0\r]*", name in "[A-Z_][A-Z0-9_]{0,9}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("FIRST=1\n{name}=\"{escaped}\"\nLAST=2");
            let (pairs, odd) = parse(text.as_bytes());
            prop_assert_eq!(odd, []);
            prop_assert_eq!(pairs.len(), 3);
            prop_assert_eq!(&pairs[1], &(name, value));
        }
    }
}
