//! The media type of a file of a skill or a config, by the file's name.
//!
//! This is a table of our own and not a guessing library, because clients see these types, and the skills extension
//! requires exactly `text/markdown` for `SKILL.md`.

/// A folder, in resource listings.
pub const DIRECTORY: &str = "inode/directory";
/// Markdown.
pub const MARKDOWN: &str = "text/markdown";
/// Text of no known kind.
pub const PLAIN: &str = "text/plain";
/// Bytes of no known kind.
pub const BINARY: &str = "application/octet-stream";

/// The media type of the file called `name` (a path will do), without parameters, or `None` for an unknown
/// or missing ending.
pub fn by_name(name: &str) -> Option<&'static str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let (stem, ending) = name.rsplit_once('.')?;
    if stem.is_empty() {
        // `.claude` has no ending, it is hidden.
        return None;
    }
    Some(match ending.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "mdc" => MARKDOWN,
        "txt" => PLAIN,
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" | "mjs" | "cjs" => "text/javascript",
        "ts" => "text/x-typescript",
        "py" => "text/x-python",
        "rs" => "text/x-rust",
        "sh" => "application/x-sh",
        "json" => "application/json",
        "yaml" | "yml" => "application/yaml",
        "toml" => "application/toml",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        _ => return None,
    })
}

/// The media type of a file by its name, and by its bytes where the name tells nothing.
pub fn of(name: &str, bytes: &[u8]) -> &'static str {
    by_name(name).unwrap_or(if as_text(bytes).is_some() { PLAIN } else { BINARY })
}

/// `media_type` as an HTTP `Content-Type`: textual ones say that they are UTF-8.
pub fn content_type(media_type: &str) -> String {
    if media_type.starts_with("text/") {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_owned()
    }
}

/// The bytes as text if they are UTF-8 without a NUL. What is not goes out as base64.
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    if bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_name_then_the_bytes() {
        for (name, media_type) in [
            ("CLAUDE.md", MARKDOWN),
            ("config.json", "application/json"),
            ("a/b.YAML", "application/yaml"),
            (".cursorrules", PLAIN),
            (".claude", PLAIN),
            ("Makefile", PLAIN),
            ("Cargo.toml", "application/toml"),
        ] {
            assert_eq!(of(name, b"text"), media_type, "{name}");
        }
        assert_eq!(of("blob", &[0, 1]), BINARY);
        assert_eq!(content_type(PLAIN), "text/plain; charset=utf-8");
        assert_eq!(content_type("application/json"), "application/json");
    }
}
