//! Counts words.

use aih_plugin::{Json, arguments, plugin, structured, tool};

#[arguments]
struct CountWords {
    /// The text.
    text: String,
}

#[structured]
struct Count {
    words: usize,
}

/// Counts the words of a text.
#[tool(read_only)]
async fn count_words(args: CountWords) -> Json<Count> {
    Json(Count { words: args.text.split_whitespace().count() })
}

plugin! { tools: [count_words] }
