//! JSON Schemas that a plugin wrote, compiled and used at a bounded cost.
//!
//! A schema is like a program: a few lines with references that fork take very long to compile or to check, and a
//! cycle of references overflows the stack. Both would happen in the hub, outside of any sandbox. So this module
//! counts the schemas that a schema expands to before it compiles it, and counts the steps that a check takes at most
//! before it checks a value. It refuses what takes too many.

use jsonschema::PatternOptions;
use serde_json::{Map, Value};

/// Subschemas of one schema, with every reference unfolded once.
const UNFOLDED: u64 = 100_000;
/// Steps of one check.
const STEPS: u64 = 2_000_000;
/// Steps of a check that takes well under a millisecond.
const FEW_STEPS: u64 = 10_000;
/// How deep subschemas and references may lie in each other, in a schema and in one check.
const DEPTH: usize = 256;
/// Steps back that one match of a pattern may take.
const BACKTRACKS: usize = 10_000;
/// What a pattern costs, besides the length of the text.
const PATTERN: u64 = 50;
/// Bytes of what is said of one problem: it may quote the value.
const PROBLEM: usize = 300;

/// A schema that is ready to check values.
pub(crate) struct Schema {
    document: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// It is none, or one that this hub does not use: what is wrong.
    pub(crate) fn compile(document: Value) -> Result<Self, String> {
        SchemaExpansion::new(&document).schema(&document, 0)?;
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS))
            .build(&document)
            .map_err(|error| format!("is not a JSON Schema: {}", short(&error.to_string())))?;
        Ok(Self { document, validator })
    }

    /// What is wrong with a value, the first thing, without a word of the value.
    pub(crate) fn masked_problem(&self, value: &Value) -> Option<String> {
        if let Err(why) = self.affordable(value, STEPS) {
            return Some(why);
        }
        let error = self.validator.validate(value).err()?;
        let path = error.instance_path().to_string();
        Some(format!("at `{path}`: {}", error.masked()))
    }

    fn affordable(&self, value: &Value, steps: u64) -> Result<(), String> {
        let mut steps = ValidationCost {
            root: &self.document,
            left: steps,
        };
        steps.schema(&self.document, value, 1, 0)
    }

    /// Whether a check of this value takes well under a millisecond.
    pub(crate) fn is_quick(&self, value: &Value) -> bool {
        self.affordable(value, FEW_STEPS).is_ok()
    }

    /// What is wrong with a value, the first three things.
    pub(crate) fn problems(&self, value: &Value) -> Option<String> {
        if let Err(why) = self.affordable(value, STEPS) {
            return Some(why);
        }
        if self.validator.is_valid(value) {
            return None;
        }
        let found: Vec<String> = self
            .validator
            .iter_errors(value)
            .take(3)
            .map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => short(&error.to_string()),
                path => short(&format!("{path}: {error}")),
            })
            .collect();
        Some(found.join("; "))
    }
}

fn short(text: &str) -> String {
    if text.len() <= PROBLEM {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(PROBLEM);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// Keywords whose value is a schema for the same value.
const SAME: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is a list of schemas for the same value.
const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value maps names to schemas for the same value.
const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Keywords whose value is a schema, or a list of them, for what lies in the value.
const INNER: [&str; 9] = [
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "items",
    "additionalItems",
    "prefixItems",
    "contains",
    "unevaluatedItems",
    "contentSchema",
];
/// Keywords whose value maps names to schemas for what lies in the value, or to schemas that are referred to.
const INNER_MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Keywords whose value refers to a schema.
const REFERENCES: [&str; 3] = ["$ref", "$recursiveRef", "$dynamicRef"];

/// What a keyword's value holds: itself, or the schemas of its list.
fn schemas(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        one => std::slice::from_ref(one),
    }
}

/// Where a reference leads to: into the document itself, by a JSON pointer.
fn target<'a>(root: &'a Value, reference: &Value) -> Result<&'a Value, String> {
    let wrong = || {
        let shown = short(&reference.to_string());
        format!(
            "is not a JSON Schema that this hub can use: it refers to {shown}, and the hub follows only `#` and `#/…`"
        )
    };
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
    let pointer = pointer.ok_or_else(wrong)?;
    let pointer = percent_encoding::percent_decode_str(pointer)
        .decode_utf8()
        .map_err(|_| wrong())?;
    root.pointer(&pointer).ok_or_else(wrong)
}

/// Walks through a schema as its compiler does.
struct SchemaExpansion<'a> {
    root: &'a Value,
    left: u64,
    /// Whether `id` has the meaning of `$id`.
    old: bool,
    /// The references that are being followed.
    within: Vec<*const Value>,
}

