//! Tools for text that models get wrong by themselves: hashes, differences, regular expressions, queries into
//! JSON, and token counts. The plugin asks for no grant.

mod diff;
mod hash;
mod json;
mod regex;
mod tokens;

aih_plugin::plugin! {
    tools: [hash::hash, diff::diff, regex::regex_extract, json::json_query, tokens::count_tokens],
}
