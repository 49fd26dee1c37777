//! The hub's own tools: their descriptions, and what they do.
//!
//! They show only what the caller's key may see. A wrong argument is a failure of the tool (`isError`) with a sentence
//! that a model can act on. It is never a protocol error.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    access::Principal,
    hooks::{FireError, Fired, Report},
    provider::Call,
    registry::{self, Inventory},
};

/// List the MCP servers.
pub(super) const LIST_MCPS: &str = "list_mcps";
/// List the skills.
const LIST_SKILLS: &str = "list_skills";
/// Read a skill.
const GET_SKILL: &str = "get_skill";
/// List the configs.
const LIST_CONFIGS: &str = "list_configs";
/// Read a config.
const GET_CONFIG: &str = "get_config";
/// Run a hook.
pub(super) const TRIGGER_HOOK: &str = "trigger_hook";
/// How everything is.
const HEALTH: &str = "health";

#[derive(Serialize, JsonSchema)]
struct Mcps {
    /// The MCP servers that this key may use.
    mcps: Vec<registry::McpView>,
}

#[derive(Serialize, JsonSchema)]
struct Skills {
    /// The skills that this key may use.
    skills: Vec<registry::SkillView>,
}

#[derive(Serialize, JsonSchema)]
struct Configs {
    /// The configs that this key may read.
    configs: Vec<registry::ConfigView>,
}

/// The elements of `tools` in `tools/list`, without the hub's namespace.
pub(super) fn list() -> Vec<Value> {
    let named = |what: &str| {
        object(
            json!({ "name": { "type": "string", "minLength": 1, "description": what } }),
            &["name"],
        )
    };
    let hook = json!({
        "name": { "type": "string", "minLength": 1, "description": "Name of the hook" },
        "payload": { "type": "object", "description": "Handed to the hook as it is" },
    });
    let nothing = || object(json!({}), &[]);
    vec![
        tool(
            LIST_MCPS,
            "List MCP servers",
            "Lists the MCP servers behind this hub that your key may use: whether each serves, its last error, \
             how many tools, prompts and resources it offers, and its own instructions. Their tools are called MCP__TOOL.",
            nothing(),
            output::<Mcps>(),
        ),
        tool(
            LIST_SKILLS,
            "List skills",
            "Lists the skills (instructions for recurring tasks) with description and tags. Look here first when \
             a task might have established instructions, then read one with get_skill.",
            nothing(),
            output::<Skills>(),
        ),
        tool(
            GET_SKILL,
            "Get a skill",
            "Returns the full instructions of one skill as markdown, and which files lie beside it. Follow them.",
            named("Name of the skill, as list_skills gives it"),
            None,
        ),
        tool(
            LIST_CONFIGS,
            "List configs",
            "Lists the configuration files (such as CLAUDE.md or .cursorrules) that this hub hands out.",
            nothing(),
            output::<Configs>(),
        ),
        tool(
            GET_CONFIG,
            "Get a config",
            "Returns the text of one configuration file.",
            named("Name of the config, as list_configs gives it"),
            None,
        ),
        tool(
            TRIGGER_HOOK,
            "Trigger a hook",
            "Runs one hook of this hub now, with an optional payload. What a hook does is up to its author.",
            object(hook, &["name"]),
            output::<Report>(),
        ),
        tool(
            HEALTH,
            "Hub health",
            "Tells how this hub and everything behind it that your key may see is: state and last error of each \
             MCP server, plugin and hook, version and uptime. Use it when a tool is missing or fails.",
            nothing(),
            output::<registry::Health>(),
        ),
    ]
}

