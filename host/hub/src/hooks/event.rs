//! The events that hooks get: one envelope, and a payload for each trigger.
//!
//! Later versions may add members to a payload. A member keeps its meaning. [`VERSION`] changes if that is not
//! possible. The id is not part of what this module writes: an event gets its id when it is stored, and each delivery
//! adds it in front ([`with_id`]).

use std::collections::BTreeMap;

use aih_mcp::{Era, ErrorObject, RawJson, RawObject};
use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::truncate;
use crate::{
    config,
    provider::{Client, Trail},
};

/// The version of the envelope.
pub const VERSION: u32 = 1;

/// An event that hooks can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[expect(
    missing_docs,
    reason = "the words of the configuration; docs/hooks.md says when each one happens"
)]
pub enum Trigger {
    #[serde(rename = "conversation.start")]
    ConversationStart,
    #[serde(rename = "conversation.end")]
    ConversationEnd,
    #[serde(rename = "tool.before")]
    ToolBefore,
    #[serde(rename = "tool.after")]
    ToolAfter,
    #[serde(rename = "tool.error")]
    ToolError,
    #[serde(rename = "resource.read")]
    ResourceRead,
    #[serde(rename = "prompt.get")]
    PromptGet,
    #[serde(rename = "list.tools")]
    ListTools,
    #[serde(rename = "auth.failure")]
    AuthFailure,
    #[serde(rename = "upstream.up")]
    UpstreamUp,
    #[serde(rename = "upstream.down")]
    UpstreamDown,
    #[serde(rename = "config.reloaded")]
    ConfigReloaded,
    #[serde(rename = "config.rejected")]
    ConfigRejected,
    #[serde(rename = "schedule")]
    Schedule,
    #[serde(rename = "http")]
    Http,
    #[serde(rename = "manual")]
    Manual,
}

impl Trigger {
    /// All of them, in the order of [`config::TRIGGERS`].
    pub const ALL: [Self; 16] = [
        Self::ConversationStart,
        Self::ConversationEnd,
        Self::ToolBefore,
        Self::ToolAfter,
        Self::ToolError,
        Self::ResourceRead,
        Self::PromptGet,
        Self::ListTools,
        Self::AuthFailure,
        Self::UpstreamUp,
        Self::UpstreamDown,
        Self::ConfigReloaded,
        Self::ConfigRejected,
        Self::Schedule,
        Self::Http,
        Self::Manual,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in [`Trigger::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        config::TRIGGERS.get(self.index()).copied().unwrap_or_default()
    }

    /// Reads the word of the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }

    /// Whether the event waits for its hooks where the configuration says nothing.
    pub fn blocks_by_default(self) -> bool {
        self != Self::ToolError && config::can_block(self.as_str())
    }
}

/// Whom and where an event concerns: the part of the envelope that does not depend on the trigger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventFacts<'a> {
    /// The hub's name in the configuration.
    pub(crate) hub: &'a str,
    /// The name of the key that calls.
    pub(crate) principal: Option<&'a str>,
    /// The client that calls.
    pub(crate) client: Option<&'a Client>,
    /// The hooks that the event comes from.
    pub(crate) trail: Option<&'a Trail>,
}

/// What every event has.
#[derive(Serialize, JsonSchema)]
struct Envelope<'a, P> {
    /// The version of this form.
    version: u32,
    /// What happened.
    trigger: Trigger,
    /// When it happened, RFC 3339 in UTC.
    at: String,
    /// What the hub calls itself.
    hub: &'a str,
    /// The name of the API key that calls; absent where nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    /// The client that calls; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ClientView<'a>>,
    /// The hooks that the event comes from, outermost first; absent where none did it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trail: Vec<&'a str>,
    #[serde(flatten)]
    payload: P,
}

/// An MCP client.
#[derive(Serialize, JsonSchema)]
struct ClientView<'a> {
    /// Its `clientInfo` as it sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    info: Option<&'a RawJson>,
    /// The revision of MCP that it speaks.
    protocol: &'static str,
    /// `legacy` with a session, `modern` without.
    era: EraName,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum EraName {
    Legacy,
    Modern,
}

/// `tool.before`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ToolBefore<'a> {
    /// The MCP or plugin; `aih` for the hub's own tools.
    pub(crate) server: &'a str,
    /// The tool, as its server calls it.
    pub(crate) tool: &'a str,
    /// The arguments.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) arguments: &'a RawJson,
}

/// `tool.after`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ToolAfter<'a> {
    /// The MCP or plugin.
    pub(crate) server: &'a str,
    /// The tool, as its server calls it.
    pub(crate) tool: &'a str,
    /// The arguments that the tool got.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) arguments: &'a RawJson,
    /// MCP's `CallToolResult`; with `isError` where the tool failed.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) result: &'a RawJson,
}

/// `tool.error`: has `error` or `result`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ToolError<'a> {
    /// The MCP or plugin.
    pub(crate) server: &'a str,
    /// The tool, as its server calls it.
    pub(crate) tool: &'a str,
    /// The arguments that the tool got.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) arguments: &'a RawJson,
    /// The JSON-RPC error: the call did not get through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorView<'a>>,
    /// A `CallToolResult` with `isError`: the tool itself failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub(crate) result: Option<&'a RawJson>,
}

/// A JSON-RPC error.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ErrorView<'a> {
    /// What kind.
    code: i64,
    /// One sentence.
    message: &'a str,
    /// More.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawJson>,
}

impl<'a> ErrorView<'a> {
    pub(crate) fn of(error: &'a ErrorObject) -> Self {
        Self {
            code: error.code.0,
            message: &error.message,
            data: error.data.as_ref(),
        }
    }
}

/// `resource.read`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ResourceRead<'a> {
    /// The MCP or plugin.
    pub(crate) server: &'a str,
    /// The resource, as its server calls it.
    pub(crate) uri: &'a str,
}

/// `prompt.get`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PromptGet<'a> {
    /// The MCP or plugin.
    pub(crate) server: &'a str,
    /// The prompt, as its server calls it.
    pub(crate) prompt: &'a str,
    /// The arguments.
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) arguments: &'a RawJson,
}

/// `list.tools`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ListTools<'a> {
    /// The one server of the endpoint `/mcp/{name}`; absent on `/mcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<&'a str>,
    /// What would be listed.
    pub(crate) tools: Vec<ListedTool<'a>>,
}

/// A tool of `list.tools`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ListedTool<'a> {
    /// The name that the client would see.
    pub(crate) name: &'a str,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<&'a str>,
}

/// `conversation.start`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConversationStart<'a> {
    /// Names the conversation; the same in its `conversation.end`. No credential.
    pub(crate) session: &'a str,
}

