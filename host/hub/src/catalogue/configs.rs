//! Config files (`.claude`, `CLAUDE.md`, `.cursorrules`…) served as they are, over REST and as MCP resources
//! `config://{key}`.
//!
//! The bytes are those of the file at load time, never changed. Who may see which key is the caller's filter
//! on every function: nothing here answers about a key that the filter refuses.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::files::{ContentRoot, FileError, FileErrorKind, Located};
use super::media;
use super::skills::encode_segment;

/// What the URIs of configs begin with; the key follows, percent-encoded where it must be.
pub const SCHEME: &str = "config://";

/// The `_meta` key under which the hub's own resources and prompts say which permission path they need.
pub const PERMISSION: &str = "aih/permission";

/// One entry under `configs:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSource {
    /// Its key.
    pub key: String,
    /// Its `file`, as written.
    pub file: String,
    /// The folder that `file` is relative to: that of the configuration.
    pub base_dir: PathBuf,
}

/// A config file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its key.
    pub key: String,
    /// The last part of its path, such as `.cursorrules`.
    pub file_name: String,
    /// Its media type without parameters.
    pub media_type: &'static str,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// When it was last changed, if known.
    pub modified: Option<jiff::Timestamp>,
}

impl ConfigFile {
    /// Its `Content-Type` for HTTP.
    pub fn content_type(&self) -> String {
        media::content_type(self.media_type)
    }

    /// Its strong `ETag`, with quotes.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }

    /// Its text, if it is text.
    pub fn text(&self) -> Option<&str> {
        media::as_text(&self.bytes)
    }

    /// Its resource URI.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}", encode_segment(&self.key))
    }
}

/// An entry under `configs:` and what became of it.
#[derive(Debug, Clone)]
pub struct ConfigEntry {
    /// The entry.
    pub source: ConfigSource,
    /// The file, or why it is not served.
    pub outcome: Result<Arc<ConfigFile>, FileError>,
}

/// All entries under `configs:`, by key.
#[derive(Debug, Clone, Default)]
pub struct ConfigSet {
    entries: BTreeMap<String, ConfigEntry>,
}

