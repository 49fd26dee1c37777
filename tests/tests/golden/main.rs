//! What the program says on its surfaces: commands that print and end, their help, and the messages of MCP, compared with
//! files in `golden/files`. A change of a surface is then seen in review.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod command_line;
mod help;
mod transcripts;

use std::{fs, path::Path};

/// Set to anything, it makes the files anew in place of comparing.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Compares a text with the file `name`.
///
/// # Panics
/// They differ; the message says where and how to make the file anew.
fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/files")
        .join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == found {
        return;
    }
    let pairs = expected.lines().zip(found.lines());
    let same = pairs.take_while(|(expected, found)| expected == found).count();
    let from = |text: &str| -> String {
        let lines = text.lines().skip(same).take(8);
        lines.map(|line| format!("    {line}\n")).collect()
    };
    panic!(
        "{path} differs from line {line} on. Expected:\n{}found:\n{}\
         If the change is meant, run the test again with {UPDATE}=1 and commit the file.",
        from(&expected),
        from(found),
        path = path.display(),
        line = same + 1,
    );
}

#[test]
fn a_difference_is_shown_with_its_line_and_with_what_to_do() {
    if std::env::var_os(UPDATE).is_some() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files/help.txt");
    let text = fs::read_to_string(path).unwrap();
    let changed = text.replacen("Usage:", "Use:", 1);
    assert_ne!(text, changed);
    let said = std::panic::catch_unwind(|| compare("help.txt", &changed)).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    let line = text.lines().position(|line| line.starts_with("Usage:")).unwrap() + 1;
    for words in [
        format!("differs from line {line} on"),
        "    Use: aih".to_owned(),
        format!("{UPDATE}=1"),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    assert!(std::panic::catch_unwind(|| compare("no-such-file.txt", "x")).is_err());
}
