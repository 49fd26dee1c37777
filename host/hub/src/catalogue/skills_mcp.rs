//! What an MCP client sees of skills: the extension `io.modelcontextprotocol/skills` (SEP-2640), the
//! `skill://` resources it is served through, and a prompt for each skill.
//!
//! Every function takes a filter over skill names and never answers about a skill that it refuses: `None`
//! is the same for what is not there and what may not be seen. The caller turns `None` into the protocol's
//! error: `-32602` for `skills/get`, `resources/directory/read` and `prompts/get`; for `resources/read`
//! `-32602` from 2026-07-28 on and `-32002` before. Results are in the shape that all revisions share; for
//! 2026-07-28 the caller adds [`with_cache_hints`].
//!
//! URIs are `skill://aih/{name}/{path}`: the hub's own namespace comes first, as an upstream's does in the
//! URIs of its skills, so a skill called like an upstream cannot be mistaken for that upstream's.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{
    configs::{PERMISSION, annotations, contents},
    media,
    skills::{Skill, SkillSet, encode_segment},
};
use crate::names::{BUILTIN, SKILL_MD};

/// The extension's key in `capabilities.extensions`.
pub const EXTENSION: &str = "io.modelcontextprotocol/skills";

/// The scheme of skill resources, with its `://`.
pub const SCHEME: &str = "skill://";

/// Name of the one argument of a skill's prompt: what the user wants done with it.
pub const PROMPT_ARGUMENT: &str = "request";

/// The settings to declare under [`EXTENSION`]. A server that declares them must also declare `resources`.
pub fn capability() -> Value {
    json!({ "directoryRead": true })
}

/// `result` with what revision 2026-07-28 wants on every list and read result. What a skill list holds
/// depends on the key, so the scope is private. `ttl_ms` is in milliseconds.
#[must_use]
pub fn with_cache_hints(mut result: Value, ttl_ms: u64) -> Value {
    if let Some(object) = result.as_object_mut() {
        object.insert("resultType".into(), "complete".into());
        object.insert("ttlMs".into(), ttl_ms.into());
        object.insert("cacheScope".into(), "private".into());
    }
    result
}

