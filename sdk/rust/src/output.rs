//! What a tool gives back.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Error, Result,
    tool::schema_of_output,
    wit::types::{self, Blob},
};

/// A whole result of a tool: content for the model, structured content for programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What the model sees, in order.
    pub content: Vec<Content>,
    /// MCP's `structuredContent`. Clients expect an object.
    pub structured: Option<Value>,
    /// The tool ran and failed: the model sees the content as an error. Returning an [`Error`] sets it too.
    pub is_error: bool,
    /// The result's `_meta`.
    pub meta: Option<serde_json::Map<String, Value>>,
}

impl Output {
    /// Content that says that the tool failed.
    pub fn failed(content: impl IntoIterator<Item = Content>) -> Self {
        Self {
            content: content.into_iter().collect(),
            is_error: true,
            ..Self::default()
        }
    }

    pub(crate) fn into_wit(self) -> types::Output {
        let meta = self
            .meta
            .map(|meta| ("meta".to_owned(), Value::Object(meta).to_string()));
        types::Output {
            content: self.content.into_iter().map(|content| content.0).collect(),
            structured_json: self.structured.map(|value| value.to_string()),
            is_error: self.is_error,
            extras: meta.into_iter().collect(),
        }
    }
}

/// One block of content.
#[derive(Clone, Debug, PartialEq)]
pub struct Content(types::Content);

impl Content {
    /// Text for the model.
    pub fn text(text: impl Into<String>) -> Self {
        Self(types::Content::Text(text.into()))
    }

    /// An image: its bytes as they are in the file, and its MIME type, such as `image/png`.
    pub fn image(mime_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self(types::Content::Image(Blob {
            mime_type: mime_type.into(),
            data: data.into(),
        }))
    }

    /// Sound: its bytes as they are in the file, and its MIME type, such as `audio/wav`.
    pub fn audio(mime_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self(types::Content::Audio(Blob {
            mime_type: mime_type.into(),
            data: data.into(),
        }))
    }

    /// A text with an address of its own (MCP's embedded resource).
    pub fn resource(uri: impl AsRef<str>, mime_type: impl AsRef<str>, text: impl AsRef<str>) -> Self {
        let block = json!({
            "type": "resource",
            "resource": {"uri": uri.as_ref(), "mimeType": mime_type.as_ref(), "text": text.as_ref()},
        });
        Self(types::Content::ResourceJson(block.to_string()))
    }

    /// An address that the client can read by itself (MCP's resource link).
    pub fn resource_link(uri: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let block = json!({"type": "resource_link", "uri": uri.as_ref(), "name": name.as_ref()});
        Self(types::Content::ResourceJson(block.to_string()))
    }

    /// Any other content block of MCP, as it is in the protocol.
    pub fn other(block: &Value) -> Self {
        Self(types::Content::Other(block.to_string()))
    }

    /// The block as the contract has it.
    pub fn as_wit(&self) -> &types::Content {
        &self.0
    }
}

impl From<types::Content> for Content {
    fn from(content: types::Content) -> Self {
        Self(content)
    }
}

/// A structured result: it goes out as `structuredContent`, as JSON text for models and clients that read text
/// alone, and its schema becomes the tool's output schema.
///
/// MCP wants an object, so another value goes out as `{"result": value}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Json<T>(pub T);

/// What a tool may return.
pub trait IntoOutput {
    /// The schema of the structured content, if there is any.
    fn output_schema() -> Option<Value> {
        None
    }

    /// The result.
    ///
    /// # Errors
    /// What the tool answered is an error, or cannot be written as JSON.
    fn into_output(self) -> Result<Output>;
}

impl IntoOutput for Output {
    fn into_output(self) -> Result<Output> {
        Ok(self)
    }
}

impl IntoOutput for () {
    fn into_output(self) -> Result<Output> {
        Ok(Output::default())
    }
}

impl IntoOutput for String {
    fn into_output(self) -> Result<Output> {
        Content::text(self).into_output()
    }
}

impl IntoOutput for &'static str {
    fn into_output(self) -> Result<Output> {
        Content::text(self).into_output()
    }
}

impl IntoOutput for Content {
    fn into_output(self) -> Result<Output> {
        vec![self].into_output()
    }
}

impl IntoOutput for Vec<Content> {
    fn into_output(self) -> Result<Output> {
        Ok(Output {
            content: self,
            ..Output::default()
        })
    }
}

impl<T: Serialize + JsonSchema> IntoOutput for Json<T> {
    fn output_schema() -> Option<Value> {
        schema_of_output::<T>()
    }

    fn into_output(self) -> Result<Output> {
        let value = serde_json::to_value(self.0)
            .map_err(|error| Error::internal(format!("the result cannot be written as JSON: {error}")))?;
        Ok(Output {
            content: vec![Content::text(value.to_string())],
            structured: Some(match value {
                Value::Object(_) => value,
                other => json!({"result": other}),
            }),
            ..Output::default()
        })
    }
}

impl<T: IntoOutput, E: Into<Error>> IntoOutput for Result<T, E> {
    fn output_schema() -> Option<Value> {
        T::output_schema()
    }

    fn into_output(self) -> Result<Output> {
        self.map_err(Into::into)?.into_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_content_is_an_object_and_text() {
        let output = Json(vec![1, 2]).into_output().unwrap();
        assert_eq!(output.structured, Some(json!({"result": [1, 2]})));
        assert_eq!(output.content, [Content::text("[1,2]")]);
        let schema = Json::<Vec<u8>>::output_schema().unwrap();
        assert_eq!(schema["properties"]["result"]["type"], "array");
        assert_eq!(schema["required"], json!(["result"]));
    }

    #[test]
    fn meta_travels_in_the_extras() {
        let output = Output {
            meta: Some(serde_json::Map::from_iter([("a".to_owned(), json!(1))])),
            ..Output::default()
        };
        assert_eq!(
            output.into_wit().extras,
            [("meta".to_owned(), r#"{"a":1}"#.to_owned())]
        );
    }
}
