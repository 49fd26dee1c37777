//! The JSON Schemas of tools: what their keywords must be.
//!
//! The SDKs ask that the schema of arguments is an object schema whose properties are objects. The TypeScript SDK also
//! compiles every `outputSchema` of a list when it reads the list (with ajv, for draft-07), and loses the list when one
//! cannot be compiled. So keywords with a value of a wrong type go, at every depth; for what else ajv refuses see
//! [`ecma`] and [`refs`].
//!
//! Two changes are not repairs, since the schema stays the same: `true` and `false` as schemas become `{}` and
//! `{"not":{}}`, which clients of 2025-11-25 and most converters ask for, and the schema of arguments gets `properties`.
//! Neither counts as a problem.

use serde_json::{Value, value::RawValue};

use super::{
    Path, Problems, ecma, refs,
    shape::{Fix, is_flag, is_object, is_text, number},
};
use crate::{RawJson, RawObject, object::Edit};

/// What a keyword must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    /// A schema.
    Schema,
    /// A schema, where `true` and `false` are what everybody writes and takes.
    OpenOrClosed,
    /// A schema, or a list of them.
    SchemaOrList,
    /// A list of schemas.
    Schemas,
    /// An object of schemas.
    Map,
    /// An object of schemas and of lists of names.
    Dependencies,
    /// An object.
    Table,
    Text,
    Number,
    /// A number; `true` or `false` in draft-04.
    Bound,
    Flag,
    /// A list of strings.
    Names,
    /// A list that is not empty.
    Values,
    /// One of the seven types, or a list of them.
    Type,
}

/// The keyword called `name`; `None` for one that is not checked.
pub(super) fn keyword(name: &str) -> Option<Keyword> {
    Some(match name {
        "contains" | "propertyNames" | "not" | "if" | "then" | "else" | "contentSchema" => Keyword::Schema,
        "additionalProperties" | "unevaluatedProperties" | "additionalItems" | "unevaluatedItems" => {
            Keyword::OpenOrClosed
        }
        "items" => Keyword::SchemaOrList,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Keyword::Schemas,
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => Keyword::Map,
        "dependencies" => Keyword::Dependencies,
        "dependentRequired" => Keyword::Table,
        "$schema" | "$id" | "$ref" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$comment" | "title"
        | "description" | "pattern" | "format" | "contentEncoding" | "contentMediaType" => Keyword::Text,
        "minimum" | "maximum" | "multipleOf" | "minLength" | "maxLength" | "minItems" | "maxItems"
        | "minContains" | "maxContains" | "minProperties" | "maxProperties" => Keyword::Number,
        "exclusiveMinimum" | "exclusiveMaximum" => Keyword::Bound,
        "uniqueItems" | "nullable" | "readOnly" | "writeOnly" | "deprecated" => Keyword::Flag,
        "required" => Keyword::Names,
        "enum" => Keyword::Values,
        "type" => Keyword::Type,
        _ => return None,
    })
}

const TYPES: [&str; 7] = [
    "object", "array", "string", "number", "integer", "boolean", "null",
];

/// The schema of a tool's arguments: an object schema, with `properties`.
pub(super) fn input(value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let fixed = match Check::new(problems, None).schema(value, at, Keyword::Schema) {
        Fix::Keep => RawJson::of(value),
        Fix::Set(json) => json,
        Fix::Remove | Fix::Refuse => return Fix::Remove,
    };
    let (Ok(mut object), Ok(before)) = (
        RawObject::parse(&fixed),
        serde_json::from_str::<RawObject<'_>>(value.get()),
    ) else {
        problems.note(at, "is not an object");
        return Fix::Remove;
    };
    match object.read::<Value>("type") {
        Some(Value::String(word)) if word == "object" => {}
        Some(Value::String(_)) => return refuse(at, problems),
        Some(Value::Array(words)) if !words.iter().any(|word| word == "object") => {
            return refuse(at, problems);
        }
        listed => {
            if listed.is_some() {
                problems.note(at.to("type"), "is not `object`");
            } else if before.get("type").is_none() {
                problems.note(at.to("type"), "is missing");
            }
            object.set("type", &RawJson::of("object"));
        }
    }
    if object.get("properties").is_none() {
        object.set("properties", &RawJson::EMPTY_OBJECT);
    }
    match same(&before, &object) {
        true => Fix::Keep,
        false => Fix::Set(object.to_json()),
    }
}

