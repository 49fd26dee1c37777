//! The members of items and what each must be, and the repair of what is not.

use serde_json::value::RawValue;

use super::{ItemKind, Path, Problems, schema, text};
use crate::{RawJson, RawObject, object::Edit};

/// What becomes of a value.
pub(super) enum Fix {
    /// It is good.
    Keep,
    /// This stands in its place.
    Set(RawJson),
    /// It goes.
    Remove,
    /// Without it the item is of no use.
    Refuse,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number, however it is written.
    Whole,
    /// A number from 0 to 1.
    Share,
    /// A time as RFC 3339 has it, with seconds and `Z` or an offset.
    Time,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An array. What is wrong in it goes.
    List(&'static Shape),
    /// An object with these members among others.
    Object(&'static [Member]),
    /// Any object.
    AnyObject,
    /// The contents of a resource.
    Contents,
    /// An object of objects. What is not one in it goes.
    Objects,
    /// The schema of a tool's arguments.
    InputSchema,
    /// The schema of a tool's structured result.
    OutputSchema,
}

/// Whether a member must be there.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// It need not.
    Optional,
    /// It must.
    Required,
    /// It must; the first of these members that is there stands in for it.
    Else(&'static [&'static str]),
    /// It must; this JSON stands in for it.
    Default(&'static str),
}

/// A member of an object.
pub(super) struct Member {
    name: &'static str,
    shape: Shape,
    need: Need,
}

const fn optional(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        need: Need::Optional,
    }
}

const fn required(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        need: Need::Required,
    }
}

const ICON: Shape = Shape::Object(&[
    required("src", Shape::Text),
    optional("mimeType", Shape::Text),
    optional("sizes", Shape::List(&Shape::Text)),
    optional("theme", Shape::OneOf(&["light", "dark"])),
]);

const TITLE: Member = optional("title", Shape::Text);
const DESCRIPTION: Member = optional("description", Shape::Text);
const ICONS: Member = optional("icons", Shape::List(&ICON));
const META: Member = optional("_meta", Shape::AnyObject);

const TOOL: Shape = Shape::Object(&[
    required("name", Shape::Text),
    TITLE,
    DESCRIPTION,
    ICONS,
    Member {
        name: "inputSchema",
        shape: Shape::InputSchema,
        need: Need::Default(r#"{"type":"object","properties":{}}"#),
    },
    optional("outputSchema", Shape::OutputSchema),
    optional(
        "annotations",
        Shape::Object(&[
            TITLE,
            optional("readOnlyHint", Shape::Flag),
            optional("destructiveHint", Shape::Flag),
            optional("idempotentHint", Shape::Flag),
            optional("openWorldHint", Shape::Flag),
        ]),
    ),
    optional(
        "execution",
        Shape::Object(&[optional(
            "taskSupport",
            Shape::OneOf(&["forbidden", "optional", "required"]),
        )]),
    ),
    META,
]);

const PROMPT: Shape = Shape::Object(&[
    required("name", Shape::Text),
    TITLE,
    DESCRIPTION,
    ICONS,
    optional(
        "arguments",
        Shape::List(&Shape::Object(&[
            required("name", Shape::Text),
            TITLE,
            DESCRIPTION,
            optional("required", Shape::Flag),
        ])),
    ),
    META,
]);

const ANNOTATIONS: Member = optional(
    "annotations",
    Shape::Object(&[
        optional("audience", Shape::List(&Shape::OneOf(&["user", "assistant"]))),
        optional("priority", Shape::Share),
        optional("lastModified", Shape::Time),
    ]),
);

const RESOURCE: Shape = Shape::Object(&[
    required("uri", Shape::Text),
    Member {
        name: "name",
        shape: Shape::Text,
        need: Need::Else(&["title", "uri"]),
    },
    TITLE,
    DESCRIPTION,
    optional("mimeType", Shape::Text),
    optional("size", Shape::Whole),
    ICONS,
    ANNOTATIONS,
    META,
]);

const TEMPLATE: Shape = Shape::Object(&[
    required("uriTemplate", Shape::Text),
    Member {
        name: "name",
        shape: Shape::Text,
        need: Need::Else(&["title", "uriTemplate"]),
    },
    TITLE,
    DESCRIPTION,
    optional("mimeType", Shape::Text),
    ICONS,
    ANNOTATIONS,
    META,
]);

/// What a block of each type must have.
const BLOCKS: &[(&str, &[Member])] = &[
    ("text", &[required("text", Shape::Text), ANNOTATIONS, META]),
    ("image", MEDIA),
    ("audio", MEDIA),
    (
        "resource_link",
        &[
            required("uri", Shape::Text),
            required("name", Shape::Text),
            TITLE,
            DESCRIPTION,
            optional("mimeType", Shape::Text),
            optional("size", Shape::Whole),
            ICONS,
            ANNOTATIONS,
            META,
        ],
    ),
    (
        "resource",
        &[required("resource", Shape::Contents), ANNOTATIONS, META],
    ),
];

const MEDIA: &[Member] = &[
    required("data", Shape::Text),
    required("mimeType", Shape::Text),
    ANNOTATIONS,
    META,
];

/// Checks a content block of a result.
pub(super) fn block(value: &RawValue, problems: &mut Problems) -> Fix {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "type")]
        kind: String,
    }
    let head = serde_json::from_str::<Head>(value.get()).ok();
    let members = head.and_then(|head| BLOCKS.iter().find(|(kind, _)| *kind == head.kind));
    match members {
        Some((_, members)) => object(members, value, Path::ITEM, problems),
        None => Fix::Refuse,
    }
}

