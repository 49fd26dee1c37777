//! What `#[tool]` makes of a function, and the schemas of its types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Error, IntoOutput, Output, Result,
    wit::types::{self, Call, Failure},
};

/// A tool: written by [`macro@crate::tool`] for a type that has the function's name.
pub trait Tool {
    /// The name without the plugin's.
    const NAME: &'static str;

    /// The tool as it is listed.
    fn describe() -> types::Tool;

    /// Runs it.
    fn call(call: Call) -> impl Future<Output = Result<Output>>;
}

#[expect(
    missing_docs,
    reason = "the comment would be in the schema of every tool that takes no arguments"
)]
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// The tool of the arguments `A` and the result `R`.
pub fn describe<A: JsonSchema, R: IntoOutput>(
    name: &str,
    title: Option<&str>,
    description: &str,
    hints: &[(&str, bool)],
) -> types::Tool {
    let hints: Map<String, Value> = hints
        .iter()
        .map(|(hint, value)| ((*hint).to_owned(), Value::Bool(*value)))
        .collect();
    types::Tool {
        name: name.to_owned(),
        title: title.map(str::to_owned),
        description: description.to_owned(),
        input_schema: schema_of_arguments::<A>().to_string(),
        output_schema: R::output_schema().map(|schema| schema.to_string()),
        annotations_json: (!hints.is_empty()).then(|| Value::Object(hints).to_string()),
        extras: Vec::new(),
    }
}

/// The arguments as their type.
///
/// # Errors
/// [`Error::invalid_arguments`], which says where.
pub fn arguments<A: DeserializeOwned>(json: &str) -> Result<A> {
    serde_json::from_str(json).map_err(Error::invalid_arguments)
}

/// What the hub gets for what a tool gave.
pub fn finish(result: Result<Output>) -> Result<types::Output, Failure> {
    result.or_else(Error::into_answer).map(Output::into_wit)
}

/// Makes a panic one line on stderr: what the hub shows of a component that crashed is the last one, and the
/// standard library ends with advice that helps nobody there.
pub fn panics_in_one_line() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        eprintln!("panicked at {place}: {message}");
    }));
}

/// There is no such tool.
pub fn unknown(call: Call) -> Failure {
    Failure::UnknownTool(call.tool)
}

/// MCP's default dialect, draft 2020-12, without the keys that say so and without the name of the Rust type.
fn schema_of_arguments<A: JsonSchema>() -> Value {
    let schema = settings()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<A>();
    let mut schema = schema.to_value();
    if let Value::Object(schema) = &mut schema {
        schema.remove("title");
        // An object it is, even where the type says nothing, as an enum without a tag does.
        schema.entry("type").or_insert_with(|| json!("object"));
        // Some clients want it, also where there are none.
        schema.entry("properties").or_insert_with(|| json!({}));
    }
    schema
}

/// The schema of what `Json` makes of `T`; none where the schema does not say whether that is an object.
pub(crate) fn schema_of_output<T: JsonSchema>() -> Option<Value> {
    let schema = settings()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>();
    let mut value = schema.to_value();
    let root = value.as_object_mut()?;
    root.remove("title");
    match root.get("type")?.as_str()? {
        "object" => Some(value),
        _ => {
            let definitions = root.remove("$defs");
            let mut wrapped = json!({
                "type": "object",
                "properties": {"result": value},
                "required": ["result"],
            });
            if let (Some(definitions), Some(wrapped)) = (definitions, wrapped.as_object_mut()) {
                wrapped.insert("$defs".to_owned(), definitions);
            }
            Some(wrapped)
        }
    }
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None)
}
