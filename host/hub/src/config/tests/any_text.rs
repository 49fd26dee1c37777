//! Whatever is written, reading it ends with a configuration or with problems.

use proptest::prelude::*;

use super::*;

fn loads(text: &str) {
    match load_with(text, &[("A", "1")]) {
        Ok(_) => {}
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let _ = problems.to_string();
        }
    }
}

/// Pieces that YAML and this file care about, so that random joins get deep into the code.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "version",
            "mcps",
            "external",
            "local",
            "name",
            "url",
            "auth",
            "type",
            "token",
            ": ",
            ":",
            "\n",
            "\n  ",
            "\n    - ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "'",
            "${A}",
            "${",
            "&a ",
            "*a",
            "|",
            ">",
            "|-\n",
            "? ",
            "!!str ",
            "!x ",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "#",
            "\t",
            "~",
            "1.0",
            "\\x",
            "<<: ",
            "\u{feff}",
            "\r\n",
            "sha256:",
            "- - - ",
            "tools",
            "headers",
            "\u{0}",
            "🦀",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn strings(text in ".{0,200}") {
        loads(&text);
    }

    #[test]
    fn joins(pieces in prop::collection::vec(piece(), 0..40)) {
        loads(&pieces.concat());
    }

    #[test]
    fn broken_files(cut in 0..BRIEF.len(), insert in piece()) {
        let at = (0..=cut).rev().find(|i| BRIEF.is_char_boundary(*i)).unwrap();
        let (before, after) = BRIEF.split_at(at);
        loads(&format!("{before}{insert}{after}"));
        loads(before);
    }
}

#[test]
fn large_and_deep() {
    for unit in [
        "[", "{", "- ", "? ", "a: {", "[[]],", "'", "&a ", "!a ", "a:\n ", "x",
    ] {
        loads(&unit.repeat(100_000 / unit.len()));
    }
    let deep: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert!(problems(&deep).contains("deeper than 64"));
    let keys: String = (0..50_000).map(|i| format!("k{i}: 1\n")).collect();
    loads(&keys);
}
