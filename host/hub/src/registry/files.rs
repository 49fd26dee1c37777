//! Skills and configs as a key may see them.

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{content::BuiltinContent, mcps::segment};
use crate::{access::Principal, catalogue::skills_mcp};

/// One skill.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillView {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for; may be empty.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its `file` in the configuration.
    pub file: String,
    /// Its resource URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One file of a folder skill, other than its `SKILL.md`.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillFileView {
    /// Its path in the skill's folder.
    pub path: String,
    /// Its resource URI.
    pub uri: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: usize,
}

/// A skill with its text.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SkillContent {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for; may be empty.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its resource URI.
    pub uri: String,
    /// The markdown as written, with its head.
    pub content: String,
    /// The files beside it.
    pub files: Vec<SkillFileView>,
}

/// One config.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ConfigView {
    /// Its key.
    pub name: String,
    /// Its `file` in the configuration.
    pub file: String,
    /// Its media type, with the charset of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Its resource URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The skills that `principal` may use, also those that could not be read.
pub fn skills(content: &BuiltinContent, principal: &Principal) -> Vec<SkillView> {
    let entries = content.skills.entries();
    entries
        .filter(|entry| may_skill(principal, &entry.source.name))
        .map(|entry| {
            let skill = entry.outcome.as_ref().ok();
            SkillView {
                name: entry.source.name.clone(),
                title: skill.and_then(|skill| skill.title.clone()),
                description: skill.map_or_else(
                    || entry.source.description.clone().unwrap_or_default(),
                    |skill| skill.description.clone(),
                ),
                tags: skill.map_or_else(|| entry.source.tags.clone(), |skill| skill.tags.clone()),
                file: entry.source.file.clone(),
                uri: skill.map(|skill| skills_mcp::manifest_uri(skill)),
                error: entry.outcome.as_ref().err().map(ToString::to_string),
            }
        })
        .collect()
}

/// Looks one thing up: nothing there and not allowed are the same `None`.
pub fn skill(
    content: &BuiltinContent,
    name: &str,
    principal: &Principal,
) -> Option<Result<SkillContent, String>> {
    let entry = content
        .skills
        .entry(name)
        .filter(|_| may_skill(principal, name))?;
    Some(match &entry.outcome {
        Err(error) => Err(error.to_string()),
        Ok(skill) => {
            let uri = skills_mcp::manifest_uri(skill);
            let folder = uri.rsplit_once('/').map_or("", |(folder, _)| folder);
            let files = skill.files.iter().map(|file| SkillFileView {
                uri: file
                    .path
                    .split('/')
                    .fold(folder.to_owned(), |uri, part| format!("{uri}/{}", segment(part))),
                path: file.path.clone(),
                media_type: file.media_type.to_owned(),
                size: file.bytes.len(),
            });
            Ok(SkillContent {
                name: skill.name.clone(),
                title: skill.title.clone(),
                description: skill.description.clone(),
                tags: skill.tags.clone(),
                content: skill.text.clone(),
                files: files.collect(),
                uri,
            })
        }
    })
}

/// The configs that `principal` may read, also those that could not be read from disk.
pub fn configs(content: &BuiltinContent, principal: &Principal) -> Vec<ConfigView> {
    let entries = content.configs.entries();
    entries
        .filter(|entry| may_config(principal, &entry.source.key))
        .map(|entry| {
            let config = entry.outcome.as_ref().ok();
            ConfigView {
                name: entry.source.key.clone(),
                file: entry.source.file.clone(),
                content_type: config.map(|config| config.content_type()),
                size: config.map(|config| config.bytes.len()),
                uri: config.map(|config| config.uri()),
                error: entry.outcome.as_ref().err().map(ToString::to_string),
            }
        })
        .collect()
}

/// Whether `principal` may use the skill called `name`.
pub fn may_skill(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("skills/{name}"))
}

/// Whether `principal` may read the config with the key `name`.
pub fn may_config(principal: &Principal, name: &str) -> bool {
    principal.permissions().allows(&format!("configs/{name}"))
}
