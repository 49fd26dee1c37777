//! The OpenAPI 3.1 document of the API, generated from the handlers and types, and the parts that all endpoints share.

use serde_json::{Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};
use utoipa::{Modify, OpenApi as _};

use super::problem::{PROBLEM_JSON, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AI Infrastructure Hub",
        description = "MCP servers, skills, configs, plugins and hooks behind one address and one key. What a key \
                       may not see is absent, or not found. Errors are RFC 9457 problem documents.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Keys),
    security(("bearer" = []), ("api_key" = [])),
    tags(
        (name = "registry", description = "What is registered"),
        (name = "resources", description = "Skills and configs themselves"),
        (name = "hooks", description = "Run hooks, and look after their events"),
        (name = "management", description = "Health, logs and this description"),
    ),
    components(schemas(Problem)),
)]
struct Frame;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key of this hub"))
            .build();
        let header = ApiKey::Header(ApiKeyValue::with_description("X-API-Key", "A key of this hub"));
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
    }
}

/// The document without paths.
pub(super) fn frame() -> OpenApi {
    Frame::openapi()
}

/// The OpenAPI document as `GET /api/v1/openapi.json` answers it.
pub fn description() -> Value {
    let mut document = json!(super::routes().into_openapi());
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return document;
    };
    // axum writes a parameter that spans slashes as `{*path}`; OpenAPI knows only `{path}`.
    *paths = std::mem::take(paths)
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    let operations = paths
        .values_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(|item| item.values_mut());
    for responses in operations.filter_map(|operation| operation.get_mut("responses")?.as_object_mut()) {
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            // OpenAPI demands one; most say with their schema what they are.
            response
                .entry("description")
                .or_insert_with(|| "As asked for".into());
        }
        responses.insert(
            "default".into(),
            json!({
                "description": "What is wrong with the request",
                "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            }),
        );
    }
    document
}
