//! Reading a server's lists: all pages, within bounds, each item as it came.
//!
//! One bad list or item never spoils the others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aih_mcp::{Era, ErrorCode, RawJson, RawObject, headers::ParamHeader, method};
use serde_json::value::RawValue;

use crate::{
    catalogue::{
        ListKind,
        items::{self, CheckedList},
    },
    config::ToolRules,
    provider::{ItemFlaw, Offers},
    upstream::link::connection::{CallError, Connection, ListSet, ServerGreeting},
};

/// The most pages of one list.
const MAX_PAGES: usize = 100;
/// The most items of one list.
const MAX_ITEMS: usize = 10_000;
/// How long one page may take.
const PAGE: Duration = Duration::from_secs(30);

/// What a server lists, and what calls need to know of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// For the catalogue.
    pub(crate) offers: Arc<Offers>,
    /// The routing headers of tools that have some, by the server's own name.
    pub(crate) bindings: Arc<HashMap<String, Arc<[ParamHeader]>>>,
    /// The tools, by the server's own names, that can be called twice without harm.
    pub(crate) repeatable: Arc<HashSet<String>>,
}

/// One list that was read.
pub(crate) enum FetchedList {
    /// `tools/list`.
    Tools(Tools),
    /// `prompts/list`.
    Prompts(CheckedList),
    /// `resources/list`.
    Resources(CheckedList),
    /// `resources/templates/list`.
    Templates(CheckedList),
}

/// `tools/list`, under the configuration's rules, and what calls need to know of it.
#[derive(Default)]
pub(crate) struct Tools {
    offered: Vec<RawJson>,
    bindings: HashMap<String, Arc<[ParamHeader]>>,
    repeatable: HashSet<String>,
    flaws: Vec<ItemFlaw>,
}

impl Listing {
    /// What is known of a server before it is up: what calls need beside the lists comes with the first lists.
    pub(crate) fn of(offers: Offers) -> Self {
        Self {
            offers: Arc::new(offers),
            ..Self::default()
        }
    }

    /// The same with what the greeting said.
    #[must_use]
    pub(crate) fn greeted(&self, greeting: &ServerGreeting) -> Self {
        self.changed(|offers| {
            offers.capabilities = Some(greeting.capabilities.clone());
            offers.server_info = greeting.info.clone();
            offers.instructions = greeting.instructions.clone();
        })
    }

    /// The same with one list replaced.
    #[must_use]
    pub(crate) fn with(&self, fresh: FetchedList) -> Self {
        match fresh {
            FetchedList::Tools(tools) => Self {
                bindings: Arc::new(tools.bindings),
                repeatable: Arc::new(tools.repeatable),
                ..self.changed(|o| {
                    o.tools = tools.offered;
                    replace_flaws(&mut o.flaws, ListKind::Tools, tools.flaws);
                })
            },
            FetchedList::Prompts(list) => self.changed(|o| {
                o.prompts = list.items;
                replace_flaws(&mut o.flaws, ListKind::Prompts, list.flaws);
            }),
            FetchedList::Resources(list) => self.changed(|o| {
                o.resources = list.items;
                replace_flaws(&mut o.flaws, ListKind::Resources, list.flaws);
            }),
            FetchedList::Templates(list) => self.changed(|o| {
                o.templates = list.items;
                replace_flaws(&mut o.flaws, ListKind::Templates, list.flaws);
            }),
        }
    }

    fn changed(&self, change: impl FnOnce(&mut Offers)) -> Self {
        let mut offers = (*self.offers).clone();
        change(&mut offers);
        Self {
            offers: Arc::new(offers),
            bindings: self.bindings.clone(),
            repeatable: self.repeatable.clone(),
        }
    }
}

/// Puts what is wrong with one list in the place of what was wrong with it before.
fn replace_flaws(flaws: &mut Vec<ItemFlaw>, list: ListKind, fresh: Vec<ItemFlaw>) {
    flaws.retain(|flaw| flaw.list != list.member());
    flaws.extend(fresh);
}

/// Reads the lists in `which` side by side and hands each over as soon as it is there: one that hangs
/// delays no other.
pub(crate) async fn read(
    connection: &Arc<Connection>,
    which: ListSet,
    rules: &ToolRules,
    take: &(dyn Fn(ListSet, Result<FetchedList, CallError>) + Sync),
) {
    let wanted = |set: ListSet, capability: &str| {
        // A capability that is gone takes its list with it.
        which.has(set).then(|| connection.declares(capability))
    };
    let tools = async {
        if let Some(declared) = wanted(ListSet::TOOLS, "tools") {
            let found = list(connection, declared, method::TOOLS_LIST, ListKind::Tools).await;
            take(
                ListSet::TOOLS,
                found.map(|tools| FetchedList::Tools(apply(tools, rules, connection.era()))),
            );
        }
    };
    let prompts = async {
        if let Some(declared) = wanted(ListSet::PROMPTS, "prompts") {
            let found = list(connection, declared, method::PROMPTS_LIST, ListKind::Prompts).await;
            take(ListSet::PROMPTS, found.map(FetchedList::Prompts));
        }
    };
    let resources = async {
        if let Some(declared) = wanted(ListSet::RESOURCES, "resources") {
            let found = list(connection, declared, method::RESOURCES_LIST, ListKind::Resources).await;
            take(ListSet::RESOURCES, found.map(FetchedList::Resources));
        }
    };
    let templates = async {
        if let Some(declared) = wanted(ListSet::RESOURCES, "resources") {
            let found = list(connection, declared, method::TEMPLATES_LIST, ListKind::Templates).await;
            take(ListSet::RESOURCES, found.map(FetchedList::Templates));
        }
    };
    tokio::join!(tools, prompts, resources, templates);
}

