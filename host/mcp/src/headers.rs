//! The routing headers of 2026-07-28 (SEP-2243): `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` repeat what
//! the body says, so that a middle box need not read it. A server refuses a request where they differ.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{RawJson, RawObject, method, method::header};

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// The member of `params` that `Mcp-Name` repeats, for methods that have one.
pub fn name_member(method: &str) -> Option<&'static str> {
    match method {
        method::TOOLS_CALL | method::PROMPTS_GET => Some("name"),
        method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => Some("uri"),
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => Some("taskId"),
        _ => None,
    }
}

fn looks_wrapped(value: &str) -> bool {
    value.starts_with(PREFIX) && value.ends_with(SUFFIX)
}

/// A value as it can stand in a header: plain, or wrapped as Base64 when it holds what a header cannot.
pub fn encode(value: &str) -> String {
    let legal = value.bytes().all(|b| (0x20..=0x7e).contains(&b));
    let trimmed = !value.starts_with([' ', '\t']) && !value.ends_with([' ', '\t']);
    if legal && trimmed && !looks_wrapped(value) {
        value.to_owned()
    } else {
        format!("{PREFIX}{}{SUFFIX}", BASE64_STANDARD.encode(value))
    }
}

/// Reverses [`encode`]; `None` when the wrapping holds no Base64 of UTF-8.
pub fn decode(value: &str) -> Option<String> {
    match value.strip_prefix(PREFIX).and_then(|v| v.strip_suffix(SUFFIX)) {
        Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// The one value of `name`.
///
/// # Errors
/// When it stands twice or is not text.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(format!("{name} is given twice"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| format!("{name} holds illegal characters"))
}

/// Checks `Mcp-Method` and `Mcp-Name` of a modern request.
///
/// # Errors
/// What differs, in a sentence for the `-32020` error.
pub fn check(headers: &HeaderMap, method: &str, params: Option<&RawObject<'_>>) -> Result<(), String> {
    match single(headers, header::METHOD)? {
        None => return Err("the Mcp-Method header is missing".to_owned()),
        Some(value) if value != method => {
            return Err(format!("Mcp-Method says `{value}`, the body says `{method}`"));
        }
        Some(_) => {}
    }
    let Some(member) = name_member(method) else {
        return Ok(());
    };
    let Some(expected) = params.and_then(|p| p.str(member)) else {
        return Ok(());
    };
    let raw = single(headers, header::NAME)?.ok_or("the Mcp-Name header is missing")?;
    let said = decode(raw).ok_or("Mcp-Name holds invalid Base64")?;
    if said == expected {
        Ok(())
    } else {
        Err(format!("Mcp-Name says `{said}`, the body says `{expected}`"))
    }
}

/// The `Mcp-Param-*` headers among those of a request.
#[must_use]
pub fn params(headers: &HeaderMap) -> HeaderMap {
    let said = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(header::PARAM_PREFIX));
    let mut params = HeaderMap::new();
    for (name, value) in said {
        params.append(name.clone(), value.clone());
    }
    params
}

/// Checks the `Mcp-Param-*` headers of a `tools/call` against its arguments. `bindings` are the tool's.
///
/// # Errors
/// What differs, in a sentence for the `-32020` error.
pub fn check_params(headers: &HeaderMap, bindings: &[ParamHeader], arguments: &Value) -> Result<(), String> {
    for binding in bindings {
        let name = format!("{}{}", header::PARAM_PREFIX, binding.header.to_ascii_lowercase());
        let said = single(headers, &name)?;
        match (said, binding.value_in(arguments)) {
            (None, None) => {}
            (Some(_), None) => return Err(format!("{name} has no counterpart in the arguments")),
            (None, Some(_)) => return Err(format!("the {name} header is missing")),
            (Some(raw), Some(expected)) => {
                let said = decode(raw).ok_or_else(|| format!("{name} holds invalid Base64"))?;
                if said != expected {
                    return Err(format!("{name} says `{said}`, the arguments say `{expected}`"));
                }
            }
        }
    }
    Ok(())
}

