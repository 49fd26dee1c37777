//! References within one schema: whether ajv finds what they name.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use percent_encoding::percent_decode_str;
use serde_json::{Value, value::RawValue};

use super::{
    Path, Problems,
    schema::{Check, Keyword, keyword},
};

/// The address of the draft that ajv has built in.
const DRAFT_07: &str = "http://json-schema.org/draft-07/schema";
/// How many references may lead to each other.
const MAX_CHAIN: usize = 64;
/// How many parts outside of all known keywords may lie behind each other.
const MAX_PARTS: usize = 16;

/// A schema with what references in it can name.
pub(super) struct Document<'d> {
    root: &'d Value,
    /// Its own `$id`, without the empty fragment.
    id: Option<&'d str>,
    /// The names of parts, by keyword and value.
    names: Rc<HashSet<(&'static str, &'d str)>>,
    /// Those that were passed already.
    passed: HashSet<(&'static str, String)>,
    /// Whether parts outside of all known keywords can be compiled. One that is being checked counts as good.
    parts: Rc<RefCell<HashMap<String, bool>>>,
    /// How many such parts lie in front of this one.
    behind: usize,
}

impl<'d> Document<'d> {
    pub(super) fn new(root: &'d Value) -> Self {
        let mut names = HashSet::new();
        collect(root, &mut names);
        Self {
            root,
            id: root
                .get("$id")
                .and_then(Value::as_str)
                .map(without_empty_fragment),
            names: Rc::new(names),
            passed: HashSet::new(),
            parts: Rc::default(),
            behind: 0,
        }
    }

    /// Whether this is the first part with this name.
    pub(super) fn first_with(&mut self, key: &str, name: &str) -> bool {
        // Both kinds of anchor have their names in common.
        let key = if key == "$id" { "$id" } else { "$anchor" };
        let name = without_empty_fragment(name);
        name.is_empty() || self.passed.insert((key, name.to_owned()))
    }

    /// Whether `reference` names a part of the schema that is a schema, and does not lead back to itself.
    pub(super) fn resolves(&mut self, reference: &str) -> bool {
        let mut reference = Cow::Borrowed(reference);
        for _ in 0..MAX_CHAIN {
            let next = match self.find(&reference) {
                Found::Elsewhere => return true,
                Found::Nothing => return false,
                Found::Part { part, pointer } => {
                    if !self.is_schema(part, pointer.as_deref()) {
                        return false;
                    }
                    part.get("$ref").and_then(Value::as_str)
                }
            };
            match next {
                Some(next) => reference = Cow::Owned(next.to_owned()),
                None => return true,
            }
        }
        false
    }

    fn find(&self, reference: &str) -> Found<'d> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if base == DRAFT_07 {
            return Found::Elsewhere;
        }
        if !base.is_empty() && Some(base) != self.id {
            // Parts with an `$id` of their own are found by it; what lies in them is ajv's to find.
            return match self.names.contains(&("$id", base)) {
                true => Found::Elsewhere,
                false => Found::Nothing,
            };
        }
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        if fragment.is_empty() {
            return Found::Part {
                part: self.root,
                pointer: None,
            };
        }
        if !fragment.starts_with('/') {
            let anchor = self.names.contains(&("$anchor", &*fragment));
            let id = self.names.contains(&("$id", &*format!("#{fragment}")));
            return match anchor || id {
                true => Found::Elsewhere,
                false => Found::Nothing,
            };
        }
        match self.root.pointer(&fragment) {
            Some(part) => Found::Part {
                part,
                pointer: Some(fragment.into_owned()),
            },
            None => Found::Nothing,
        }
    }

    /// Whether a part can be compiled. What lies under keywords is checked where it stands; anything else only here.
    fn is_schema(&mut self, part: &Value, pointer: Option<&str>) -> bool {
        if part.is_boolean() {
            return true;
        }
        if !part.is_object() {
            return false;
        }
        let Some(pointer) = pointer.filter(|pointer| !lies_under_keywords(pointer)) else {
            return true;
        };
        let known = self.parts.borrow().get(pointer).copied();
        if let Some(good) = known {
            return good;
        }
        let Ok(text) = serde_json::value::to_raw_value(part) else {
            return false;
        };
        if self.behind >= MAX_PARTS {
            return false;
        }
        self.parts.borrow_mut().insert(pointer.to_owned(), true);
        let inner = Document {
            root: self.root,
            id: self.id,
            names: self.names.clone(),
            passed: HashSet::new(),
            parts: self.parts.clone(),
            behind: self.behind + 1,
        };
        let mut problems = Problems::default();
        let text: &RawValue = &text;
        Check::new(&mut problems, Some(inner)).schema(text, Path::ITEM, Keyword::Schema);
        let good = problems.first.is_none();
        self.parts.borrow_mut().insert(pointer.to_owned(), good);
        good
    }
}

/// What a reference names.
enum Found<'d> {
    /// This part of the schema.
    Part {
        part: &'d Value,
        pointer: Option<String>,
    },
    /// Something that is there, and that this module does not look into.
    Elsewhere,
    Nothing,
}

/// Whether the check of the whole schema comes by the part at `pointer`: each step is a keyword, or a name or number
/// under one.
fn lies_under_keywords(pointer: &str) -> bool {
    let mut steps = pointer.split('/').skip(1);
    while let Some(step) = steps.next() {
        let has_inner = match keyword(step) {
            Some(Keyword::Map | Keyword::Dependencies | Keyword::Schemas) => true,
            Some(Keyword::Schema | Keyword::OpenOrClosed) => false,
            // A list has numbers; the next step of a schema is a keyword.
            Some(Keyword::SchemaOrList) => steps
                .clone()
                .next()
                .is_some_and(|next| next.bytes().all(|byte| byte.is_ascii_digit())),
            _ => return false,
        };
        if has_inner && steps.next().is_none() {
            return false;
        }
    }
    true
}

fn without_empty_fragment(id: &str) -> &str {
    id.strip_suffix('#').filter(|id| !id.is_empty()).unwrap_or(id)
}

fn collect<'d>(schema: &'d Value, names: &mut HashSet<(&'static str, &'d str)>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("$id", Value::String(id)) => {
                        names.insert(("$id", without_empty_fragment(id)));
                    }
                    ("$anchor" | "$dynamicAnchor", Value::String(name)) => {
                        names.insert(("$anchor", name));
                    }
                    (_, value) => collect(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}