/// A tool; one whose answer is a text has no `output`. Some clients show their model only `structuredContent` where a
/// result has it (seen with Claude Code 2.1 and Codex 0.171), and a text in it has every line break as `\\n`.
fn tool(name: &str, title: &str, description: &str, input: Value, output: Option<Value>) -> Value {
    let reads = name != TRIGGER_HOOK;
    let mut tool = json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": input,
        "annotations": {
            "title": title,
            "readOnlyHint": reads,
            "destructiveHint": !reads,
            "idempotentHint": reads,
            "openWorldHint": !reads,
        },
    });
    if let (Some(output), Some(fields)) = (output, tool.as_object_mut()) {
        fields.insert("outputSchema".to_owned(), output);
    }
    tool
}

fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Some(schema) = schema.as_object_mut()
        && !required.is_empty()
    {
        schema.insert("required".into(), json!(required));
    }
    schema
}

/// The schema of what `T` is written as: in one piece, its objects closed.
fn output<T: JsonSchema>() -> Option<Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
    }
    Some(schema)
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(schema) => {
            // Rust's own number formats (`uint64`) are unknown to validators, which complain.
            if schema
                .get("format")
                .is_some_and(|format| format.as_str().is_some_and(|f| f.starts_with("uint")))
            {
                schema.remove("format");
            }
            if schema.get("properties").is_some_and(Value::is_object) {
                schema.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            leave_out_null(schema);
            schema.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Takes `null` from members that need not be there: they are left out, and lists of types are more than some clients
/// convert.
fn leave_out_null(schema: &mut Map<String, Value>) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == name))
    };
    let Some(Value::Object(members)) = schema.get_mut("properties") else {
        return;
    };
    for (name, member) in members {
        let Some(Value::Array(types)) = member.get_mut("type").filter(|_| !is_required(name)) else {
            continue;
        };
        types.retain(|one| one != "null");
        if let [only] = &**types {
            let only = only.clone();
            if let Some(member) = member.as_object_mut() {
                member.insert("type".to_owned(), only);
            }
        }
    }
}

/// The result of `tools/call`, or `None` for a tool that the hub does not have.
pub(super) fn call(
    inventory: &Inventory,
    tool: &str,
    arguments: Option<Value>,
    principal: &Principal,
) -> Option<Value> {
    let takes: &[&str] = match tool {
        LIST_MCPS | LIST_SKILLS | LIST_CONFIGS | HEALTH => &[],
        GET_SKILL | GET_CONFIG => &["name"],
        _ => return None,
    };
    let outcome = arguments_of(tool, takes, arguments).and_then(|arguments| match tool {
        LIST_MCPS => Ok(listed(&Mcps {
            mcps: registry::mcps(&inventory.snapshot(), principal),
        })),
        LIST_SKILLS => Ok(listed(&Skills {
            skills: registry::skills(&inventory.content(), principal),
        })),
        LIST_CONFIGS => Ok(listed(&Configs {
            configs: registry::configs(&inventory.content(), principal),
        })),
        HEALTH => Ok(listed(&inventory.health(principal))),
        GET_SKILL => get_skill(inventory, &name_of(tool, &arguments)?, principal),
        _ => get_config(inventory, &name_of(tool, &arguments)?, principal),
    });
    Some(outcome.unwrap_or_else(|sentence| failed(&sentence)))
}

fn failed(sentence: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": sentence }], "isError": true })
}

/// The arguments of a call, or what is wrong with them.
fn arguments_of(tool: &str, takes: &[&str], given: Option<Value>) -> Result<Map<String, Value>, String> {
    let arguments = match given {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(format!("the arguments of `{tool}` must be an object")),
    };
    match arguments.keys().find(|key| !takes.contains(&key.as_str())) {
        None => Ok(arguments),
        Some(key) if takes.is_empty() => Err(format!("`{tool}` takes no arguments, but got `{}`", cut(key))),
        Some(key) => Err(format!(
            "`{tool}` has no argument `{}`; it takes `{}`",
            cut(key),
            takes.join("`, `")
        )),
    }
}

fn name_of(tool: &str, arguments: &Map<String, Value>) -> Result<String, String> {
    match arguments.get("name") {
        Some(Value::String(name)) if !name.is_empty() => Ok(name.clone()),
        Some(_) => Err(format!("`name` of `{tool}` must be a text that is not empty")),
        None => Err(format!("`{tool}` needs the argument `name`")),
    }
}

