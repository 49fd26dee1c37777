//! `GET /api/v1/skills/{name}`, its files, and `GET /api/v1/configs/{name}`.
//!
//! A name is looked up among those that are configured and is never part of a path on disk.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    ApiState,
    problem::{Path, Problem, Query},
    respond,
};
use crate::{access::Caller, catalogue::media, names::SKILL_MD, registry};

/// How a skill is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// The text as written.
    Markdown,
    /// Metadata, text and the list of files.
    Json,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SkillQuery {
    /// How the skill is wanted; without it `Accept` decides, and markdown is the default.
    #[param(inline)]
    format: Option<Format>,
}

/// A skill: its markdown, or with `format=json` everything about it.
#[utoipa::path(
    get,
    path = "/api/v1/skills/{name}",
    tag = "resources",
    params(("name" = String, Path, description = "Name of the skill"), SkillQuery),
    responses((status = 200, content(
        (String = "text/markdown"),
        (registry::SkillContent = "application/json"),
    )))
)]
pub(super) async fn skill(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    Query(query): Query<SkillQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let content = state.inventory.content();
    let entry = content
        .skills
        .entry(&name)
        .filter(|_| registry::may_skill(&who, &name))
        .ok_or_else(|| Problem::none("skill", &name))?;
    let skill = entry.outcome.as_ref().map_err(unreadable)?;
    let json = match query.format {
        Some(format) => format == Format::Json,
        None => respond::prefers_json(&headers),
    };
    if json && let Some(Ok(all)) = registry::skill(&content, &name, &who) {
        return respond::document(&headers, &all);
    }
    let text = Bytes::copy_from_slice(skill.text.as_bytes());
    let content_type = media::content_type(media::MARKDOWN);
    Ok(respond::entity(&headers, &content_type, &skill.etag(), text))
}

/// A file of a folder skill.
#[utoipa::path(
    get,
    path = "/api/v1/skills/{name}/files/{*path}",
    tag = "resources",
    params(
        ("name" = String, Path, description = "Name of the skill"),
        ("path" = String, Path, description = "Path of the file in the skill's folder, with slashes"),
    ),
    responses((status = 200, body = String, content_type = "application/octet-stream"))
)]
pub(super) async fn skill_file(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path((name, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let content = state.inventory.content();
    let entry = content
        .skills
        .entry(&name)
        .filter(|_| registry::may_skill(&who, &name))
        .ok_or_else(|| Problem::none("skill", &name))?;
    let skill = entry.outcome.as_ref().map_err(unreadable)?;
    if let Some(file) = skill.file_at(&path) {
        let etag = format!("\"{}\"", file.sha256);
        let content_type = media::content_type(file.media_type);
        return Ok(respond::entity(
            &headers,
            &content_type,
            &etag,
            file.bytes.clone(),
        ));
    }
    if path == SKILL_MD {
        let text = Bytes::copy_from_slice(skill.text.as_bytes());
        let content_type = media::content_type(media::MARKDOWN);
        return Ok(respond::entity(&headers, &content_type, &skill.etag(), text));
    }
    Err(Problem::none("file", &path))
}

/// A config: the file as it is.
#[utoipa::path(
    get,
    path = "/api/v1/configs/{name}",
    tag = "resources",
    params(("name" = String, Path, description = "Key of the config")),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn config(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let content = state.inventory.content();
    let entry = content
        .configs
        .entry(&name)
        .filter(|_| registry::may_config(&who, &name))
        .ok_or_else(|| Problem::none("config", &name))?;
    let config = entry.outcome.as_ref().map_err(unreadable)?;
    Ok(respond::entity(
        &headers,
        &config.content_type(),
        &config.etag(),
        config.bytes.clone(),
    ))
}

fn unreadable(error: &impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("is configured, but {error}"),
    )
}
