//! The tool `regex_extract`.

use std::collections::BTreeMap;

use aih_plugin::{Error, Json, Result, arguments, structured, tool};
use regex::RegexBuilder;

/// Bytes that a compiled expression may take: `\w{1000}{1000}` is refused instead of filling the sandbox.
const COMPILED: usize = 1 << 20;
/// Matches that are given if the caller names no limit, and at most.
const MATCHES: (usize, usize) = (100, 10_000);

#[arguments]
pub struct RegexArguments {
    /// The text to search in.
    text: String,
    /// The expression in the syntax of Rust's regex crate, which is Perl's without look-around and
    /// back-references. Flags go in front: (?i) ignores case, (?m) makes ^ and $ match at lines, (?s) makes .
    /// match line ends, (?x) allows spaces and comments.
    pattern: String,
    /// At most this many matches, up to 10,000; 100 if left out.
    limit: Option<usize>,
}

#[structured]
pub struct RegexResult {
    /// The matches from left to right.
    matches: Vec<Match>,
    /// Whether there are more than the limit.
    truncated: bool,
}

/// A place where the expression matched.
#[structured]
pub struct Match {
    /// What matched.
    text: String,
    /// Where it begins, in bytes of UTF-8.
    start: usize,
    /// The line on which it begins, from 1.
    line: usize,
    /// The groups from 1 on; null where a group took no part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Option<String>>,
    /// The groups that have names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    named: BTreeMap<String, String>,
}

/// Finds all matches of a regular expression in a text, with groups, named groups, position and line.
/// The time grows with the text alone: no expression makes it explode.
#[tool(
    title = "Extract by regular expression",
    read_only,
    idempotent,
    open_world = false
)]
pub async fn regex_extract(args: RegexArguments) -> Result<Json<RegexResult>> {
    let regex = RegexBuilder::new(&args.pattern)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build()
        .map_err(Error::invalid_arguments)?;
    let limit = args.limit.unwrap_or(MATCHES.0).min(MATCHES.1);
    let mut found = regex.captures_iter(&args.text);
    let mut matches = Vec::new();
    // Lines are counted from one match to the next, so each byte is looked at once.
    let (mut line, mut counted) = (1, 0);
    for captures in found.by_ref().take(limit) {
        let whole = captures.get_match();
        let between = &args.text.as_bytes()[counted..whole.start()];
        line += between.iter().filter(|byte| **byte == b'\n').count();
        counted = whole.start();
        let group = |group: Option<regex::Match<'_>>| group.map(|group| group.as_str().to_owned());
        matches.push(Match {
            text: whole.as_str().to_owned(),
            start: whole.start(),
            line,
            groups: captures.iter().skip(1).map(group).collect(),
            named: regex
                .capture_names()
                .flatten()
                .filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str().to_owned())))
                .collect(),
        });
    }
    Ok(Json(RegexResult {
        truncated: found.next().is_some(),
        matches,
    }))
}

#[cfg(test)]
mod tests {
    use aih_plugin::testing::block_on;

    use super::*;

    fn run(text: &str, pattern: &str, limit: Option<usize>) -> Result<RegexResult> {
        let args = RegexArguments {
            text: text.into(),
            pattern: pattern.into(),
            limit,
        };
        block_on(regex_extract(args)).map(|json| json.0)
    }

    #[test]
    fn groups_names_and_lines() {
        let result = run("a=1\nb=22\n", r"(?m)^(?<key>\w)=(\d+)(x)?$", None).unwrap();
        let second = &result.matches[1];
        assert_eq!((second.text.as_str(), second.start, second.line), ("b=22", 4, 2));
        assert_eq!(second.groups, [Some("b".into()), Some("22".into()), None]);
        assert_eq!(second.named["key"], "b");
        assert!(!result.truncated);
    }

    #[test]
    fn a_limit_is_kept_and_said() {
        let result = run("aaaa", "a", Some(3)).unwrap();
        assert_eq!((result.matches.len(), result.truncated), (3, true));
    }

    #[test]
    fn an_expression_that_would_fill_the_sandbox_is_refused() {
        let error = run("", r"(\w{1000}){1000}", None).err().unwrap();
        assert!(error.to_string().contains("size limit"), "{error}");
    }

    #[test]
    fn letters_of_any_script() {
        assert_eq!(
            run("Straße 東京 Ω", r"\p{Greek}|\w+", None)
                .unwrap()
                .matches
                .len(),
            3
        );
    }
}
