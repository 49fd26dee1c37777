//! The hub as a provider of its own: the tools `aih__…`, skills as prompts and resources, configs as resources.
//!
//! Everything is answered from memory and filtered by the caller's key. What the key may not use does not exist for
//! it. This module must never answer about an item before it has checked the permissions of the key.

mod tools;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aih_mcp::{Era, ErrorObject, RawJson, RawObject, method};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    access::Principal,
    catalogue::{configs, skills_mcp},
    hooks::Hooks,
    names,
    provider::{
        Answer, Call, ChangeSignal, Client, ClientKey, Offers, Provider, ProviderKind, ProviderState,
        ProviderStatus,
    },
    registry::{self, BuiltinContent, Inventory},
};

/// Most values of one completion (the specification's limit).
const MAX_COMPLETIONS: usize = 100;

/// Most resource subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 1_000;

const INSTRUCTIONS: &str = "This hub puts many MCP servers, skills and configuration files behind one address. \
    Tools of the servers behind it are called SERVER__TOOL; the hub's own start with aih__. Before a task that \
    may have established instructions, look at aih__list_skills and read what fits with aih__get_skill; skills \
    are also prompts and skill:// resources, configuration files are config:// resources. When a tool is missing \
    or fails, aih__health and aih__list_mcps tell which server is down and why. aih__list_mcps also has the \
    instructions of each server.";

/// The prompt for clients that ignore `instructions`.
const CONTEXT: &str = "context";
const CONTEXT_DESCRIPTION: &str =
    "What this hub's hooks want you to know at the beginning of a conversation.";

/// The hub's own tools, prompts and resources.
pub struct BuiltinProvider {
    inventory: Arc<Inventory>,
    offers: ArcSwap<Offers>,
    changes: ChangeSignal,
    subscriptions: Mutex<BTreeMap<(ClientKey, String), Arc<Client>>>,
}

impl BuiltinProvider {
    /// A provider of what `inventory` holds. `changes` is marked when its content is replaced.
    pub fn new(inventory: Arc<Inventory>, changes: ChangeSignal) -> Arc<Self> {
        let offers = offers(&inventory.content(), inventory.hooks().have_context());
        Arc::new(Self {
            inventory,
            offers: ArcSwap::from_pointee(offers),
            changes,
            subscriptions: Mutex::default(),
        })
    }

    /// The hooks of this hub.
    fn hooks(&self) -> &Hooks {
        self.inventory.hooks()
    }

    /// What the hub holds now.
    pub fn content(&self) -> Arc<BuiltinContent> {
        self.inventory.content()
    }