/// Whether two objects have the same members, written in the same way.
fn same(a: &RawObject<'_>, b: &RawObject<'_>) -> bool {
    let of = |(key, value): (&str, &RawValue)| (key.to_owned(), value.get().to_owned());
    a.iter().map(of).eq(b.iter().map(of))
}

fn refuse(at: Path<'_>, problems: &mut Problems) -> Fix {
    *problems = Problems::default();
    problems.note(at.to("type"), "is not `object`, as that of arguments must be");
    Fix::Refuse
}

/// The schema of a tool's structured result: any schema that is an object and that clients can compile.
pub(super) fn output(value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    if !is_object(value) {
        problems.note(at, "is not an object");
        return Fix::Remove;
    }
    let document = serde_json::from_str(value.get()).unwrap_or_default();
    Check::new(problems, Some(refs::Document::new(&document))).schema(value, at, Keyword::Schema)
}

/// One check of a schema.
pub(super) struct Check<'c> {
    problems: &'c mut Problems,
    /// The whole schema, where clients compile it.
    compiled: Option<refs::Document<'c>>,
}

impl<'c> Check<'c> {
    pub(super) fn new(problems: &'c mut Problems, compiled: Option<refs::Document<'c>>) -> Self {
        Self { problems, compiled }
    }

    /// A value in the place of a schema. `place` says whether `true` and `false` stay.
    pub(super) fn schema(&mut self, value: &RawValue, at: Path<'_>, place: Keyword) -> Fix {
        match value.get() {
            "true" | "false" if place == Keyword::OpenOrClosed => Fix::Keep,
            "true" => Fix::Set(RawJson::EMPTY_OBJECT),
            "false" => Fix::Set(RawJson::trusted(&br#"{"not":{}}"#[..])),
            _ => self.object(value, at),
        }
    }

    fn object(&mut self, value: &RawValue, at: Path<'_>) -> Fix {
        let Ok(mut object) = serde_json::from_str::<RawObject<'_>>(value.get()) else {
            self.problems.note(at, "is not a schema");
            return Fix::Remove;
        };
        let siblings = object.clone();
        let changed = object.edit(|key, value| {
            let fix = match keyword(key) {
                Some(kind) => self.keyword(kind, value, at.to(key)),
                None => Fix::Keep,
            };
            match fix {
                Fix::Keep => match self.refused_by_compilers(key, value, &siblings) {
                    Some(why) => {
                        self.problems.note(at.to(key), why);
                        Edit::Remove
                    }
                    None => Edit::Keep,
                },
                Fix::Set(json) => Edit::Set(json),
                Fix::Remove | Fix::Refuse => Edit::Remove,
            }
        });
        match changed {
            true => Fix::Set(object.to_json()),
            false => Fix::Keep,
        }
    }

    fn keyword(&mut self, kind: Keyword, value: &RawValue, at: Path<'_>) -> Fix {
        let (good, expected) = match kind {
            Keyword::Schema | Keyword::OpenOrClosed => return self.schema(value, at, kind),
            Keyword::SchemaOrList if !value.get().starts_with('[') => return self.schema(value, at, kind),
            Keyword::SchemaOrList | Keyword::Schemas => return self.schemas(value, at),
            Keyword::Map | Keyword::Dependencies => return self.map(kind, value, at),
            Keyword::Type => return self.types(value, at),
            Keyword::Names => return self.names(value, at),
            Keyword::Table => (is_object(value), "is not an object"),
            Keyword::Text => (is_text(value), "is not a text"),
            Keyword::Number => (number(value).is_some(), "is not a number"),
            Keyword::Bound => (number(value).is_some() || is_flag(value), "is not a number"),
            Keyword::Flag => (is_flag(value), "is not `true` or `false`"),
            Keyword::Values => (
                serde_json::from_str::<Vec<&RawValue>>(value.get()).is_ok_and(|values| !values.is_empty()),
                "is not a list of values",
            ),
        };
        if good {
            return Fix::Keep;
        }
        self.problems.note(at, expected);
        Fix::Remove
    }

    /// A list of schemas. What is not a schema in it becomes one that takes everything, so that nothing is refused
    /// that was not before.
    fn schemas(&mut self, value: &RawValue, at: Path<'_>) -> Fix {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            self.problems.note(at, "is not a list of schemas");
            return Fix::Remove;
        };
        let mut changed = false;
        let mut all = Vec::with_capacity(elements.len());
        for (i, element) in elements.into_iter().enumerate() {
            match self.schema(element, at.to(&i.to_string()), Keyword::Schemas) {
                Fix::Keep => all.push(RawJson::of(element)),
                Fix::Set(json) => {
                    changed = true;
                    all.push(json);
                }
                Fix::Remove | Fix::Refuse => {
                    changed = true;
                    all.push(RawJson::EMPTY_OBJECT);
                }
            }
        }
        match changed {
            true => Fix::Set(RawJson::of(&all)),
            false => Fix::Keep,
        }
    }

