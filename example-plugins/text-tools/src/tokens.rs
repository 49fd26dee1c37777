//! The tool `count_tokens`.
//!
//! Real tokenizers carry tables of megabytes and differ from model to model. This one estimates by the rule that
//! they share: text is split into words, numbers, punctuation and spaces, and long pieces are split further.

use aih_plugin::{Json, arguments, structured, tool};

#[arguments]
pub struct CountArguments {
    /// The text.
    text: String,
}

#[structured]
pub struct CountResult {
    /// The estimate.
    tokens: usize,
    /// Characters (Unicode scalar values).
    characters: usize,
    /// Bytes of UTF-8.
    bytes: usize,
    /// Words: runs of letters and digits.
    words: usize,
    /// Lines.
    lines: usize,
}

/// Estimates how many tokens a text is for a large language model, and counts characters, bytes, words and lines.
/// The estimate uses no model's own table: use it to plan, not to bill.
#[tool(title = "Estimate tokens", read_only, idempotent, open_world = false)]
pub async fn count_tokens(args: CountArguments) -> Json<CountResult> {
    let text = args.text.as_str();
    Json(CountResult {
        tokens: estimate(text),
        characters: text.chars().count(),
        bytes: text.len(),
        words: text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .count(),
        lines: text.lines().count(),
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// Latin letters, with their accents.
    Latin,
    /// Other letters of scripts that separate words with spaces.
    Other,
    /// A character is a syllable or a word: Chinese, Japanese, Korean.
    Syllable,
    Digit,
    Space,
    LineEnd,
    /// Lines and boxes of drawings, which come in long runs.
    Drawing,
    Mark,
}

fn class(c: char) -> Class {
    match c {
        '\n' | '\r' => Class::LineEnd,
        _ if c.is_whitespace() => Class::Space,
        _ if c.is_numeric() => Class::Digit,
        '\u{2500}'..='\u{25ff}' => Class::Drawing,
        '\u{2e80}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Class::Syllable,
        '\u{0}'..='\u{24f}' if c.is_alphabetic() => Class::Latin,
        _ if c.is_alphabetic() => Class::Other,
        _ => Class::Mark,
    }
}

/// The divisors fit o200k_base to this repository's documents and sources (each within 12 %) and to sentences in
/// German, French, Russian, Chinese, Japanese, Hindi, Korean and Arabic (each within 35 %).
fn estimate(text: &str) -> usize {
    let mut tokens = 0;
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        let kind = class(first);
        let mut last = first;
        let mut length = 1;
        let mut ascii = first.is_ascii();
        // A capital begins a new piece of a name such as `getUserName`.
        while let Some(next) =
            characters.next_if(|next| class(*next) == kind && (last.is_uppercase() || !next.is_uppercase()))
        {
            last = next;
            length += 1;
            ascii &= next.is_ascii();
        }
        tokens += match kind {
            // One space belongs to the word behind it; a longer run is one token.
            Class::Space => usize::from(length > 1),
            // The end of a line belongs to the mark before it.
            Class::LineEnd => usize::from(before != Some(Class::Mark)),
            Class::Digit => usize::div_ceil(length, 3),
            Class::Latin if ascii && length <= 8 => 1,
            Class::Latin if ascii => usize::div_ceil(length, 6),
            Class::Latin => usize::div_ceil(length, 5),
            Class::Other => usize::div_ceil(length * 2, 7),
            Class::Syllable => usize::div_ceil(length * 3, 4),
            Class::Drawing => usize::div_ceil(length, 8),
            Class::Mark if ascii => usize::div_ceil(length, 3),
            Class::Mark => length * 2,
        };
        before = Some(kind);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_near_what_tokenizers_count() {
        // Counted with OpenAI's o200k_base table.
        for (text, counted) in [
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("fn main() {\n    println!(\"Hello, world!\");\n}\n", 12),
            ("Rechtsschutzversicherungsgesellschaften", 7),
            ("今天天气很好,我们一起去公园散步吧。人工智能正在改变世界。", 20),
        ] {
            let estimated = estimate(text);
            assert!(
                estimated.abs_diff(counted) * 4 <= counted,
                "{text}: {estimated}, not {counted}"
            );
        }
        assert_eq!(estimate(""), 0);
    }
}