    /// Serves `content` from now on: notifies clients of changed lists, and subscribers of changed resources.
    pub fn replace(&self, content: BuiltinContent) {
        let offers = offers(&content, self.hooks().have_context());
        let new = Arc::new(content);
        let old = self.inventory.replace(new.clone());
        self.offers.store(Arc::new(offers));
        self.changes.mark();
        for ((_, uri), client) in self.subscriptions().iter() {
            let now = read(&new, uri, &client.principal);
            if now != read(&old, uri, &client.principal) {
                let params = RawJson::of(&json!({ "uri": uri }));
                client
                    .peer
                    .notify(names::BUILTIN, method::RESOURCE_UPDATED, Some(params));
            }
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<(ClientKey, String), Arc<Client>>> {
        // The map is whole at every point where code under the lock could panic.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits for something: a hook that is triggered, and what hooks say of a conversation.
    async fn answer_later(
        &self,
        method: &str,
        params: Option<&RawJson>,
        call: &Call,
    ) -> Option<Result<Value, ErrorObject>> {
        let params = RawObject::parse(params?).ok()?;
        let name = params.str("name")?;
        match method {
            method::TOOLS_CALL if name == tools::TRIGGER_HOOK => Some(Ok(tools::trigger(
                &self.inventory,
                params.read("arguments"),
                call,
            )
            .await)),
            method::PROMPTS_GET
                if name == CONTEXT && offers_context(&self.content(), self.hooks().have_context()) =>
            {
                let said = match self.hooks().conversation(&call.client).await {
                    Ok(said) => said,
                    Err(error) => return Some(Err(error)),
                };
                let text = said.unwrap_or_else(|| "The hooks of this hub have nothing to say.".to_owned());
                Some(Ok(json!({
                    "description": CONTEXT_DESCRIPTION,
                    "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
                })))
            }
            _ => None,
        }
    }

    fn answer(&self, method: &str, params: Option<&RawJson>, client: &Client) -> Result<Value, ErrorObject> {
        let principal = &*client.principal;
        let empty = RawJson::EMPTY_OBJECT;
        let params = RawObject::parse(params.unwrap_or(&empty))
            .map_err(|_| ErrorObject::invalid_params("`params` must be an object"))?;
        let text = |key: &str| {
            params
                .read::<String>(key)
                .ok_or_else(|| ErrorObject::invalid_params(format!("`params.{key}` must be a text")))
        };
        let content = self.content();
        let may = |name: &str| registry::may_skill(principal, name);
        match method {
            method::TOOLS_CALL => {
                let name = text("name")?;
                let arguments = params.read::<Value>("arguments");
                tools::call(&self.inventory, &name, arguments, principal)
                    .ok_or_else(|| ErrorObject::invalid_params(format!("unknown tool: {name}")))
            }
            method::PROMPTS_GET => {
                let name = text("name")?;
                let request = match params.read::<Value>("arguments") {
                    None | Some(Value::Null) => None,
                    Some(arguments) => prompt_request(&arguments)?,
                };
                skills_mcp::prompt(&content.skills, &name, request.as_deref(), may)
                    .ok_or_else(|| ErrorObject::invalid_params(format!("unknown prompt: {name}")))
            }
            method::RESOURCES_READ => {
                let uri = text("uri")?;
                read(&content, &uri, principal)
                    .ok_or_else(|| ErrorObject::resource_not_found(&uri, client.era()))
            }
            method::SKILLS_LIST => {
                if params.get("cursor").is_some_and(|cursor| cursor.get() != "null") {
                    return Err(ErrorObject::invalid_params(
                        "this list has one page: send no cursor",
                    ));
                }
                Ok(hinted(skills_mcp::list(&content.skills, may), client.era()))
            }
            method::SKILLS_GET => {
                let uri = text("uri")?;
                skills_mcp::get(&content.skills, &uri, may)
                    .map(|result| hinted(result, client.era()))
                    .ok_or_else(|| ErrorObject::invalid_params(format!("unknown skill: {uri}")))
            }
            method::DIRECTORY_READ => {
                let uri = text("uri")?;
                skills_mcp::read_directory(&content.skills, &uri, may)
                    .map(|result| hinted(result, client.era()))
                    .ok_or_else(|| ErrorObject::invalid_params(format!("no such folder: {uri}")))
            }
            method::COMPLETE => Ok(complete(&content, &params, principal)),
            _ => Err(ErrorObject::method_not_found(method)),
        }
    }
}

fn hinted(result: Value, era: Era) -> Value {
    match era {
        Era::Legacy => result,
        Era::Modern => skills_mcp::with_cache_hints(result, 0),
    }
}

fn prompt_request(arguments: &Value) -> Result<Option<String>, ErrorObject> {
    let name = skills_mcp::PROMPT_ARGUMENT;
    let arguments = arguments
        .as_object()
        .ok_or_else(|| ErrorObject::invalid_params("`params.arguments` must be an object"))?;
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(request)) => Ok(Some(request.clone())),
        Some(_) => Err(ErrorObject::invalid_params(format!(
            "the argument `{name}` must be a text"
        ))),
    }
}

fn read(content: &BuiltinContent, uri: &str, principal: &Principal) -> Option<Value> {
    if uri.starts_with(configs::SCHEME) {
        content
            .configs
            .read_resource(uri, |key| registry::may_config(principal, key))
    } else {
        skills_mcp::read(&content.skills, uri, |name| registry::may_skill(principal, name))
    }
}

/// Names of skills or configs for the argument `name`; no values for anything else.
fn complete(content: &BuiltinContent, params: &RawObject<'_>, principal: &Principal) -> Value {
    let reference: Value = params.read("ref").unwrap_or_default();
    let argument: Value = params.read("argument").unwrap_or_default();
    let member = |object: &Value, key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let begun = member(&argument, "value");
    let target = member(&reference, "uri");
    let names: Vec<&str> = if member(&argument, "name") != "name" {
        Vec::new()
    } else if target.starts_with(configs::SCHEME) {
        let entries = content.configs.entries();
        entries
            .map(|entry| entry.source.key.as_str())
            .filter(|key| registry::may_config(principal, key))
            .collect()
    } else if target.starts_with(skills_mcp::SCHEME) {
        let skills = content.skills.readable();
        skills
            .map(|skill| skill.name.as_str())
            .filter(|name| registry::may_skill(principal, name))
            .collect()
    } else {
        Vec::new()
    };
    let matching: Vec<&str> = names
        .into_iter()
        .filter(|name| name.starts_with(&begun))
        .collect();
    let values: Vec<&str> = matching.iter().copied().take(MAX_COMPLETIONS).collect();
    json!({ "completion": {
        "values": values,
        "total": matching.len(),
        "hasMore": matching.len() > MAX_COMPLETIONS,
    } })
}

/// Whether there is a prompt with what hooks say. A skill of that name goes first.
fn offers_context(content: &BuiltinContent, have_context: bool) -> bool {
    have_context && content.skills.entry(CONTEXT).is_none()
}

fn offers(content: &BuiltinContent, have_context: bool) -> Offers {
    let raw = |items: Vec<Value>| items.iter().map(RawJson::of).collect();
    let mut resources = skills_mcp::resources(&content.skills, |_| true);
    resources.extend(content.configs.resources(|_| true));
    let templates = vec![
        json!({
            "uriTemplate": format!("{}{}/{{name}}/SKILL.md", skills_mcp::SCHEME, names::BUILTIN),
            "name": "skill",
            "title": "Skill by name",
            "mimeType": "text/markdown",
        }),
        json!({
            "uriTemplate": format!("{}{{name}}", configs::SCHEME),
            "name": "config",
            "title": "Config by name",
        }),
    ];
    let mut prompts = skills_mcp::prompts(&content.skills, |_| true);
    if offers_context(content, have_context) {
        prompts.push(json!({ "name": CONTEXT, "title": "Context", "description": CONTEXT_DESCRIPTION }));
    }
    Offers {
        tools: raw(tools::list()),
        prompts: raw(prompts),
        resources: raw(resources),
        templates: raw(templates),
        capabilities: Some(RawJson::of(&json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "completions": {},
            "extensions": { skills_mcp::EXTENSION: skills_mcp::capability() },
        }))),
        server_info: Some(RawJson::of(&json!({
            "name": names::BUILTIN,
            "title": content.name,
            "version": registry::VERSION,
        }))),
        instructions: Some(INSTRUCTIONS.to_owned()),
        instructions_tool: Some(tools::LIST_MCPS),
        flaws: Vec::new(),
    }
}