    /// Schemas by name. What is not a schema becomes one that takes everything: its name may be required.
    fn map(&mut self, kind: Keyword, value: &RawValue, at: Path<'_>) -> Fix {
        let Ok(mut object) = serde_json::from_str::<RawObject<'_>>(value.get()) else {
            self.problems.note(at, "is not an object of schemas");
            return Fix::Remove;
        };
        let patterns = at.name == "patternProperties" && self.compiled.is_some();
        let changed = object.edit(|name, value| {
            if patterns && !ecma::compiles(name) {
                self.problems
                    .note(at.to(name), "is not a pattern that clients can read");
                return Edit::Remove;
            }
            if kind == Keyword::Dependencies && value.get().starts_with('[') {
                return match self.names(value, at.to(name)) {
                    Fix::Set(json) => Edit::Set(json),
                    Fix::Keep => Edit::Keep,
                    Fix::Remove | Fix::Refuse => Edit::Remove,
                };
            }
            match self.schema(value, at.to(name), kind) {
                Fix::Keep => Edit::Keep,
                Fix::Set(json) => Edit::Set(json),
                Fix::Remove | Fix::Refuse => Edit::Set(RawJson::EMPTY_OBJECT),
            }
        });
        match changed {
            true => Fix::Set(object.to_json()),
            false => Fix::Keep,
        }
    }

    /// `type`. Capital letters are made small: some converters write `OBJECT`.
    fn types(&mut self, value: &RawValue, at: Path<'_>) -> Fix {
        let known = |word: &Value| {
            let word = word.as_str()?;
            TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(word))
        };
        let given: Value = serde_json::from_str(value.get()).unwrap_or_default();
        let fixed = match &given {
            Value::Array(words) => {
                let words: Vec<&str> = words.iter().filter_map(known).collect();
                (!words.is_empty()).then(|| serde_json::json!(words))
            }
            word => known(word).map(Value::from),
        };
        if fixed.as_ref() == Some(&given) {
            return Fix::Keep;
        }
        self.problems.note(at, "is not a type of JSON Schema");
        match fixed {
            Some(fixed) => Fix::Set(RawJson::of(&fixed)),
            None => Fix::Remove,
        }
    }

    /// A list of strings. What is not one goes.
    fn names(&mut self, value: &RawValue, at: Path<'_>) -> Fix {
        let Ok(names) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            self.problems.note(at, "is not a list of names");
            return Fix::Remove;
        };
        let (texts, others): (Vec<&RawValue>, Vec<&RawValue>) =
            names.into_iter().partition(|name| is_text(name));
        if others.is_empty() {
            return Fix::Keep;
        }
        self.problems.note(at, "has something that is not a text");
        Fix::Set(RawJson::of(&texts))
    }

    /// Why ajv does not compile a schema with this keyword, whose value has the right type.
    fn refused_by_compilers(
        &mut self,
        key: &str,
        value: &RawValue,
        siblings: &RawObject<'_>,
    ) -> Option<&'static str> {
        let document = self.compiled.as_mut()?;
        let text = || serde_json::from_str::<String>(value.get()).unwrap_or_default();
        match key {
            "exclusiveMinimum" | "exclusiveMaximum" if is_flag(value) => Some("is not a number"),
            "nullable" if value.get() == "false" || siblings.get("type").is_none() => {
                Some("needs a `type` beside it, and to be `true`")
            }
            // The name of `$id` in draft-04.
            "id" => Some("is not a keyword that clients know"),
            "pattern" if !ecma::compiles(&text()) => Some("is not a pattern that clients can read"),
            "$ref" if !document.resolves(&text()) => Some("refers to nothing in the schema"),
            "$id" | "$anchor" | "$dynamicAnchor" if !document.first_with(key, &text()) => {
                Some("stands twice in the schema")
            }
            _ => None,
        }
    }
}
