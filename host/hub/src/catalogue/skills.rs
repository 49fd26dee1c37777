//! Skills: instructions in markdown, alone in a file or in a folder with files beside them.
//!
//! Everything is read once, when the configuration is loaded, and served from memory: what a digest says is
//! what a client gets, whatever happens to the files meanwhile. A skill that cannot be read keeps its place
//! in the list with its error. What MCP clients see of skills is in [`super::skills_mcp`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::files::{ContentRoot, FileError, ListedKind, Located, sha256_hex};
use super::front_matter::{self, Document, FrontMatterError};
use super::media;
use crate::names::SKILL_MD;

/// Most files of one skill, `SKILL.md` included (a limit of the skills extension, SEP-2640).
pub const MAX_FILES: usize = 512;

/// Most bytes of one skill over all its files: 16 MiB (SEP-2640).
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Deepest folder of a skill.
const MAX_DEPTH: usize = 16;

/// One entry under `skills:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillSource {
    /// Its name, which clients and permissions use.
    pub name: String,
    /// Its description; without one, that of the front matter counts.
    pub description: Option<String>,
    /// Its `file`, as written: a markdown file, a folder with a `SKILL.md`, or that `SKILL.md`.
    pub file: String,
    /// Its tags; those of the front matter are added.
    pub tags: Vec<String>,
    /// The folder that `file` is relative to: that of the configuration.
    pub base_dir: PathBuf,
}

/// Why a skill is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkillError {
    /// A file of it cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its head cannot be read.
    #[error("`{file}` {error}")]
    FrontMatter {
        /// The markdown file.
        file: String,
        /// What is wrong.
        error: FrontMatterError,
    },
    /// More than [`MAX_FILES`] files, [`MAX_BYTES`] bytes, or folders too deep.
    #[error("`{file}` {what}: split the skill or move files out of its folder")]
    TooMuch {
        /// The folder as configured.
        file: String,
        /// Which limit.
        what: String,
    },
}

/// A file of a folder skill, other than its `SKILL.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillFile {
    /// Its path in the folder, with `/`.
    pub path: String,
    /// Its media type without parameters.
    pub media_type: &'static str,
    /// SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A skill as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Skill {
    /// Its name in the configuration.
    pub name: String,
    /// `title` of the front matter, or the first `# ` heading.
    pub title: Option<String>,
    /// From the configuration, else the front matter; may be empty.
    pub description: String,
    /// From the configuration and then the front matter, without repeats.
    pub tags: Vec<String>,
    /// Its `file`, as configured.
    pub file: String,
    /// The head of the markdown, with every key the author wrote.
    pub front_matter: Map<String, Value>,
    /// The whole markdown file as written.
    pub text: String,
    /// The markdown below the head.
    pub body: String,
    /// SHA-256 of `text`, in lower-case hex.
    pub sha256: String,
    /// When the markdown was last changed, if known.
    pub modified: Option<jiff::Timestamp>,
    /// The other files of a folder skill, by path.
    pub files: Vec<SkillFile>,
    /// What was left out and why, for the operator.
    pub warnings: Vec<String>,
    /// The `SKILL.md` that the skills extension serves.
    pub manifest: Manifest,
}

/// `SKILL.md` in the form of the skills extension: its head names the skill as the configuration does and
/// describes it. It is `text` itself where that holds, and else `text` with the head completed.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The head of `text`.
    pub front_matter: Map<String, Value>,
    /// The file.
    pub text: String,
    /// SHA-256 of `text`, in lower-case hex.
    pub sha256: String,
}

impl Skill {
    /// Length of the markdown file in bytes.
    pub fn size(&self) -> u64 {
        self.text.len() as u64
    }

    /// The strong `ETag` of the markdown file, with quotes.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }

    /// The file at `path` in the skill's folder, other than `SKILL.md`.
    pub fn file_at(&self, path: &str) -> Option<&SkillFile> {
        let index = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        self.files.get(index)
    }