#[async_trait]
impl Provider for BuiltinProvider {
    fn name(&self) -> &str {
        names::BUILTIN
    }

    fn status(&self) -> ProviderStatus {
        ProviderStatus {
            name: names::BUILTIN.to_owned(),
            kind: ProviderKind::Hub,
            state: ProviderState::Up,
            last_error: None,
            transport: "internal".to_owned(),
            protocol: None,
            connections: 0,
            restarts: 0,
            parked: Vec::new(),
            flaws: Vec::new(),
        }
    }

    fn offers(&self) -> Arc<Offers> {
        self.offers.load_full()
    }

    async fn request(
        &self,
        method: &str,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Answer, ErrorObject> {
        let result = match self.answer_later(method, params.as_ref(), call).await {
            Some(result) => result?,
            None => self.answer(method, params.as_ref(), &call.client)?,
        };
        Ok(Answer {
            result: RawJson::of(&result),
            era: Era::Legacy,
        })
    }

    async fn notify(&self, _method: &str, _params: Option<RawJson>, _client: &Arc<Client>) {}

    async fn subscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject> {
        if read(&self.content(), uri, &client.principal).is_none() {
            return Err(ErrorObject::resource_not_found(uri, client.era()));
        }
        let mut subscriptions = self.subscriptions();
        let held = subscriptions.keys().filter(|(key, _)| *key == client.key).count();
        if held >= MAX_SUBSCRIPTIONS {
            return Err(ErrorObject::invalid_params(format!(
                "this client has {MAX_SUBSCRIPTIONS} subscriptions already; end one first"
            )));
        }
        subscriptions.insert((client.key.clone(), uri.to_owned()), client.clone());
        Ok(())
    }

    async fn unsubscribe(&self, uri: &str, client: &Arc<Client>) -> Result<(), ErrorObject> {
        self.subscriptions().remove(&(client.key.clone(), uri.to_owned()));
        Ok(())
    }

    async fn set_log_level(&self, _client: &Arc<Client>) {}

    fn release(&self, client: &ClientKey) {
        self.subscriptions().retain(|(key, _), _| key != client);
    }

    async fn shutdown(&self, _grace: Duration) {}
}

#[cfg(test)]
mod tests;