/// An argument of a tool that is repeated in a header: `x-mcp-header` in the tool's input schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// The header's name behind `Mcp-Param-`.
    pub header: String,
    /// The property names from the arguments' root to the value.
    pub path: Vec<String>,
}

impl ParamHeader {
    /// The well-formed annotations of an input schema.
    pub fn of_schema(schema: &Value) -> Vec<Self> {
        fn walk(properties: Option<&Value>, path: &mut Vec<String>, out: &mut Vec<ParamHeader>) {
            let Some(Value::Object(properties)) = properties else {
                return;
            };
            if path.len() > 16 {
                return;
            }
            for (name, schema) in properties {
                path.push(name.clone());
                if let Some(header) = schema.get("x-mcp-header").and_then(Value::as_str)
                    && HeaderName::from_bytes(header.as_bytes()).is_ok()
                {
                    out.push(ParamHeader {
                        header: header.to_owned(),
                        path: path.clone(),
                    });
                }
                walk(schema.get("properties"), path, out);
                path.pop();
            }
        }
        let mut out = Vec::new();
        walk(schema.get("properties"), &mut Vec::new(), &mut out);
        out
    }

    fn value_in(&self, arguments: &Value) -> Option<String> {
        match self.path.iter().try_fold(arguments, |v, key| v.get(key))? {
            Value::String(s) => Some(s.clone()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Number(n) => Some(n.to_string()),
            _ => None,
        }
    }
}

/// The headers of a modern request to an upstream.
pub fn write(headers: &mut HeaderMap, method: &str, params: Option<&RawJson>, bindings: &[ParamHeader]) {
    if let Ok(value) = HeaderValue::from_str(method) {
        headers.insert(header::METHOD, value);
    }
    let Some(object) = params.and_then(|p| RawObject::parse(p).ok()) else {
        return;
    };
    if let Some(name) = name_member(method).and_then(|m| object.str(m))
        && let Ok(value) = HeaderValue::from_str(&encode(&name))
    {
        headers.insert(header::NAME, value);
    }
    if bindings.is_empty() {
        return;
    }
    let arguments: Value = object.read("arguments").unwrap_or_default();
    for binding in bindings {
        let name = HeaderName::from_bytes(format!("{}{}", header::PARAM_PREFIX, binding.header).as_bytes());
        let value = binding
            .value_in(&arguments)
            .and_then(|v| HeaderValue::from_str(&encode(&v)).ok());
        if let (Ok(name), Some(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn written_headers_pass_the_check() {
        let schema = json!({"properties": {"region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}}});
        let bindings = ParamHeader::of_schema(&schema);
        assert_eq!(bindings.len(), 2);
        let arguments = json!({"region": "zürich", "deep": {"n": 4}});
        let params = RawJson::of(&json!({"name": "tool ", "arguments": arguments}));
        let mut headers = HeaderMap::new();
        write(&mut headers, method::TOOLS_CALL, Some(&params), &bindings);
        let object = RawObject::parse(&params).unwrap();
        assert_eq!(check(&headers, method::TOOLS_CALL, Some(&object)), Ok(()));
        assert_eq!(check_params(&headers, &bindings, &arguments), Ok(()));
        assert!(check(&headers, method::PROMPTS_GET, Some(&object)).is_err());
        assert!(check_params(&headers, &bindings, &json!({"region": "x", "deep": {"n": 4}})).is_err());
        assert!(check_params(&headers, &bindings, &json!({"deep": {"n": 4}})).is_err());
    }

    proptest! {
        #[test]
        fn any_text_survives_a_header(text in ".{0,60}") {
            let encoded = encode(&text);
            prop_assert!(HeaderValue::from_str(&encoded).is_ok());
            prop_assert_eq!(decode(&encoded), Some(text));
        }
    }
}
