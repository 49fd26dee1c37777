//! One thing that is listed, and how a list is written out for a client.

use std::sync::Arc;

use aih_mcp::{Era, RawJson, RawObject, headers::ParamHeader, item};

use super::{target::ToolNames, ui, uri};
use crate::{
    access::{Principal, ResourcePath},
    provider::Offers,
};

/// The four kinds of things that a provider lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the specification's words")]
pub enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl ListKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The member of the list result that holds the items.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that names it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    pub(super) fn items(self, offers: &Offers) -> &[RawJson] {
        match self {
            Self::Tools => &offers.tools,
            Self::Prompts => &offers.prompts,
            Self::Resources => &offers.resources,
            Self::Templates => &offers.templates,
        }
    }
}

/// One listed thing.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name or URI that the provider is called with.
    pub original: Box<str>,
    /// The names of a tool; `None` for everything else.
    pub names: Option<Arc<ToolNames>>,
    /// Its name or URI on the aggregated endpoint.
    pub exposed: Box<str>,
    /// What a key must be allowed, by each name that the item has; none is open to every key.
    pub permissions: Box<[Box<str>]>,
    /// In place of `permissions` for a resource or template of a server: its URI in the forms that permissions compare.
    pub(super) resource: Option<ResourcePath>,
    /// As the provider listed it: for the endpoint of this one MCP.
    pub direct: RawJson,
    /// As the aggregated endpoint lists it: exposed name, and its source.
    pub listed: RawJson,
    /// A tool's arguments that travel in headers too.
    pub bindings: Vec<ParamHeader>,
    /// What its description says besides, where [`ListStyle::instructions_in_tools`].
    pub(super) instructions: Option<Arc<str>>,
    /// The views (MCP Apps) that it names: the URI as the provider listed it, and in the forms that permissions compare.
    pub(super) views: Vec<(Box<str>, ResourcePath)>,
}

/// How a list is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListStyle {
    /// The era of the client.
    pub era: Era,
    /// Whether a description of a tool has the hub's instructions: the client does not show them to its model.
    pub instructions_in_tools: bool,
    /// What the schemas of tools must not have.
    pub schemas: SchemaRules,
}

/// What a client does not take in the schema of a tool's arguments, although the protocol allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SchemaRules {
    /// It leaves a tool out whose schema has a choice (`oneOf`, `anyOf`, `allOf`) at its root.
    pub leaves_out_root_choice: bool,
    /// It leaves definitions (`$defs`) out, and keeps what refers to them.
    pub leaves_out_definitions: bool,
}

impl SchemaRules {
    fn applied(self, tool: RawJson) -> RawJson {
        type Rule = fn(&RawJson) -> Option<RawJson>;
        let rules: [(bool, Rule); 2] = [
            (self.leaves_out_root_choice, item::without_root_choice),
            (self.leaves_out_definitions, item::with_definitions_in_place),
        ];
        let rules = rules.into_iter().filter(|(counts, _)| *counts);
        rules.fold(tool, |tool, (_, rule)| rule(&tool).unwrap_or(tool))
    }
}

impl ListStyle {
    /// For a client of which nothing else is known.
    pub const DEFAULT: Self = Self {
        era: Era::Modern,
        instructions_in_tools: false,
        schemas: SchemaRules {
            leaves_out_root_choice: false,
            leaves_out_definitions: false,
        },
    };

    /// The same for a list of this kind: what makes no difference there is left out, so that fewer lists are kept.
    pub(super) fn of(self, kind: ListKind) -> Self {
        match kind {
            ListKind::Tools => self,
            ListKind::Prompts | ListKind::Resources | ListKind::Templates => Self::DEFAULT,
        }
    }
}

impl Item {
    /// Whether `principal` may see and use it: one of its names is granted, and none is taken away.
    pub fn visible_to(&self, principal: &Principal) -> bool {
        let permissions = principal.permissions();
        if !principal.is_current() {
            return false;
        }
        if let Some(resource) = &self.resource {
            return permissions.allows_resource(resource);
        }
        match &*self.permissions {
            [] => true,
            [path] => permissions.allows(path),
            paths => {
                let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
                permissions.allows_one_of(&paths)
            }
        }
    }

    /// The item as `principal` gets it: `direct` for the endpoint of its provider, otherwise for the aggregated one. A view
    /// that the principal may not read is not named.
    pub(super) fn written(&self, direct: bool, style: ListStyle, principal: &Principal) -> RawJson {
        let mut json = match direct {
            true => self.direct.clone(),
            false => self.listed.clone(),
        };
        if self.names.is_some()
            && style.era == Era::Legacy
            && let Some(legacy) = item::legacy_tool(&json)
        {
            json = legacy;
        }
        if self.names.is_some() {
            json = style.schemas.applied(json);
        }
        if style.instructions_in_tools
            && let Some(instructions) = &self.instructions
        {
            json = with_description(&json, instructions);
        }
        let hidden = |(_, path): &&(Box<str>, ResourcePath)| !principal.permissions().allows_resource(path);
        let hidden: Vec<&str> = self.views.iter().filter(hidden).map(|(uri, _)| &**uri).collect();
        if hidden.is_empty() {
            return json;
        }
        let Ok(mut object) = RawObject::parse(&json) else {
            return json;
        };
        let own = |shown: &str| match direct {
            true => shown.to_owned(),
            false => uri::parse(shown).map_or_else(|| shown.to_owned(), |(_, own)| own),
        };
        let changed = ui::rewrite(&mut object, &|shown| {
            (!hidden.contains(&&*own(shown))).then(|| shown.to_owned())
        });
        match changed {
            true => object.to_json(),
            false => json,
        }
    }
}

/// A tool whose description goes on with `more`.
fn with_description(tool: &RawJson, more: &str) -> RawJson {
    let Ok(mut object) = RawObject::parse(tool) else {
        return tool.clone();
    };
    let text = match object.str("description") {
        Some(own) => format!("{own}\n\n{more}"),
        None => more.to_owned(),
    };
    object.set("description", &RawJson::of(&text));
    object.to_json()
}
