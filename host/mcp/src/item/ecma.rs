//! Regular expressions of schemas: whether JavaScript reads them.

/// Longest pattern that is tried, in bytes. No client reads a longer one in good time.
const MAX_PATTERN: usize = 4 * 1024;

/// Whether `pattern` compiles as ajv compiles it: as a regular expression of ECMAScript, with the flag `u`. Python's
/// `(?P<name>…)` and `\Z` do not.
pub(super) fn compiles(pattern: &str) -> bool {
    pattern.len() <= MAX_PATTERN && regress::Regex::with_flags(pattern, "u").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_javascript_reads() {
        for pattern in [
            "",
            "^a+$",
            r"^[a\-b]$",
            r"^\p{L}$",
            r"(?<name>x)\k<name>",
            r"(?=a)b",
            r"\/",
        ] {
            assert!(compiles(pattern), "{pattern}");
        }
        for pattern in [
            "(",
            r"(?P<name>x)",
            "(?i)x",
            r"^a\-b$",
            r"^[a\_b]$",
            r"x\Z",
            "^{x}$",
        ] {
            assert!(!compiles(pattern), "{pattern}");
        }
        assert!(!compiles(&"(".repeat(4_000)));
        assert!(!compiles(&"a".repeat(MAX_PATTERN + 1)));
    }
}