/// `resource` of a block: with a text or with bytes.
fn contents(value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let has = |object: &RawObject<'_>, key: &str| object.get(key).is_some_and(is_text);
    match serde_json::from_str::<RawObject<'_>>(value.get()) {
        Ok(object) if has(&object, "text") || has(&object, "blob") => {}
        _ => {
            problems.note(at, "has neither a text nor bytes");
            return Fix::Remove;
        }
    }
    const CONTENTS: &[Member] = &[
        required("uri", Shape::Text),
        optional("mimeType", Shape::Text),
        optional("text", Shape::Text),
        optional("blob", Shape::Text),
        META,
    ];
    object(CONTENTS, value, at, problems)
}

const LIST_CHANGED: Member = optional("listChanged", Shape::Flag);

/// `capabilities` of a server.
pub(super) const CAPABILITIES: Shape = Shape::Object(&[
    optional("tools", Shape::Object(&[LIST_CHANGED])),
    optional("prompts", Shape::Object(&[LIST_CHANGED])),
    optional(
        "resources",
        Shape::Object(&[LIST_CHANGED, optional("subscribe", Shape::Flag)]),
    ),
    optional("logging", Shape::AnyObject),
    optional("completions", Shape::AnyObject),
    optional("experimental", Shape::Objects),
    optional("extensions", Shape::Objects),
    optional(
        "tasks",
        Shape::Object(&[
            optional("list", Shape::AnyObject),
            optional("cancel", Shape::AnyObject),
            optional("requests", Shape::Objects),
        ]),
    ),
]);

