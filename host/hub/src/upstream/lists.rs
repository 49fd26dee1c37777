//! Reading a server's lists: all pages, within bounds, each item as it came.
//!
//! One bad list or item never spoils the others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::value::RawValue;

use super::connection::{CallError, Connection, ListSet};
use crate::{
    catalogue::provider::Offers,
    config::ToolRules,
    mcp::{Era, ErrorCode, RawJson, RawObject, headers::ParamHeader, method},
};

/// The most pages of one list.
const MAX_PAGES: usize = 100;
/// The most items of one list.
const MAX_ITEMS: usize = 10_000;
/// How long one page may take.
const PAGE: Duration = Duration::from_secs(30);

/// What a server lists, and what calls need to know of it.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// For the catalogue.
    pub(crate) offers: Arc<Offers>,
    /// The routing headers of tools that have some, by the server's own name.
    pub(crate) bindings: HashMap<String, Arc<[ParamHeader]>>,
}

/// Reads the lists in `which` and takes the others from `previous`. The error is the first that a list
/// gave; that list stays as it was.
pub(crate) async fn read(
    connection: &Arc<Connection>,
    which: ListSet,
    previous: &Listing,
    rules: &ToolRules,
) -> (Listing, Option<CallError>) {
    let wanted = |set: ListSet, capability: &str| which.has(set) && connection.declares(capability);
    let (tools, prompts, resources) = (
        wanted(ListSet::TOOLS, "tools"),
        wanted(ListSet::PROMPTS, "prompts"),
        wanted(ListSet::RESOURCES, "resources"),
    );
    let (tools, prompts, resources, templates) = tokio::join!(
        list(connection, tools, method::TOOLS_LIST, "tools", "name"),
        list(connection, prompts, method::PROMPTS_LIST, "prompts", "name"),
        list(connection, resources, method::RESOURCES_LIST, "resources", "uri"),
        list(
            connection,
            resources,
            method::TEMPLATES_LIST,
            "resourceTemplates",
            "uriTemplate"
        ),
    );
    let old = &previous.offers;
    let mut error = None;
    let mut settle = |set: ListSet, found: Result<Vec<RawJson>, CallError>, old: &[RawJson]| match found {
        Ok(items) if which.has(set) => items,
        Ok(_) => old.to_vec(),
        Err(e) => {
            error.get_or_insert(e);
            old.to_vec()
        }
    };
    let fresh_tools = which.has(ListSet::TOOLS) && tools.is_ok();
    let tools = settle(ListSet::TOOLS, tools, &old.tools);
    let (tools, bindings) = if fresh_tools {
        apply(tools, rules, connection.era())
    } else {
        (tools, previous.bindings.clone())
    };
    let hello = connection.hello();
    let offers = Offers {
        tools,
        prompts: settle(ListSet::PROMPTS, prompts, &old.prompts),
        resources: settle(ListSet::RESOURCES, resources, &old.resources),
        templates: settle(ListSet::RESOURCES, templates, &old.templates),
        capabilities: hello.map(|h| h.capabilities.clone()),
        server_info: hello.and_then(|h| h.info.clone()),
        instructions: hello.and_then(|h| h.instructions.clone()),
    };
    let listing = Listing {
        offers: Arc::new(offers),
        bindings,
    };
    (listing, error)
}

async fn list(
    connection: &Arc<Connection>,
    wanted: bool,
    method: &str,
    member: &str,
    key: &str,
) -> Result<Vec<RawJson>, CallError> {
    if !wanted {
        return Ok(Vec::new());
    }
    match pages(connection, method, member).await {
        Ok(items) => Ok(unique(&connection.server, method, items, key)),
        // Many servers declare `resources` and know no templates.
        Err(CallError::Rpc(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => Ok(Vec::new()),
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
            tracing::warn!(server = %connection.server, method, "the list is no object");
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

/// Leaves out what has no `key`, and what was listed before.
fn unique(server: &str, method: &str, items: Vec<RawJson>, key: &str) -> Vec<RawJson> {
    let mut seen = HashSet::new();
    let (mut nameless, mut twice) = (0_usize, Vec::new());
    let kept = items
        .into_iter()
        .filter(|item| {
            let name = RawObject::parse(item)
                .ok()
                .and_then(|i| i.str(key).map(|n| n.into_owned()));
            match name {
                None => {
                    nameless += 1;
                    false
                }
                Some(name) if seen.contains(&name) => {
                    twice.push(name);
                    false
                }
                Some(name) => seen.insert(name),
            }
        })
        .collect();
    if nameless > 0 {
        tracing::warn!(
            server,
            method,
            count = nameless,
            "items without `{key}` are left out"
        );
    }
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

/// Applies the configuration's rules, and finds the routing headers.
fn apply(
    tools: Vec<RawJson>,
    rules: &ToolRules,
    era: Era,
) -> (Vec<RawJson>, HashMap<String, Arc<[ParamHeader]>>) {
    let mut bindings = HashMap::new();
    let mut offered = Vec::with_capacity(tools.len());
    let mut public_names = HashSet::new();
    let restricted = has_rules(rules);
    for tool in tools {
        let headers = era == Era::Modern && tool.text().contains("x-mcp-header");
        if !restricted && !headers {
            offered.push(tool);
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
                bindings.insert(name.clone(), found.into());
            }
        }
        let public = rules.public_name(&name);
        if !rules.offers(&name) || !public_names.insert(public.to_owned()) {
            continue;
        }
        if public == name {
            offered.push(tool);
        } else {
            fields.set("name", &RawJson::of(public));
            offered.push(fields.to_json());
        }
    }
    (offered, bindings)
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
