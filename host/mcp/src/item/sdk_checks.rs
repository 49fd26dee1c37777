//! What the official SDKs ask of a list, written down from their sources: the reference that the repair is tested with.
//!
//! TypeScript: `types.ts` of `@modelcontextprotocol/sdk` 1.32.2 (zod), which the legacy codec of `client` 2.4.0 has too,
//! and the modern codec of that. Python: the generated models of `mcp_types` 2.3.0 for both revisions (pydantic).

use serde_json::Value;

use super::ItemKind;

/// Whether clients of 2025-11-25 and before take an item.
pub(super) fn legacy(kind: ItemKind, item: &Value) -> bool {
    common(kind, item)
        && (kind != ItemKind::Tool || {
            let schema = |schema: &Value| {
                schema["type"] == "object"
                    && optional(schema, "properties", |properties| {
                        properties
                            .as_object()
                            .is_some_and(|p| p.values().all(Value::is_object))
                    })
                    && optional(schema, "required", list(Value::is_string))
                    && optional(schema, "$schema", Value::is_string)
            };
            schema(&item["inputSchema"]) && optional(item, "outputSchema", schema)
        })
}

/// Whether clients of 2026-07-28 take an item.
pub(super) fn modern(kind: ItemKind, item: &Value) -> bool {
    common(kind, item)
        && (kind != ItemKind::Tool || {
            item["inputSchema"]["type"] == "object"
                && optional(&item["inputSchema"], "$schema", Value::is_string)
                && optional(item, "outputSchema", |schema| {
                    schema.is_object() && optional(schema, "$schema", Value::is_string)
                })
        })
}

fn common(kind: ItemKind, item: &Value) -> bool {
    let text = |keys: &[&str]| keys.iter().all(|key| optional(item, key, Value::is_string));
    let icon = |icon: &Value| {
        icon["src"].is_string()
            && optional(icon, "mimeType", Value::is_string)
            && optional(icon, "sizes", list(Value::is_string))
            && optional(icon, "theme", |theme| theme == "light" || theme == "dark")
    };
    let base = item.is_object()
        && text(&["title", "description"])
        && item["name"].is_string()
        && optional(item, "icons", list(icon))
        && optional(item, "_meta", Value::is_object);
    base && match kind {
        ItemKind::Tool => {
            optional(item, "annotations", |hints| {
                hints.is_object()
                    && optional(hints, "title", Value::is_string)
                    && [
                        "readOnlyHint",
                        "destructiveHint",
                        "idempotentHint",
                        "openWorldHint",
                    ]
                    .iter()
                    .all(|hint| optional(hints, hint, Value::is_boolean))
            }) && optional(item, "execution", |execution| {
                execution.is_object()
                    && optional(execution, "taskSupport", |word| {
                        ["forbidden", "optional", "required"]
                            .iter()
                            .any(|known| word == known)
                    })
            })
        }
        ItemKind::Prompt => optional(
            item,
            "arguments",
            list(|argument: &Value| {
                argument["name"].is_string()
                    && optional(argument, "title", Value::is_string)
                    && optional(argument, "description", Value::is_string)
                    && optional(argument, "required", Value::is_boolean)
            }),
        ),
        ItemKind::Resource => {
            item["uri"].is_string()
                && text(&["mimeType"])
                && optional(item, "size", |size| {
                    size.as_f64().is_some_and(|n| n.fract() == 0.0)
                })
                && optional(item, "annotations", annotations)
        }
        ItemKind::Template => {
            item["uriTemplate"].is_string()
                && text(&["mimeType"])
                && optional(item, "annotations", annotations)
        }
    }
}

fn annotations(annotations: &Value) -> bool {
    annotations.is_object()
        && optional(
            annotations,
            "audience",
            list(|role: &Value| role == "user" || role == "assistant"),
        )
        && optional(annotations, "priority", |priority| {
            priority.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n))
        })
        // zod's expression is longer; the unit test of `text::is_time` has its cases.
        && optional(annotations, "lastModified", |time| {
            time.as_str().is_some_and(super::text::is_time)
        })
}

/// A member that is absent, or passes.
fn optional(object: &Value, key: &str, test: impl Fn(&Value) -> bool) -> bool {
    object.get(key).is_none_or(test)
}

fn list(test: impl Fn(&Value) -> bool) -> impl Fn(&Value) -> bool {
    move |value| value.as_array().is_some_and(|all| all.iter().all(&test))
}

/// Every schema within a compiled one, by the places where ajv looks: whether keywords have the types that it asks for.
pub(super) fn compiles(schema: &Value) -> bool {
    let Value::Object(members) = schema else {
        return schema.is_boolean();
    };
    const TYPES: [&str; 7] = [
        "object", "array", "string", "number", "integer", "boolean", "null",
    ];
    let word = |word: &Value| word.as_str().is_some_and(|word| TYPES.contains(&word));
    members.iter().all(|(key, value)| match key.as_str() {
        "type" => word(value) || value.as_array().is_some_and(|all| all.iter().all(word)),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "minLength"
        | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => value.is_number(),
        "uniqueItems" => value.is_boolean(),
        "nullable" => *value == true && schema.get("type").is_some(),
        "pattern" | "format" | "$ref" | "$id" => value.is_string(),
        "id" => false,
        "required" => value.is_array(),
        "enum" => value.as_array().is_some_and(|all| !all.is_empty()),
        "items" => match value.as_array() {
            Some(all) => all.iter().all(compiles),
            None => compiles(value),
        },
        "additionalProperties"
        | "additionalItems"
        | "propertyNames"
        | "contains"
        | "not"
        | "if"
        | "then"
        | "else" => compiles(value),
        "allOf" | "anyOf" | "oneOf" => value.as_array().is_some_and(|all| all.iter().all(compiles)),
        "properties" | "patternProperties" | "$defs" | "definitions" => {
            value.as_object().is_some_and(|all| all.values().all(compiles))
        }
        "dependencies" => value
            .as_object()
            .is_some_and(|all| all.values().all(|one| one.is_array() || compiles(one))),
        _ => true,
    })
}