/// `conversation.end`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConversationEnd<'a> {
    /// Names the conversation.
    pub(crate) session: &'a str,
    /// Milliseconds since it began. For a client without a session the end is noticed after its silence.
    pub(crate) duration_ms: u64,
}

/// `auth.failure`. Never holds what was presented.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuthFailure<'a> {
    /// Why the request was refused.
    pub(crate) reason: &'a str,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The path, without its query.
    pub(crate) path: &'a str,
    /// How many refusals were left out before this one, because they came too fast.
    pub(crate) suppressed: u64,
}

/// `upstream.up` and `upstream.down`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Upstream<'a> {
    /// The MCP or plugin.
    pub(crate) server: &'a str,
    /// `mcp` or `plugin`.
    pub(crate) kind: crate::provider::ProviderKind,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
}

/// `config.reloaded`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConfigReloaded {
    /// The file.
    pub(crate) path: String,
}

/// `config.rejected`: the old configuration stays.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConfigRejected {
    /// The file.
    pub(crate) path: String,
    /// What is wrong, with line and column.
    pub(crate) problems: Vec<String>,
}

/// `schedule`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Scheduled {
    /// The time that the expression named, RFC 3339.
    pub(crate) scheduled_for: String,
}

/// `http`: a webhook whose signature was right. Has `body` or `body_base64`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Http<'a> {
    /// The HTTP method.
    pub(crate) method: &'a str,
    /// The query, as it was sent.
    pub(crate) query: &'a str,
    /// The headers in lower case, without those that carry credentials.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<&'a str>,
    /// The body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_base64: Option<String>,
}

/// `manual`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Manual<'a> {
    /// What was handed over; `{}` for nothing.
    pub(crate) payload: &'a Map<String, Value>,
    /// The name of the key that triggered it; `cli` for `aih hook run`.
    pub(crate) by: &'a str,
}

/// Writes an event, without its id.
///
/// # Errors
/// Something in it is not JSON; texts that came over the wire were checked before.
pub(crate) fn write<P: Serialize>(
    trigger: Trigger,
    facts: EventFacts<'_>,
    payload: &P,
) -> Result<RawJson, serde_json::Error> {
    let client = facts.client.map(|client| ClientView {
        info: client.info.as_ref(),
        protocol: client.version.as_str(),
        era: match client.era() {
            Era::Legacy => EraName::Legacy,
            Era::Modern => EraName::Modern,
        },
    });
    let text = serde_json::to_vec(&Envelope {
        version: VERSION,
        trigger,
        at: now(),
        hub: facts.hub,
        principal: facts.principal,
        client,
        trail: facts.trail.into_iter().flat_map(Trail::names).collect(),
        payload,
    })?;
    Ok(RawJson::trusted(text))
}

/// The hooks that a stored event comes from.
pub(crate) fn trail(event: &RawJson) -> Trail {
    let names = RawObject::parse(event)
        .ok()
        .and_then(|event| event.read::<Vec<String>>("trail"));
    names.unwrap_or_default().into_iter().collect()
}

