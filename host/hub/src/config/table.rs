//! How the file's keys are described: one table serves the check, the JSON Schema and the reference page.
//!
//! It exists so that the three cannot drift apart. It holds no values and no positions.

/// An object of the file.
pub(crate) struct Shape {
    /// Name of the definition in the JSON Schema.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) doc: &'static str,
    /// Its keys; no others are taken.
    pub(crate) fields: &'static [Field],
}

/// A key of an object.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) required: bool,
    pub(crate) kind: &'static Kind,
    /// The default as it would be written; empty for none.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
    /// For a key that is taken and not acted on: what therefore does not happen, such as `no request is limited`.
    pub(crate) without_effect: Option<&'static str>,
}

impl Field {
    /// The same key, which this version takes and does not act on. `consequence` says what therefore does not happen.
    pub(crate) const fn without_effect(mut self, consequence: &'static str) -> Self {
        self.without_effect = Some(consequence);
        self
    }
}

/// What a value may be.
pub(crate) enum Kind {
    /// Any scalar, taken as text.
    Text,
    /// A text of a given form.
    Form(&'static Form),
    /// `true` or `false`.
    Bool,
    /// A whole number, both ends included.
    Int { min: i64, max: i64 },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// A map with free keys: the keys' form and the values' kind.
    Map(&'static Form, &'static Kind),
    /// An object with the keys of the shape.
    Object(&'static Shape),
    /// An object whose keys depend on the word at `tag`.
    Tagged {
        tag: &'static str,
        doc: &'static str,
        variants: &'static [(&'static str, &'static Shape)],
    },
    /// A map of anything.
    Json,
}

/// The form of a text.
pub(crate) struct Form {
    /// What it is, with its article: `a name`, `an origin`.
    pub(crate) name: &'static str,
    /// What to write instead of a wrong one.
    pub(crate) help: &'static str,
    /// For the JSON Schema; empty for none. Never stricter than `accepts`.
    pub(crate) pattern: &'static str,
    /// Whether it may hold `${VAR}`; such a text is checked once the variable is put in, and is never
    /// repeated in a message.
    pub(crate) template: bool,
    /// Whether an unquoted number is the same as its text in the JSON Schema.
    pub(crate) number: bool,
    pub(crate) accepts: fn(&str) -> bool,
}

/// A key that must be given.
pub(crate) const fn required(key: &'static str, kind: &'static Kind, doc: &'static str) -> Field {
    Field {
        key,
        required: true,
        kind,
        default: "",
        doc,
        without_effect: None,
    }
}

/// A key that may be left out.
pub(crate) const fn optional(
    key: &'static str,
    kind: &'static Kind,
    default: &'static str,
    doc: &'static str,
) -> Field {
    Field {
        key,
        required: false,
        kind,
        default,
        doc,
        without_effect: None,
    }
}