impl ConfigSet {
    /// Reads every entry; one that fails is kept with its error. Of two with one key the later counts.
    /// Blocks on file access.
    pub fn load(sources: impl IntoIterator<Item = ConfigSource>) -> Self {
        let entries = sources.into_iter().map(|source| {
            let outcome = load(&source).map(Arc::new);
            (source.key.clone(), ConfigEntry { source, outcome })
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// All entries in the order of their keys, failed ones too.
    pub fn entries(&self) -> impl Iterator<Item = &ConfigEntry> {
        self.entries.values()
    }

    /// The entry with `key`.
    pub fn entry(&self, key: &str) -> Option<&ConfigEntry> {
        self.entries.get(key)
    }

    /// The file with `key`, if it could be read.
    pub fn get(&self, key: &str) -> Option<&Arc<ConfigFile>> {
        self.entries.get(key)?.outcome.as_ref().ok()
    }

    /// The entries of `resources/list`.
    pub fn resources(&self, allowed: impl Fn(&str) -> bool) -> Vec<Value> {
        self.readable()
            .filter(|config| allowed(&config.key))
            .map(|config| resource(config))
            .collect()
    }

    /// The result of `resources/read` for `uri`, or `None` if it is not a config that may be seen.
    pub fn read_resource(&self, uri: &str, allowed: impl Fn(&str) -> bool) -> Option<Value> {
        let key = percent_decode_str(uri.strip_prefix(SCHEME)?).decode_utf8().ok()?;
        let config = self.get(&key).filter(|config| allowed(&config.key))?;
        Some(json!({ "contents": [contents(uri, config.media_type, &config.bytes)] }))
    }

    fn readable(&self) -> impl Iterator<Item = &Arc<ConfigFile>> {
        self.entries
            .values()
            .filter_map(|entry| entry.outcome.as_ref().ok())
    }
}

fn load(source: &ConfigSource) -> Result<ConfigFile, FileError> {
    let named = |error: FileError| FileError {
        path: source.file.clone(),
        kind: error.kind,
    };
    let (root, name) = match ContentRoot::locate(&source.base_dir, &source.file)? {
        Located::File(root, name) => (root, name),
        Located::Folder(_) => {
            return Err(FileError {
                path: source.file.clone(),
                kind: FileErrorKind::IsFolder,
            });
        }
    };
    let content = root.read(&name).map_err(named)?;
    Ok(ConfigFile {
        key: source.key.clone(),
        media_type: media::of(&name, &content.bytes),
        file_name: name,
        sha256: content.sha256,
        bytes: content.bytes,
        modified: content.modified,
    })
}

fn resource(config: &ConfigFile) -> Value {
    let mut out = Map::new();
    out.insert("uri".into(), config.uri().into());
    out.insert("name".into(), config.key.clone().into());
    out.insert("title".into(), config.file_name.clone().into());
    out.insert("mimeType".into(), config.media_type.into());
    out.insert("size".into(), config.bytes.len().into());
    out.insert("annotations".into(), annotations(0.3, config.modified));
    out.insert(
        "_meta".into(),
        json!({ PERMISSION: format!("configs/{}", config.key) }),
    );
    Value::Object(out)
}

/// Resource annotations: for people and models alike, `priority` from 0 to 1.
pub(super) fn annotations(priority: f64, modified: Option<jiff::Timestamp>) -> Value {
    let mut out = Map::new();
    out.insert("audience".into(), json!(["user", "assistant"]));
    out.insert("priority".into(), priority.into());
    if let Some(modified) = modified {
        out.insert("lastModified".into(), rfc3339_seconds(modified).into());
    }
    Value::Object(out)
}

fn rfc3339_seconds(at: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

/// One element of a read result's `contents`: `text` where the bytes are text, else base64 in `blob`.
pub(super) fn contents(uri: &str, media_type: &str, bytes: &[u8]) -> Value {
    match media::as_text(bytes) {
        Some(text) => json!({ "uri": uri, "mimeType": media_type, "text": text }),
        None => json!({ "uri": uri, "mimeType": media_type, "blob": BASE64.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn set() -> (tempfile::TempDir, ConfigSet) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("configs/folder")).unwrap();
        fs::write(dir.path().join("configs/.claude"), "be kind\n").unwrap();
        fs::write(dir.path().join("configs/config.json"), "{}").unwrap();
        fs::write(dir.path().join("configs/logo"), [0, 1, 2]).unwrap();
        let sources = [
            ("claude", "./configs/.claude"),
            ("continue", "./configs/config.json"),
            ("logo", "./configs/logo"),
            ("folder", "./configs/folder"),
            ("gone", "./configs/gone"),
            ("odd key", "./configs/.claude"),
        ];
        let set = ConfigSet::load(sources.map(|(key, file)| ConfigSource {
            key: key.into(),
            file: file.into(),
            base_dir: dir.path().into(),
        }));
        (dir, set)
    }

    #[test]
    fn files_come_as_they_are_with_a_fitting_type() {
        let (_dir, set) = set();
        let claude = set.get("claude").unwrap();
        assert_eq!(claude.content_type(), "text/plain; charset=utf-8");
        assert_eq!(claude.text(), Some("be kind\n"));
        assert_eq!(claude.file_name, ".claude");
        assert_eq!(claude.etag().len(), 66);
        assert_eq!(set.get("continue").unwrap().content_type(), "application/json");
        assert_eq!(
            set.get("logo").unwrap().content_type(),
            "application/octet-stream"
        );
    }

    #[test]
    fn failed_entries_are_listed_with_their_error() {
        let (_dir, set) = set();
        let error = |key: &str| set.entry(key).unwrap().outcome.as_ref().unwrap_err().to_string();
        assert_eq!(
            error("folder"),
            "`./configs/folder` is a folder: name a file in it"
        );
        assert!(error("gone").contains("no such file"));
        assert_eq!(set.entries().count(), 6);
        assert!(set.get("gone").is_none());
    }

    #[test]
    fn resources_are_filtered_and_read_back() {
        let (_dir, set) = set();
        let uris = |list: Vec<Value>| -> Vec<String> {
            list.iter()
                .map(|r| r["uri"].as_str().unwrap().to_owned())
                .collect()
        };
        let all = uris(set.resources(|_| true));
        assert_eq!(
            all,
            [
                "config://claude",
                "config://continue",
                "config://logo",
                "config://odd%20key"
            ]
        );
        for uri in &all {
            let read = set.read_resource(uri, |_| true).unwrap();
            assert_eq!(read["contents"][0]["uri"], **uri);
        }
        assert_eq!(uris(set.resources(|key| key == "logo")), ["config://logo"]);
        assert_eq!(set.read_resource("config://claude", |key| key == "logo"), None);
        assert_eq!(set.read_resource("config://../.env", |_| true), None);
        let blob = set.read_resource("config://logo", |_| true).unwrap();
        assert_eq!(blob["contents"][0]["blob"], "AAEC");
    }
}