/// The event as the hook gets it: one copy.
pub(crate) fn with_id(event: &RawJson, id: &str) -> String {
    let (text, id) = (event.text(), RawJson::of(id));
    // An event is an object and is not empty: `write` made it.
    let members = text.strip_prefix('{').unwrap_or("}");
    let parts: [&str; 4] = ["{\"id\":", &id.text(), ",", members];
    parts.concat()
}

/// The time of an event: milliseconds are enough to put events in order.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond())
        .unwrap_or(now)
        .to_string()
}

/// The JSON Schema of every trigger's event, by trigger, and the version: what `GET /api/v1/hooks/schema` serves.
pub fn schemas() -> Value {
    let all: Map<String, Value> = Trigger::ALL
        .into_iter()
        .map(|trigger| (trigger.as_str().to_owned(), schema(trigger)))
        .collect();
    json!({ "version": VERSION, "triggers": all })
}

fn schema(trigger: Trigger) -> Value {
    match trigger {
        Trigger::ConversationStart => schema_of::<ConversationStart<'_>>(trigger),
        Trigger::ConversationEnd => schema_of::<ConversationEnd<'_>>(trigger),
        Trigger::ToolBefore => schema_of::<ToolBefore<'_>>(trigger),
        Trigger::ToolAfter => schema_of::<ToolAfter<'_>>(trigger),
        Trigger::ToolError => schema_of::<ToolError<'_>>(trigger),
        Trigger::ResourceRead => schema_of::<ResourceRead<'_>>(trigger),
        Trigger::PromptGet => schema_of::<PromptGet<'_>>(trigger),
        Trigger::ListTools => schema_of::<ListTools<'_>>(trigger),
        Trigger::AuthFailure => schema_of::<AuthFailure<'_>>(trigger),
        Trigger::UpstreamUp | Trigger::UpstreamDown => schema_of::<Upstream<'_>>(trigger),
        Trigger::ConfigReloaded => schema_of::<ConfigReloaded>(trigger),
        Trigger::ConfigRejected => schema_of::<ConfigRejected>(trigger),
        Trigger::Schedule => schema_of::<Scheduled>(trigger),
        Trigger::Http => schema_of::<Http<'_>>(trigger),
        Trigger::Manual => schema_of::<Manual<'_>>(trigger),
    }
}

fn schema_of<P: JsonSchema>(trigger: Trigger) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
    });
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<Envelope<'_, P>>().to_value();
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    object.insert("title".to_owned(), trigger.as_str().into());
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("trigger".to_owned(), json!({ "const": trigger.as_str() }));
        properties.insert(
            "id".to_owned(),
            json!({
                "type": "string",
                "description": "Names the event; the same when a background event is tried again.",
            }),
        );
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(truncate::schema());
    }
    if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
        required.insert(0, "id".into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_those_of_the_configuration() {
        for (index, trigger) in Trigger::ALL.into_iter().enumerate() {
            assert_eq!(trigger.index(), index);
            assert_eq!(Trigger::parse(trigger.as_str()), Some(trigger));
            assert_eq!(json!(trigger), json!(config::TRIGGERS[index]));
        }
        assert_eq!(config::TRIGGERS.len(), Trigger::COUNT);
    }

    #[test]
    fn what_is_written_fits_what_is_published() {
        let arguments = RawJson::of(&json!({ "n": 1 }));
        let behind = Trail::default().with(&"first".into());
        let facts = EventFacts {
            hub: "h",
            principal: Some("k"),
            client: None,
            trail: Some(&behind),
        };
        let event = write(
            Trigger::ToolAfter,
            facts,
            &ToolAfter {
                server: "s",
                tool: "t",
                arguments: &arguments,
                result: &RawJson::of(&json!({ "content": [] })),
            },
        )
        .unwrap();
        assert!(!trail(&event).lets_run("first") && trail(&event).lets_run("other"));
        let event: Value = serde_json::from_str(&with_id(&event, "x\"y")).unwrap();
        assert_eq!(event["trail"], json!(["first"]));
        assert_eq!(event["id"], "x\"y");
        assert_eq!(event["trigger"], "tool.after");
        assert_eq!(event["arguments"], json!({ "n": 1 }));
        let schemas = schemas();
        let schema = &schemas["triggers"]["tool.after"];
        let validator = jsonschema::validator_for(schema).unwrap();
        assert!(validator.is_valid(&event), "{schema:#}");
        let other = jsonschema::validator_for(&schemas["triggers"]["manual"]).unwrap();
        assert!(!other.is_valid(&event));
    }

    #[test]
    fn every_schema_is_one_and_wants_the_envelope() {
        let schemas = schemas();
        for trigger in Trigger::ALL {
            let schema = &schemas["triggers"][trigger.as_str()];
            jsonschema::validator_for(schema).unwrap();
            let required: Vec<&str> = schema["required"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            for member in ["id", "version", "trigger", "at", "hub"] {
                assert!(required.contains(&member), "{trigger:?} {member}");
            }
        }
    }
}