    /// Whether the name is one that the skills extension allows: 1 to 64 of `[a-z0-9-]`, no `-` at an end
    /// or twice in a row. Others are left out of `skills/list` and served in every other way.
    pub fn has_standard_name(&self) -> bool {
        let name = &self.name;
        (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--")
    }
}

/// An entry under `skills:` and what became of it.
#[derive(Debug, Clone)]
pub struct SkillEntry {
    /// The entry.
    pub source: SkillSource,
    /// The skill, or why it is not served.
    pub outcome: Result<Arc<Skill>, SkillError>,
}

/// All entries under `skills:`, by name.
#[derive(Debug, Clone, Default)]
pub struct SkillSet {
    entries: BTreeMap<String, SkillEntry>,
}

impl SkillSet {
    /// Reads every entry; one that fails is kept with its error. Of two with one name the later counts.
    /// Blocks on file access.
    pub fn load(sources: impl IntoIterator<Item = SkillSource>) -> Self {
        let entries = sources.into_iter().map(|source| {
            let outcome = load(&source).map(Arc::new);
            (source.name.clone(), SkillEntry { source, outcome })
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// All entries in the order of their names, failed ones too.
    pub fn entries(&self) -> impl Iterator<Item = &SkillEntry> {
        self.entries.values()
    }

    /// The entry called `name`.
    pub fn entry(&self, name: &str) -> Option<&SkillEntry> {
        self.entries.get(name)
    }

    /// The skill called `name`, if it could be read.
    pub fn get(&self, name: &str) -> Option<&Arc<Skill>> {
        self.entries.get(name)?.outcome.as_ref().ok()
    }

    /// The skills that could be read, by name.
    pub fn readable(&self) -> impl Iterator<Item = &Arc<Skill>> {
        self.entries
            .values()
            .filter_map(|entry| entry.outcome.as_ref().ok())
    }
}

/// `text` as one segment of a URI: all but `[A-Za-z0-9-._~]` percent-encoded.
pub(super) fn encode_segment(text: &str) -> String {
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn load(source: &SkillSource) -> Result<Skill, SkillError> {
    let (root, name, folder, shown) = match ContentRoot::locate(&source.base_dir, &source.file)? {
        Located::Folder(root) => {
            let shown = format!("{}/{SKILL_MD}", source.file.trim_end_matches('/'));
            (root, SKILL_MD.to_owned(), true, shown)
        }
        Located::File(root, name) => {
            // A `SKILL.md` right beside the configuration must not publish that whole folder.
            let folder = name == SKILL_MD && has_own_folder(&source.file);
            (root, name, folder, source.file.clone())
        }
    };
    let content = root.read(&name).map_err(|error| FileError {
        path: shown.clone(),
        ..error
    })?;
    let text = content.text(&shown)?.to_owned();
    let document = front_matter::parse(&text).map_err(|error| SkillError::FrontMatter {
        file: shown.clone(),
        error,
    })?;
    let mut warnings: Vec<String> = document
        .mended
        .iter()
        .map(|mended| {
            format!(
                "`{shown}` line {}: the value of `{}` holds a colon and has no quotes; it is read as if it had them, and other programs may refuse the file: put it in quotes",
                mended.line, mended.key
            )
        })
        .collect();
    let files = if folder {
        beside(&root, source, &mut warnings)?
    } else {
        Vec::new()
    };
    let skill = describe(source, &document.front_matter, document.body);
    Ok(Skill {
        sha256: content.sha256,
        modified: content.modified,
        manifest: manifest(&skill, &document, &text),
        name: source.name.clone(),
        title: skill.title,
        description: skill.description,
        tags: skill.tags,
        file: source.file.clone(),
        body: document.body.to_owned(),
        front_matter: document.front_matter,
        files,
        warnings,
        text,
    })
}

fn has_own_folder(file: &str) -> bool {
    Path::new(file)
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .count()
        > 1
}

struct Description {
    name: String,
    title: Option<String>,
    description: String,
    tags: Vec<String>,
}

fn describe(source: &SkillSource, front_matter: &Map<String, Value>, body: &str) -> Description {
    let text = |key: &str| {
        front_matter
            .get(key)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|t| !t.is_empty())
    };
    let configured = source
        .description
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let heading = || {
        body.lines()
            .find_map(|line| line.strip_prefix("# "))
            .map(str::trim)
    };
    let own_tags: Vec<&str> = match front_matter.get("tags") {
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(tags)) => tags.split(',').collect(),
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let tags = source.tags.iter().map(String::as_str).chain(own_tags);
    let tags = tags
        .map(str::trim)
        .filter(|tag| !tag.is_empty() && seen.insert(tag.to_owned()));
    Description {
        name: source.name.clone(),
        title: text("title").or_else(heading).map(str::to_owned),
        description: configured
            .or_else(|| text("description"))
            .unwrap_or_default()
            .to_owned(),
        tags: tags.map(str::to_owned).collect(),
    }
}

fn manifest(skill: &Description, document: &Document<'_>, text: &str) -> Manifest {
    let Document {
        front_matter,
        body,
        mended,
    } = document;
    let named = front_matter.get("name").and_then(Value::as_str) == Some(skill.name.as_str());
    let described = front_matter
        .get("description")
        .and_then(Value::as_str)
        .is_some_and(|d| !d.is_empty());
    if named && described && mended.is_empty() {
        let sha256 = sha256_hex(text.as_bytes());
        return Manifest {
            front_matter: front_matter.clone(),
            text: text.to_owned(),
            sha256,
        };
    }
    let mut completed = front_matter.clone();
    completed.insert("name".into(), skill.name.clone().into());
    if !described {
        // The specification wants one; the best stand-in is what the skill calls itself.
        let candidates = [
            &skill.description,
            skill.title.as_ref().unwrap_or(&skill.name),
            &skill.name,
        ];
        let description = candidates.into_iter().find(|text| !text.is_empty());
        completed.insert("description".into(), description.cloned().into());
    }
    let text = front_matter::compose(&completed, body);
    Manifest {
        sha256: sha256_hex(text.as_bytes()),
        front_matter: completed,
        text,
    }
}

/// The files of the folder `root` other than `SKILL.md`, by path.
fn beside(
    root: &ContentRoot,
    source: &SkillSource,
    warnings: &mut Vec<String>,
) -> Result<Vec<SkillFile>, SkillError> {
    let too_much = |what: String| SkillError::TooMuch {
        file: source.file.clone(),
        what,
    };
    let mut files = Vec::new();
    let mut total = 0_u64;
    let mut folders = vec![(String::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        if depth > MAX_DEPTH {
            return Err(too_much(format!("has folders more than {MAX_DEPTH} deep")));
        }
        for entry in root.list(&folder)? {
            let path = if folder.is_empty() {
                entry.name
            } else {
                format!("{folder}/{}", entry.name)
            };
            match entry.kind {
                ListedKind::Folder => folders.push((path, depth + 1)),
                ListedKind::Other => {
                    warnings.push(format!("`{path}` is a link, or is not a regular file: left out"))
                }
                ListedKind::File if path == SKILL_MD => {}
                ListedKind::File => {
                    if files.len() + 1 >= MAX_FILES {
                        return Err(too_much(format!("has more than {MAX_FILES} files")));
                    }
                    match root.read(&path) {
                        Ok(content) => {
                            total += content.bytes.len() as u64;
                            if total > MAX_BYTES {
                                return Err(too_much(format!("has more than {MAX_BYTES} bytes")));
                            }
                            files.push(SkillFile {
                                media_type: media::of(&path, &content.bytes),
                                sha256: content.sha256,
                                bytes: content.bytes,
                                path,
                            });
                        }
                        Err(error) => warnings.push(format!("{error}: left out")),
                    }
                }
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
#[path = "skills_tests.rs"]
pub(super) mod tests;