/// What the caller wrote, short enough to be repeated.
fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A result whose text is the structured content itself.
fn listed<T: Serialize>(structured: &T) -> Value {
    let structured = json!(structured);
    result(structured.to_string(), structured)
}

fn result(text: String, structured: Value) -> Value {
    json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": structured,
        "isError": false,
    })
}

fn get_skill(inventory: &Inventory, name: &str, principal: &Principal) -> Result<Value, String> {
    match registry::skill(&inventory.content(), name, principal) {
        None => Err(format!(
            "no such skill `{}`; `list_skills` names those there are",
            cut(name)
        )),
        Some(Err(error)) => Err(format!("skill `{}` cannot be read: {error}", cut(name))),
        Some(Ok(skill)) => {
            let mut texts = vec![skill.content];
            if !skill.files.is_empty() {
                let files: Vec<&str> = skill.files.iter().map(|file| &*file.uri).collect();
                texts.push(format!("Files of this skill: {}", files.join(", ")));
            }
            Ok(texts_of(&texts))
        }
    }
}

/// A result of texts alone.
fn texts_of(texts: &[String]) -> Value {
    let blocks: Vec<Value> = texts
        .iter()
        .map(|text| json!({ "type": "text", "text": text }))
        .collect();
    json!({ "content": blocks, "isError": false })
}

fn get_config(inventory: &Inventory, name: &str, principal: &Principal) -> Result<Value, String> {
    let content = inventory.content();
    let entry = content
        .configs
        .entry(name)
        .filter(|_| registry::may_config(principal, name))
        .ok_or_else(|| {
            format!(
                "no such config `{}`; `list_configs` names those there are",
                cut(name)
            )
        })?;
    let config = entry
        .outcome
        .as_ref()
        .map_err(|error| format!("config `{}` cannot be read: {error}", cut(name)))?;
    Ok(match config.text() {
        Some(text) => texts_of(&[text.to_owned()]),
        None => json!({
            "content": [{
                "type": "resource",
                "resource": {
                    "uri": config.uri(),
                    "mimeType": config.media_type,
                    "blob": BASE64_STANDARD.encode(&config.bytes),
                },
            }],
            "isError": false,
        }),
    })
}

/// `trigger_hook`: the result of `tools/call`.
pub(super) async fn trigger(inventory: &Inventory, arguments: Option<Value>, call: &Call) -> Value {
    match fire(inventory, arguments, call).await {
        Ok(result) => result,
        Err(sentence) => failed(&sentence),
    }
}

async fn fire(inventory: &Inventory, arguments: Option<Value>, call: &Call) -> Result<Value, String> {
    let arguments = arguments_of(TRIGGER_HOOK, &["name", "payload"], arguments)?;
    let name = name_of(TRIGGER_HOOK, &arguments)?;
    let empty = Map::new();
    let payload = match arguments.get("payload") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(payload)) => payload,
        Some(_) => return Err("`payload` of `trigger_hook` must be an object".to_owned()),
    };
    let unknown = || format!("no such hook `{}`", cut(&name));
    if !registry::may_hook(&call.client.principal, &name) {
        return Err(unknown());
    }
    let fired = inventory.hooks().fire(&name, payload, call.again()).await;
    let fired = fired.map_err(|error| match error {
        FireError::Unknown => unknown(),
        error => format!("hook `{}` was not run: {error}", cut(&name)),
    })?;
    match &fired {
        Fired::Answered(report) | Fired::Queued(report) => Ok(listed(report)),
        Fired::Failed(report) => {
            let error = report.error.as_deref().unwrap_or_default();
            let mut result = failed(&format!("hook `{}` failed: {error}", cut(&name)));
            if let Some(result) = result.as_object_mut() {
                result.insert("structuredContent".to_owned(), json!(report));
            }
            Ok(result)
        }
    }
}
