//! How large an answer is.

use crate::bindings::{Content, Output};

/// Bytes that a tool's answer holds.
pub(crate) fn size(output: &Output) -> u64 {
    let content = output.content.iter().map(|content| match content {
        Content::Text(text) | Content::ResourceJson(text) | Content::Other(text) => text.len(),
        Content::Image(blob) | Content::Audio(blob) => blob.data.len() + blob.mime_type.len(),
    });
    let extras = output.extras.iter().map(|(key, value)| key.len() + value.len());
    let structured = output.structured_json.as_ref().map_or(0, String::len);
    (content.sum::<usize>() + extras.sum::<usize>() + structured) as u64
}