async fn list(
    connection: &Arc<Connection>,
    declared: bool,
    method: &str,
    kind: ListKind,
) -> Result<CheckedList, CallError> {
    if !declared {
        return Ok(CheckedList::default());
    }
    match pages(connection, method, kind.member()).await {
        Ok(items) => {
            let mut checked = items::check(&connection.server, kind, items);
            checked.items = unique(&connection.server, method, checked.items, kind.key());
            Ok(checked)
        }
        // Many servers declare `resources` and know no templates.
        Err(CallError::Rpc(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => Ok(CheckedList::default()),
        Err(error) => Err(error),
    }
}

async fn pages(connection: &Arc<Connection>, method: &str, member: &str) -> Result<Vec<RawJson>, CallError> {
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    let mut fields = Vec::new();
    for _ in 0..MAX_PAGES {
        let result = connection.request(method, &fields, PAGE).await?;
        let Ok(page) = RawObject::parse(&result) else {
            tracing::warn!(server = %connection.server, method, "the list is not an object");
            return Ok(items);
        };
        let found: Vec<&RawValue> = page
            .get(member)
            .and_then(|list| serde_json::from_str(list.get()).ok())
            .unwrap_or_default();
        items.extend(
            found
                .into_iter()
                .take(MAX_ITEMS - items.len())
                .map(|item| RawJson::slice_of(result.bytes(), item)),
        );
        let Some(cursor) = page.str("nextCursor").filter(|c| !c.is_empty()) else {
            return Ok(items);
        };
        if items.len() >= MAX_ITEMS || !seen.insert(cursor.clone().into_owned()) {
            tracing::warn!(
                server = %connection.server, method, items = items.len(),
                "the list does not end; the rest is left out"
            );
            return Ok(items);
        }
        fields = vec![("cursor", RawJson::of(cursor.as_ref()))];
    }
    tracing::warn!(
        server = %connection.server, method, items = items.len(),
        "more than {MAX_PAGES} pages; the rest is left out"
    );
    Ok(items)
}

/// Leaves out what was listed before. The check of the items has left out what has no `key`.
fn unique(server: &str, method: &str, items: Vec<RawJson>, key: &str) -> Vec<RawJson> {
    let mut seen = HashSet::new();
    let mut twice = Vec::new();
    let kept = items
        .into_iter()
        .filter(|item| {
            let name = RawObject::parse(item)
                .ok()
                .and_then(|i| i.str(key).map(|n| n.into_owned()));
            match name {
                None => false,
                Some(name) if seen.contains(&name) => {
                    twice.push(name);
                    false
                }
                Some(name) => seen.insert(name),
            }
        })
        .collect();
    if let Some(first) = twice.first() {
        tracing::warn!(
            server,
            method,
            count = twice.len(),
            first,
            "listed twice; the first stays"
        );
    }
    kept
}

/// Applies the configuration's rules, and finds the routing headers and what can be called twice.
fn apply(tools: CheckedList, rules: &ToolRules, era: Era) -> Tools {
    // What the configuration does not offer is not there, whatever is wrong with it.
    let mut flaws = tools.flaws;
    flaws.retain_mut(|flaw| {
        let offered = rules.offers(&flaw.item);
        let public = rules.public_name(&flaw.item).into();
        flaw.item = public;
        offered
    });
    let mut all = Tools {
        flaws,
        ..Tools::default()
    };
    let mut public_names = HashSet::new();
    let restricted = has_rules(rules);
    for tool in tools.items {
        let headers = era == Era::Modern && tool.text().contains("x-mcp-header");
        let hints = tool.text().contains("Hint\"");
        if !restricted && !headers && !hints {
            all.offered.push(tool);
            continue;
        }
        let Ok(mut fields) = RawObject::parse(&tool) else {
            continue;
        };
        let Some(name) = fields.str("name").map(|n| n.into_owned()) else {
            continue;
        };
        if headers && let Some(schema) = fields.raw("inputSchema") {
            let found = ParamHeader::of_schema(&schema.to_value());
            if !found.is_empty() {
                all.bindings.insert(name.clone(), found.into());
            }
        }
        if hints && fields.raw("annotations").is_some_and(|a| is_repeatable(&a)) {
            all.repeatable.insert(name.clone());
        }
        let public = rules.public_name(&name);
        if !rules.offers(&name) || !public_names.insert(public.to_owned()) {
            continue;
        }
        if public == name {
            all.offered.push(tool);
        } else {
            fields.set("name", &RawJson::of(public));
            all.offered.push(fields.to_json());
        }
    }
    all
}

/// Whether a tool's `annotations` say that a second call with the same arguments changes nothing more.
fn is_repeatable(annotations: &RawJson) -> bool {
    RawObject::parse(annotations).is_ok_and(|hints| {
        ["readOnlyHint", "idempotentHint"]
            .iter()
            .any(|hint| hints.read(hint) == Some(true))
    })
}

/// Whether there is any rule.
pub(crate) fn has_rules(rules: &ToolRules) -> bool {
    !(rules.allow.is_empty() && rules.deny.is_empty() && rules.rename.is_empty())
}

/// The server's name of the tool that clients know as `public`; `None` when it is not offered.
pub(crate) fn own_name<'a>(rules: &'a ToolRules, public: &'a str) -> Option<&'a str> {
    let own = rules
        .rename
        .iter()
        .find(|(_, to)| to.as_str() == public)
        .map(|(from, _)| from.as_str());
    let own = match own {
        Some(own) => own,
        None if rules.rename.contains_key(public) => return None,
        None => public,
    };
    rules.offers(own).then_some(own)
}