/// `serverInfo`.
pub(super) const IMPLEMENTATION: Shape = Shape::Object(&[
    required("name", Shape::Text),
    Member {
        name: "version",
        shape: Shape::Text,
        need: Need::Default(r#""""#),
    },
    TITLE,
    DESCRIPTION,
    optional("websiteUrl", Shape::Text),
    ICONS,
]);

/// Checks an item of a list.
pub(super) fn check(kind: ItemKind, item: &RawJson, problems: &mut Problems) -> Fix {
    let shape = match kind {
        ItemKind::Tool => TOOL,
        ItemKind::Prompt => PROMPT,
        ItemKind::Resource => RESOURCE,
        ItemKind::Template => TEMPLATE,
    };
    match serde_json::from_slice::<&RawValue>(item.bytes()) {
        Ok(value) if is_object(value) => fix(shape, value, Path::ITEM, problems),
        _ => {
            *problems = Problems::of_item("it is not an object");
            Fix::Refuse
        }
    }
}

pub(super) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Checks a value.
pub(super) fn fix(shape: Shape, value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let (good, expected) = match shape {
        Shape::Text => (is_text(value), "is not a text"),
        Shape::Flag => (is_flag(value), "is not `true` or `false`"),
        Shape::Whole => (is_whole(value), "is not a whole number"),
        Shape::Share => (
            number(value).is_some_and(|n| (0.0..=1.0).contains(&n)),
            "is not a number from 0 to 1",
        ),
        Shape::Time => (
            string(value).is_some_and(|time| text::is_time(&time)),
            "is not a time (RFC 3339)",
        ),
        Shape::OneOf(words) => (
            string(value).is_some_and(|word| words.contains(&&*word)),
            "has a value that is not known",
        ),
        Shape::AnyObject => (is_object(value), "is not an object"),
        Shape::List(element) => return list(*element, value, at, problems),
        Shape::Object(members) => return object(members, value, at, problems),
        Shape::Contents => return contents(value, at, problems),
        Shape::Objects => return objects(value, at, problems),
        Shape::InputSchema => return schema::input(value, at, problems),
        Shape::OutputSchema => return schema::output(value, at, problems),
    };
    if good {
        return Fix::Keep;
    }
    problems.note(at, expected);
    Fix::Remove
}

fn list(shape: Shape, value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        problems.note(at, "is not a list");
        return Fix::Remove;
    };
    let mut changed = false;
    let mut kept = Vec::with_capacity(elements.len());
    for (i, element) in elements.into_iter().enumerate() {
        match fix(shape, element, at.to(&i.to_string()), problems) {
            Fix::Keep => kept.push(RawJson::of(element)),
            Fix::Set(json) => {
                changed = true;
                kept.push(json);
            }
            Fix::Remove | Fix::Refuse => changed = true,
        }
    }
    match changed {
        true => Fix::Set(RawJson::of(&kept)),
        false => Fix::Keep,
    }
}

fn objects(value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let Ok(mut object) = serde_json::from_str::<RawObject<'_>>(value.get()) else {
        problems.note(at, "is not an object");
        return Fix::Remove;
    };
    let changed = object.edit(|key, value| match is_object(value) {
        true => Edit::Keep,
        false => {
            problems.note(at.to(key), "is not an object");
            Edit::Remove
        }
    });
    match changed {
        true => Fix::Set(object.to_json()),
        false => Fix::Keep,
    }
}

fn object(members: &[Member], value: &RawValue, at: Path<'_>, problems: &mut Problems) -> Fix {
    let Ok(mut object) = serde_json::from_str::<RawObject<'_>>(value.get()) else {
        problems.note(at, "is not an object");
        return Fix::Remove;
    };
    let mut refused = false;
    let mut removed = Vec::new();
    let mut changed = object.edit(|key, value| {
        let Some(member) = members.iter().find(|member| member.name == key) else {
            return Edit::Keep;
        };
        match fix(member.shape, value, at.to(key), problems) {
            Fix::Keep => Edit::Keep,
            Fix::Set(json) => Edit::Set(json),
            Fix::Remove => {
                removed.push(member.name);
                Edit::Remove
            }
            Fix::Refuse => {
                refused = true;
                Edit::Keep
            }
        }
    });
    if refused {
        return Fix::Refuse;
    }
    for member in members {
        if object.get(member.name).is_some() {
            continue;
        }
        let stand_in = match member.need {
            Need::Optional => continue,
            Need::Required => None,
            Need::Else(others) => others.iter().find_map(|other| object.raw(other)),
            Need::Default(json) => RawJson::parse(json).ok(),
        };
        if !removed.contains(&member.name) {
            problems.note(at.to(member.name), "is missing");
        }
        let Some(stand_in) = stand_in else {
            return Fix::Remove;
        };
        object.set(member.name, &stand_in);
        changed = true;
    }
    match changed {
        true => Fix::Set(object.to_json()),
        false => Fix::Keep,
    }
}

pub(super) fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

pub(super) fn is_flag(value: &RawValue) -> bool {
    matches!(value.get(), "true" | "false")
}

/// The value of a number that a double can hold.
pub(super) fn number(value: &RawValue) -> Option<f64> {
    let is_number = value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let number: f64 = value.get().parse().ok().filter(|_| is_number)?;
    number.is_finite().then_some(number)
}

fn is_whole(value: &RawValue) -> bool {
    number(value).is_some_and(|number| number.fract() == 0.0)
}

pub(super) fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