impl<'a> SchemaExpansion<'a> {
    fn new(root: &'a Value) -> Self {
        let dialect = root.get("$schema").and_then(Value::as_str);
        Self {
            root,
            left: UNFOLDED,
            old: dialect.is_some_and(|dialect| dialect.contains("draft-04")),
            within: Vec::new(),
        }
    }

    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!("is too large: it holds more than {UNFOLDED} schemas with all that it refers to")
        })?;
        if depth > DEPTH {
            return Err(format!("is nested more than {DEPTH} schemas deep"));
        }
        let Value::Object(schema) = schema else {
            return Ok(());
        };
        let renamed = schema.contains_key("$id") || (self.old && schema.contains_key("id"));
        if depth > 0 && renamed {
            return Err(
                "is not a JSON Schema that this hub can use: a part of it has an `$id` of its own".to_owned(),
            );
        }
        for keyword in REFERENCES {
            let Some(reference) = schema.get(keyword) else {
                continue;
            };
            let to = target(self.root, reference)?;
            // A circle is compiled once.
            if !self.within.contains(&std::ptr::from_ref(to)) {
                self.within.push(to);
                self.schema(to, depth + 1)?;
                self.within.pop();
            }
        }
        for keyword in SAME.iter().chain(&SAME_LISTS).chain(&INNER) {
            for inner in schema.get(*keyword).map(schemas).unwrap_or_default() {
                self.schema(inner, depth + 1)?;
            }
        }
        for keyword in SAME_MAPS.iter().chain(&INNER_MAPS) {
            if let Some(Value::Object(map)) = schema.get(*keyword) {
                for inner in map.values() {
                    self.schema(inner, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Walks through a schema and a value together, as a check of the value would at the most.
struct ValidationCost<'a> {
    root: &'a Value,
    left: u64,
}

impl<'a> ValidationCost<'a> {
    fn take(&mut self, steps: u64) -> Result<(), String> {
        self.left = self
            .left
            .checked_sub(steps)
            .ok_or_else(|| format!("checking it against its schema would take more than {STEPS} steps"))?;
        Ok(())
    }

    /// `weight` is how often this schema is used on this value.
    fn schema(&mut self, schema: &'a Value, value: &Value, weight: u64, depth: usize) -> Result<(), String> {
        let Value::Object(schema) = schema else {
            return self.take(weight);
        };
        if depth > DEPTH {
            return Err(format!(
                "checking it against its schema would go more than {DEPTH} schemas deep"
            ));
        }
        let length = match value {
            Value::String(text) => text.len() as u64 / 64,
            _ => 0,
        };
        let mut cost = 1 + length;
        if schema.contains_key("pattern") && value.is_string() {
            cost += PATTERN + length * 8;
        }
        for keyword in ["enum", "const"] {
            if let Some(values) = schema.get(keyword) {
                cost += count(values);
            }
        }
        self.take(weight.saturating_mul(cost))?;
        // What was evaluated is found out anew for each member that may not have been.
        let mut weight = weight;
        let members = match value {
            Value::Object(members) => members.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if schema.contains_key("unevaluatedProperties") || schema.contains_key("unevaluatedItems") {
            weight = weight.saturating_mul(members as u64 + 1);
        }
        for keyword in REFERENCES {
            if let Some(reference) = schema.get(keyword) {
                let to = target(self.root, reference)?;
                self.schema(to, value, weight, depth + 1)?;
            }
        }
        for keyword in SAME.iter().chain(&SAME_LISTS) {
            for inner in schema.get(*keyword).map(schemas).unwrap_or_default() {
                self.schema(inner, value, weight, depth + 1)?;
            }
        }
        for keyword in SAME_MAPS {
            if let Some(Value::Object(map)) = schema.get(keyword) {
                for inner in map.values() {
                    self.schema(inner, value, weight, depth + 1)?;
                }
            }
        }
        match value {
            Value::Object(members) => self.members(schema, members, weight, depth + 1),
            Value::Array(items) => self.items(schema, items, weight, depth + 1),
            _ => Ok(()),
        }
    }

    fn members(
        &mut self,
        schema: &'a Map<String, Value>,
        members: &Map<String, Value>,
        weight: u64,
        depth: usize,
    ) -> Result<(), String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let name = Value::String(String::new());
        for (key, member) in members {
            let known = properties.and_then(|properties| properties.get(key));
            if let Some(inner) = known {
                self.schema(inner, member, weight, depth)?;
            }
            for inner in patterns.into_iter().flat_map(Map::values) {
                let cost = PATTERN + key.len() as u64 / 8;
                self.take(weight.saturating_mul(cost))?;
                self.schema(inner, member, weight, depth)?;
            }
            if let Some(inner) = schema.get("propertyNames") {
                self.take(weight.saturating_mul(key.len() as u64 / 8))?;
                self.schema(inner, &name, weight, depth)?;
            }
            for keyword in ["additionalProperties", "unevaluatedProperties"] {
                if let (Some(inner), None) = (schema.get(keyword), known) {
                    self.schema(inner, member, weight, depth)?;
                }
            }
        }
        Ok(())
    }

    fn items(
        &mut self,
        schema: &'a Map<String, Value>,
        items: &[Value],
        weight: u64,
        depth: usize,
    ) -> Result<(), String> {
        let places = ["prefixItems", "items"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword)?.as_array());
        for list in places {
            for (inner, item) in list.iter().zip(items) {
                self.schema(inner, item, weight, depth)?;
            }
        }
        let all = ["items", "additionalItems", "contains", "unevaluatedItems"];
        for inner in all.into_iter().filter_map(|keyword| schema.get(keyword)) {
            if inner.is_array() {
                continue;
            }
            for item in items {
                self.schema(inner, item, weight, depth)?;
            }
        }
        if schema.contains_key("uniqueItems") {
            for item in items {
                self.take(weight.saturating_mul(count(item)))?;
            }
        }
        Ok(())
    }
}

/// How many values a value holds, itself included.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<u64>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `depth` definitions, each of which refers twice to the next one by `keyword`.
    fn forks(depth: usize, fork: impl Fn(Value) -> Value) -> Value {
        let mut defs = Map::new();
        for n in 0..depth {
            let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
            defs.insert(format!("d{n}"), fork(next));
        }
        defs.insert(format!("d{depth}"), json!({ "type": "string" }));
        json!({ "type": "object", "properties": { "x": { "$ref": "#/$defs/d0" } }, "$defs": defs })
    }

    fn refused(schema: Value) -> String {
        Schema::compile(schema).err().unwrap()
    }

    #[test]
    fn schemas_as_toolkits_write_them_are_used() {
        let tree = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": { "tree": { "$ref": "#/$defs/Tree" }, "name": { "type": "string", "pattern": "^a" } },
            "required": ["tree"], "additionalProperties": false,
            "$defs": { "Tree": { "anyOf": [
                { "type": "null" },
                { "type": "object", "properties": {
                    "left": { "$ref": "#/$defs/Tree" }, "right": { "$ref": "#/$defs/Tree" },
                } },
            ] } },
        });
        let schema = Schema::compile(tree).unwrap();
        assert_eq!(
            schema.problems(&json!({ "tree": { "left": { "right": null } } })),
            None
        );
        let problem = schema.problems(&json!({ "tree": { "left": 7 } })).unwrap();
        assert!(problem.contains("/tree"), "{problem}");
        assert!(schema.problems(&json!({ "tree": null, "name": "b" })).is_some());
        let mut deep = json!(null);
        for _ in 0..60 {
            deep = json!({ "left": deep });
        }
        assert_eq!(schema.problems(&json!({ "tree": deep })), None);
    }

    #[test]
    fn references_that_fork_are_not_compiled() {
        let forked = forks(40, |next| json!({ "anyOf": [next.clone(), next] }));
        assert!(refused(forked).contains("too large"));
        let members = forks(
            40,
            |next| json!({ "properties": { "a": next.clone(), "b": next } }),
        );
        assert!(refused(members).contains("too large"));
        assert!(refused(forks(5_000, |next| next)).contains("schemas deep"));
    }

    #[test]
    fn circles_are_not_checked() {
        let circle = json!({ "type": "object", "allOf": [{ "$ref": "#" }] });
        if let Ok(schema) = Schema::compile(circle) {
            assert!(schema.problems(&json!({})).unwrap().contains("deep"));
        }
        let forked = json!({
            "type": "object",
            "anyOf": [
                { "properties": { "x": { "$ref": "#" } }, "required": ["y"] },
                { "properties": { "x": { "$ref": "#" } }, "required": ["z"] },
            ],
        });
        let schema = Schema::compile(forked).unwrap();
        let mut deep = json!({});
        for _ in 0..50 {
            deep = json!({ "x": deep });
        }
        assert!(schema.problems(&deep).unwrap().contains("steps"));
    }

    #[test]
    fn patterns_and_lists_cost_what_they_take() {
        let pattern = json!({ "type": "object", "properties": {
            "x": { "items": { "type": "string", "pattern": "^(?=(a+)+$)b" } },
        } });
        let schema = Schema::compile(pattern).unwrap();
        assert!(
            schema
                .problems(&json!({ "x": vec!["a".repeat(30); 100_000] }))
                .is_some()
        );
        let words: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        let listed = json!({ "type": "object", "properties": { "x": { "items": { "enum": words } } } });
        let schema = Schema::compile(listed).unwrap();
        assert!(
            schema
                .problems(&json!({ "x": vec!["no"; 100] }))
                .unwrap()
                .contains("steps")
        );
        let long = schema.problems(&json!({ "x": ["n".repeat(1 << 20)] })).unwrap();
        assert!(long.len() < 1_000, "{} bytes", long.len());
    }

    #[test]
    fn what_is_not_in_the_schema_is_not_referred_to() {
        for reference in [
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "#anchor",
            "#/nothing",
            "other.json",
        ] {
            let schema = json!({ "type": "object", "properties": { "x": { "$ref": reference } } });
            assert!(refused(schema).contains("refers to"), "{reference}");
        }
        let renamed =
            json!({ "type": "object", "properties": { "x": { "$id": "http://a/", "type": "string" } } });
        assert!(refused(renamed).contains("$id"));
        assert!(refused(json!({ "type": "nothing" })).contains("not a JSON Schema"));
    }
}