/// The elements of `skills` in `skills/list`, by name. Skills whose name the extension does not allow are
/// left out ([`Skill::has_standard_name`]).
pub fn entries(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> Vec<Value> {
    standard(skills, allowed).map(entry).collect()
}

/// The result of `skills/list`, on one page.
pub fn list(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> Value {
    json!({ "skills": entries(skills, allowed) })
}

/// The result of `skills/get` for the URI of a `SKILL.md`.
pub fn get(skills: &SkillSet, uri: &str, allowed: impl Fn(&str) -> bool) -> Option<Value> {
    let skill = standard(skills, allowed).find(|skill| manifest_uri(skill) == uri)?;
    Some(json!({ "skill": entry(skill) }))
}

/// The elements of `resources` in `resources/list`: the `SKILL.md` of every skill. The files beside it are
/// reached through [`read_directory`] and the manifest.
pub fn resources(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> Vec<Value> {
    visible(skills, allowed).map(manifest_resource).collect()
}

/// The result of `resources/read` for a file of a skill.
pub fn read(skills: &SkillSet, uri: &str, allowed: impl Fn(&str) -> bool) -> Option<Value> {
    let (name, path) = match SkillLocation::parse(uri)? {
        SkillLocation::Below(name, path) => (name, path),
        SkillLocation::Root => return None,
    };
    let skill = skills.get(&name).filter(|skill| allowed(&skill.name))?;
    let content = if path == SKILL_MD {
        contents(uri, media::MARKDOWN, skill.manifest.text.as_bytes())
    } else {
        let file = skill.file_at(&path)?;
        contents(uri, file.media_type, &file.bytes)
    };
    Some(json!({ "contents": [content] }))
}

/// The result of `resources/directory/read`: the direct children of a folder of a skill, of a skill, or of
/// `skill://aih` (all skills). `None` also for a file.
pub fn read_directory(skills: &SkillSet, uri: &str, allowed: impl Fn(&str) -> bool) -> Option<Value> {
    let children = match SkillLocation::parse(uri)? {
        SkillLocation::Root => visible(skills, allowed)
            .map(|skill| folder(&skill_uri(skill), &skill.name))
            .collect(),
        SkillLocation::Below(name, path) => {
            let skill = skills.get(&name).filter(|skill| allowed(&skill.name))?;
            children(skill, path.trim_end_matches('/'))?
        }
    };
    Some(json!({ "resources": children }))
}

/// The elements of `prompts` in `prompts/list`, each under the skill's own name; the catalogue puts the hub's
/// namespace in front.
pub fn prompts(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> Vec<Value> {
    visible(skills, allowed)
        .map(|skill| {
            let mut prompt = Map::new();
            prompt.insert("name".into(), skill.name.as_str().into());
            titled(&mut prompt, skill, &skill.description);
            let argument = json!({
                "name": PROMPT_ARGUMENT,
                "description": "What to do with this skill",
                "required": false,
            });
            prompt.insert("arguments".into(), json!([argument]));
            prompt.insert(
                "_meta".into(),
                json!({ PERMISSION: permission(skill), "aih/tags": skill.tags }),
            );
            Value::Object(prompt)
        })
        .collect()
}

/// The result of `prompts/get` for the skill called `name`: its instructions, where its files are, and the `request` if the
/// user made one.
pub fn prompt(
    skills: &SkillSet,
    name: &str,
    request: Option<&str>,
    allowed: impl Fn(&str) -> bool,
) -> Option<Value> {
    let skill = skills.get(name).filter(|skill| allowed(&skill.name))?;
    let mut text = skill.body.trim().to_owned();
    if !skill.files.is_empty() {
        text.push_str("\n\nFiles of this skill, readable as MCP resources:\n");
        for file in &skill.files {
            text.push_str(&format!("- {}: {}\n", file.path, file_uri(skill, &file.path)));
        }
    }
    if let Some(request) = request.map(str::trim).filter(|request| !request.is_empty()) {
        text.push_str("\n\n");
        text.push_str(request);
    }
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    Some(json!({ "description": skill.description, "messages": [message] }))
}

/// The URI of a skill's `SKILL.md`.
pub fn manifest_uri(skill: &Skill) -> String {
    file_uri(skill, SKILL_MD)
}

fn permission(skill: &Skill) -> String {
    format!("skills/{}", skill.name)
}

fn skill_uri(skill: &Skill) -> String {
    format!("{SCHEME}{BUILTIN}/{}", encode_segment(&skill.name))
}

fn file_uri(skill: &Skill, path: &str) -> String {
    let mut uri = skill_uri(skill);
    for segment in path.split('/') {
        uri.push('/');
        uri.push_str(&encode_segment(segment));
    }
    uri
}

/// What a URI of ours points at, decoded: any spelling of the escapes finds the same file.
enum SkillLocation {
    Root,
    Below(String, String),
}

impl SkillLocation {
    fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix(SCHEME)?.strip_prefix(BUILTIN)?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Root);
        }
        let rest = rest.strip_prefix('/')?;
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        Some(Self::Below(decode(name)?, decode(path)?))
    }
}

fn visible(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> impl Iterator<Item = &Skill> {
    skills
        .readable()
        .map(AsRef::as_ref)
        .filter(move |skill| allowed(&skill.name))
}

fn standard(skills: &SkillSet, allowed: impl Fn(&str) -> bool) -> impl Iterator<Item = &Skill> {
    visible(skills, allowed).filter(|skill| skill.has_standard_name())
}

fn entry(skill: &Skill) -> Value {
    let uri = manifest_uri(skill);
    let triple = |uri: &str, sha256: &str, size: usize| json!({ "uri": uri, "digest": format!("sha256:{sha256}"), "size": size });
    let mut files = vec![triple(&uri, &skill.manifest.sha256, skill.manifest.text.len())];
    let beside = skill.files.iter();
    files.extend(beside.map(|file| triple(&file_uri(skill, &file.path), &file.sha256, file.bytes.len())));
    json!({ "uri": uri, "frontmatter": skill.manifest.front_matter, "resources": files })
}

fn titled(object: &mut Map<String, Value>, skill: &Skill, description: &str) {
    if let Some(title) = &skill.title {
        object.insert("title".into(), title.as_str().into());
    }
    if !description.is_empty() {
        object.insert("description".into(), description.into());
    }
}

fn manifest_resource(skill: &Skill) -> Value {
    let mut out = Map::new();
    out.insert("uri".into(), manifest_uri(skill).into());
    out.insert("name".into(), skill.name.as_str().into());
    // The extension wants the description of the head, which may differ from the configuration's.
    let description = skill
        .manifest
        .front_matter
        .get("description")
        .and_then(Value::as_str);
    titled(&mut out, skill, description.unwrap_or_default());
    out.insert("mimeType".into(), media::MARKDOWN.into());
    out.insert("size".into(), skill.manifest.text.len().into());
    out.insert("annotations".into(), annotations(0.5, skill.modified));
    out.insert("_meta".into(), json!({ PERMISSION: permission(skill) }));
    Value::Object(out)
}

fn folder(uri: &str, name: &str) -> Value {
    json!({ "uri": uri, "name": name, "mimeType": media::DIRECTORY })
}

/// The direct children of the folder `path` (`""` is the skill itself), or `None` if it is not a folder.
fn children(skill: &Skill, path: &str) -> Option<Vec<Value>> {
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    let mut found = BTreeMap::new();
    for file in &skill.files {
        let Some(rest) = file.path.strip_prefix(&prefix) else {
            continue;
        };
        let (name, child) = match rest.split_once('/') {
            Some((name, _)) => (name, folder(&file_uri(skill, &format!("{prefix}{name}")), name)),
            None => (
                rest,
                json!({
                    "uri": file_uri(skill, &file.path),
                    "name": rest,
                    "mimeType": file.media_type,
                    "size": file.bytes.len(),
                }),
            ),
        };
        found.insert(name.to_owned(), child);
    }
    if path.is_empty() {
        found.insert(SKILL_MD.to_owned(), manifest_resource(skill));
    }
    (!found.is_empty()).then(|| found.into_values().collect())
}

#[cfg(test)]
#[path = "skills_mcp_tests.rs"]
mod tests;
