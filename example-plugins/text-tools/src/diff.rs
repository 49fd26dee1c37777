//! The tool `diff`.

use std::time::Duration;

use aih_plugin::{Context, Json, arguments, structured, tool};
use similar::{Algorithm, ChangeTag, TextDiff};

#[arguments]
pub struct DiffArguments {
    /// The text before.
    before: String,
    /// The text after.
    after: String,
    /// Lines of context around each change, at most 100; 3 if left out.
    context: Option<u8>,
    /// The name of the text before, for the header.
    before_name: Option<String>,
    /// The name of the text after, for the header.
    after_name: Option<String>,
}

#[structured]
pub struct DiffResult {
    /// The difference in unified format; empty if there is none.
    diff: String,
    /// Lines that were added.
    added: usize,
    /// Lines that were removed.
    removed: usize,
    /// How alike the texts are, from 0 to 1.
    similarity: f32,
}

/// Compares two texts line by line and gives a unified diff, which `patch` and `git apply` take.
#[tool(title = "Compare two texts", read_only, idempotent, open_world = false)]
pub async fn diff(args: DiffArguments, call: Context) -> Json<DiffResult> {
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Patience)
        // Beyond it the result is right, and longer than it had to be.
        .timeout((call.time_left() / 2).min(Duration::from_secs(5)))
        .diff_lines(&args.before, &args.after);
    let count = |tag| {
        diff.iter_all_changes()
            .filter(|change| change.tag() == tag)
            .count()
    };
    let added = count(ChangeTag::Insert);
    let removed = count(ChangeTag::Delete);
    let similarity = diff.ratio();
    let text = diff
        .unified_diff()
        .context_radius(usize::from(args.context.unwrap_or(3).min(100)))
        .header(
            args.before_name.as_deref().unwrap_or("before"),
            args.after_name.as_deref().unwrap_or("after"),
        )
        .to_string();
    Json(DiffResult {
        diff: text,
        added,
        removed,
        similarity,
    })
}

#[cfg(test)]
mod tests {
    use aih_plugin::testing::{block_on, context};

    use super::*;

    fn run(before: &str, after: &str) -> DiffResult {
        let args = DiffArguments {
            before: before.into(),
            after: after.into(),
            context: Some(0),
            before_name: None,
            after_name: Some("b.txt".into()),
        };
        block_on(diff(args, context())).0
    }

    #[test]
    fn a_changed_line() {
        let result = run("one\ntwo\nthree\n", "one\n2\nthree\n");
        assert_eq!(result.diff, "--- before\n+++ b.txt\n@@ -2 +2 @@\n-two\n+2\n");
        assert_eq!((result.added, result.removed), (1, 1));
    }

    #[test]
    fn nothing_changed() {
        let result = run("same\n", "same\n");
        assert_eq!((result.diff.as_str(), result.similarity), ("", 1.0));
    }
}
