//! From a method and its parameters to an answer: lists are read, and what a request names is looked up. The call
//! itself is made by [`calls`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use aih_mcp::{Era, ErrorCode, ErrorObject, Params, RawJson, RawObject, headers, method};
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::{Gateway, known_clients::KnownClient, progress::ProgressRelay, results, rewrite};
use crate::{
    calls::{
        CallFailure, CompletedCall,
        record::{Ended, Item, Record},
    },
    catalogue::{
        self, ListKind, ListStyle, Offering, ProviderRequest, Scope, Snapshot, Target, ToolNames,
        pages::{self, Page},
    },
    hooks::Trigger,
    names,
    provider::{Call, Client, LogLevel, Peer, ProviderKind, Trail},
};

/// One request of a client, whichever way it came.
pub struct Request {
    /// Which providers its endpoint shows.
    pub scope: Scope,
    /// The method.
    pub method: Box<str>,
    /// Its parameters, with the client's names.
    pub params: Option<RawJson>,
    /// The `Mcp-Param-*` headers, where its era and its transport have them.
    pub param_headers: Option<HeaderMap>,
    /// Who asks.
    pub client: Arc<Client>,
    /// Reaches the client while this runs.
    pub peer: Arc<dyn Peer>,
    /// Fires when the client cancels.
    pub cancel: CancellationToken,
    /// Whether it became a call, which leaves a record of its own.
    pub(super) made: AtomicBool,
}

impl Request {
    fn call(&self) -> Call {
        Call {
            client: self.client.clone(),
            peer: self.peer.clone(),
            cancel: self.cancel.clone(),
            depth: 0,
            trail: Trail::default(),
        }
    }
}

impl Gateway {
    /// Answers a request, and leaves its record.
    ///
    /// # Errors
    /// The provider's error unchanged, or the hub's own with what to do.
    pub async fn answer(&self, mut request: Request) -> Result<RawJson, ErrorObject> {
        let begun = Instant::now();
        let params = Params::read(&request.method, request.params.take());
        let named = params.as_ref().ok().and_then(|params| {
            let name = params.get("name").or_else(|| params.get("uri"));
            name.cloned()
        });
        let outcome = match params {
            Ok(params) => match ProgressRelay::of(&request.peer, &params) {
                Some(relay) => {
                    request.peer = relay.clone();
                    relay.during(self.route(&request, params)).await
                }
                None => self.route(&request, params).await,
            },
            Err(error) => Err(error),
        };
        if *request.method != *method::PING && !request.made.load(Ordering::Relaxed) {
            self.record(&request, named.as_ref(), &outcome, begun);
        }
        outcome
    }

    /// The record of a request that did not become a call: the hub answered it itself, or did not find what it names.
    fn record(
        &self,
        request: &Request,
        named: Option<&RawJson>,
        outcome: &Result<RawJson, ErrorObject>,
        begun: Instant,
    ) {
        let name: Option<String> = named.and_then(|name| serde_json::from_slice(name.bytes()).ok());
        let name = name.as_deref().map(|name| Item::named(&request.method, name));
        self.calls.record(&Record {
            call: &request.call(),
            method: &request.method,
            server: match &request.scope {
                Scope::All => None,
                Scope::One(server) => Some(server),
            },
            item: name.unwrap_or(Item::None),
            through: None,
            result: match outcome {
                Ok(_) => Ended::Known,
                Err(error) => Ended::Failed(error),
            },
            took: begun.elapsed(),
        });
    }

    async fn route(&self, request: &Request, params: Params) -> Result<RawJson, ErrorObject> {
        let legacy = request.client.era() == Era::Legacy;
        match &*request.method {
            method::TOOLS_LIST => self.list(ListKind::Tools, request, &params).await,
            method::PROMPTS_LIST => self.list(ListKind::Prompts, request, &params).await,
            method::RESOURCES_LIST => self.list(ListKind::Resources, request, &params).await,
            method::TEMPLATES_LIST => self.list(ListKind::Templates, request, &params).await,
            method::TOOLS_CALL => self.call_tool(request, params).await,
            method::PROMPTS_GET => self.get_prompt(request, params).await,
            method::RESOURCES_READ => self.read_resource(request, params).await,
            method::COMPLETE => self.complete(request, params).await,
            method::PING if legacy => Ok(RawJson::EMPTY_OBJECT),
            method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE if legacy => {
                self.subscribe(request, &params).await
            }
            method::SET_LEVEL if legacy => self.set_level(request, &params).await,
            method::INITIALIZE => Err(ErrorObject::new(
                ErrorCode::INVALID_REQUEST,
                "this session is initialized already",
            )),
            method::PING
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE
            | method::SET_LEVEL => Err(ErrorObject::method_not_found(&request.method)),
            method::TASKS_GET | method::TASKS_RESULT | method::TASKS_UPDATE | method::TASKS_CANCEL => {
                self.task(request, params).await
            }
            method::TASKS_LIST => self.list_tasks(request, params).await,
            _ => self.other(request, params).await,
        }
    }

    async fn list(&self, kind: ListKind, request: &Request, params: &Params) -> Result<RawJson, ErrorObject> {
        if let Scope::One(server) = &request.scope {
            self.only(server, &request.client)?;
        }
        self.until_servers_started(&request.scope, &request.client).await;
        let cursor = params.get("cursor").map(RawJson::to_value);
        let cursor = cursor.filter(|cursor| !cursor.is_null());
        let first = cursor.is_none();
        if first {
            self.catalogue.catch_up();
        }
        let mut page = self.page(kind, request, cursor)?;
        if kind == ListKind::Tools && self.hooks.any(Trigger::ListTools) {
            let (scope, call) = (&request.scope, request.call());
            let all = || self.all_tools(request);
            let may = |listed: &str, shown: &str| {
                let found = self.find_tool(request, listed);
                found.is_some_and(|(offering, names)| {
                    let shown = Some(shown.into());
                    offering.permits(&Target::Tool { names, shown }, &request.client.principal)
                })
            };
            page.items = self
                .hooks
                .view_page(scope, &call, &page.items, first, all, may)
                .await?;
        }
        let mut out = Vec::with_capacity(page.items.len() + 192);
        out.push(b'{');
        if request.client.era() == Era::Modern {
            // The list depends on the key: it must not be shared (2026-07-28, Caching).
            out.extend_from_slice(br#""resultType":"complete","ttlMs":0,"cacheScope":"private","#);
        }
        out.extend_from_slice(format!("\"{}\":", kind.member()).as_bytes());
        out.extend_from_slice(page.items.bytes());
        if let Some(end) = &page.end {
            // Base64 needs no escaping.
            let cursor = pages::cursor(kind, end);
            out.extend_from_slice(format!(",\"nextCursor\":\"{cursor}\"").as_bytes());
        }
        out.push(b'}');
        Ok(RawJson::trusted(out))
    }

    /// How lists are written for the client of a request.
    fn style(&self, request: &Request) -> ListStyle {
        let (client, known) = (&request.client, KnownClient::of(&request.client));
        ListStyle {
            era: client.era(),
            instructions_in_tools: !known.shows_instructions,
            schemas: known.rules(client, self.compat).schemas,
        }
    }

    fn page(
        &self,
        kind: ListKind,
        request: &Request,
        cursor: Option<serde_json::Value>,
    ) -> Result<Page, ErrorObject> {
        let snapshot = self.snapshot_for(&request.scope, &request.client);
        let principal = &request.client.principal;
        let page = match cursor {
            None => snapshot
                .list(&request.scope, kind, principal, self.style(request))
                .first()
                .cloned(),
            Some(cursor) => {
                let position = cursor.as_str().and_then(|text| pages::read_cursor(kind, text));
                let position = position.ok_or_else(|| {
                    ErrorObject::invalid_params(
                        "`cursor` does not belong to this list; leave it out to start from the beginning",
                    )
                })?;
                Some(snapshot.list_after(&request.scope, kind, principal, self.style(request), &position))
            }
        };
        page.ok_or_else(|| ErrorObject::internal("the list is empty"))
    }

    /// All pages of the tools that the client may use.
    fn all_tools(&self, request: &Request) -> Arc<[Page]> {
        let snapshot = self.snapshot_for(&request.scope, &request.client);
        let principal = &request.client.principal;
        snapshot.list(&request.scope, ListKind::Tools, principal, self.style(request))
    }

    /// The one provider of `/mcp/{name}`.
    ///
    /// # Errors
    /// It is not there, or this key may not use it.
    pub fn only(&self, name: &str, client: &Client) -> Result<Arc<Offering>, ErrorObject> {
        let snapshot = self.catalogue.snapshot();
        snapshot
            .provider(name)
            .filter(|o| o.visible_to(&client.principal))
            .cloned()
            .ok_or_else(|| ErrorObject::invalid_params(format!("no server `{name}`")))
    }

    async fn call_tool(&self, request: &Request, mut params: Params) -> Result<RawJson, ErrorObject> {
        let name = params.str("name").ok_or_else(|| missing("name"))?.into_owned();
        let unknown = || ErrorObject::invalid_params(format!("unknown tool: {name}"));
        if let Scope::One(server) = &request.scope {
            self.only(server, &request.client)?;
        }
        let listed = self.listed_as(request, &name).await?.ok_or_else(unknown)?;
        let shown: Option<Box<str>> = (listed != name).then(|| name.as_str().into());
        // What is hidden takes the same time as what does not exist.
        let find = || {
            let (offering, names) = self.find_tool(request, &listed).ok_or_else(unknown)?;
            let shown = shown.clone();
            let target = Target::Tool { names, shown };
            let may = offering.permits(&target, &request.client.principal);
            may.then_some((offering, target)).ok_or_else(unknown)
        };
        let (offering, target) = self.find_once_started(request, &listed, find).await?;
        if let Target::Tool { names, .. } = &target {
            if let Some(headers) = &request.param_headers {
                check_param_headers(headers, &offering, names, &params)?;
            }
            if *names.listed != *name {
                params.set("name", RawJson::of(&*names.listed));
            }
        }
        let asked = ProviderRequest::new(&offering, &request.method, target, params);
        self.make(request, asked, unknown).await
    }

    /// The server and the names of the tool that is listed as `listed`. Whether the client may use it is asked when the
    /// call is made.
    fn find_tool(&self, request: &Request, listed: &str) -> Option<(Arc<Offering>, Arc<ToolNames>)> {
        match &request.scope {
            Scope::All => {
                let (offering, names) =
                    self.find(ListKind::Tools, request, listed, |item| item.names.clone())?;
                Some((offering, names?))
            }
            Scope::One(server) => {
                self.only(server, &request.client).ok()?;
                let snapshot = self.snapshot_for(&request.scope, &request.client);
                let offering = snapshot.provider(server)?.clone();
                let known = offering.may_have(ListKind::Tools, listed);
                let names = offering.tool_names(listed).filter(|_| known)?;
                Some((offering, names))
            }
        }
    }

    /// The offering of the item with this exposed name, and what `take` takes of the item: among what all clients have,
    /// else among what this one has.
    fn find<T>(
        &self,
        kind: ListKind,
        request: &Request,
        exposed: &str,
        take: impl Fn(&catalogue::Item) -> T,
    ) -> Option<(Arc<Offering>, T)> {
        let find = |snapshot: &Snapshot| {
            let (offering, item) = snapshot.find(kind, exposed)?;
            Some((offering.clone(), take(item)))
        };
        find(&self.catalogue.snapshot()).or_else(|| find(&self.snapshot_for(&request.scope, &request.client)))
    }

    /// The name in the list of the tool that a client calls `name`: `list.tools` hooks may have given it another one.
    /// `None` where they hid it.
    async fn listed_as(&self, request: &Request, name: &str) -> Result<Option<String>, ErrorObject> {
        if !self.hooks.any(Trigger::ListTools) {
            return Ok(Some(name.to_owned()));
        }
        let (scope, call) = (&request.scope, request.call());
        let all = || self.all_tools(request);
        self.hooks.called(scope, &call, name, all).await
    }

    async fn get_prompt(&self, request: &Request, mut params: Params) -> Result<RawJson, ErrorObject> {
        let name = params.str("name").ok_or_else(|| missing("name"))?.into_owned();
        let find = || {
            let (offering, own) = self.find_prompt(request, &name)?;
            let target = Target::Prompt(own.clone());
            let may = offering.permits(&target, &request.client.principal);
            may.then_some((offering, own))
                .ok_or_else(|| unknown_prompt(&name))
        };
        let (offering, own) = self.find_once_started(request, &name, find).await?;
        if *own != *name {
            params.set("name", RawJson::of(&*own));
        }
        let unknown = || unknown_prompt(&name);
        let asked = ProviderRequest::new(&offering, &request.method, Target::Prompt(own), params);
        self.make(request, asked, unknown).await
    }

    /// The provider of a prompt and its own name for it. Whether the client may use it is asked when the call is made.
    fn find_prompt(&self, request: &Request, name: &str) -> Result<(Arc<Offering>, Box<str>), ErrorObject> {
        match &request.scope {
            Scope::All => {
                let found = self.find(ListKind::Prompts, request, name, |item| item.original.clone());
                found.ok_or_else(|| unknown_prompt(name))
            }
            Scope::One(server) => {
                self.only(server, &request.client)?;
                let snapshot = self.snapshot_for(&request.scope, &request.client);
                let offering = snapshot.provider(server).cloned();
                let offering = offering.ok_or_else(|| unknown_prompt(name))?;
                match offering.may_have(ListKind::Prompts, name) {
                    true => Ok((offering, name.into())),
                    false => Err(unknown_prompt(name)),
                }
            }
        }
    }

    async fn read_resource(&self, request: &Request, mut params: Params) -> Result<RawJson, ErrorObject> {
        let uri = uri_of(&params)?;
        let (offering, own) = self.locate_resource(&request.scope, &uri, &request.client)?;
        if own != uri {
            params.set("uri", RawJson::of(&own));
        }
        let era = request.client.era();
        let unknown = || ErrorObject::resource_not_found(&uri, era);
        let asked = ProviderRequest::new(&offering, &request.method, Target::Resource(own.into()), params);
        self.make(request, asked, unknown).await
    }

    /// The provider of a resource and the resource's own URI. Whether the client may use it is another question.
    fn locate_resource(
        &self,
        scope: &Scope,
        uri: &str,
        client: &Client,
    ) -> Result<(Arc<Offering>, String), ErrorObject> {
        match scope {
            Scope::All => {
                let snapshot = self.catalogue.snapshot();
                let found = snapshot.find_resource(uri, &client.principal);
                let (offering, own) =
                    found.ok_or_else(|| ErrorObject::resource_not_found(uri, client.era()))?;
                Ok((offering.clone(), own))
            }
            Scope::One(server) => Ok((self.only(server, client)?, uri.to_owned())),
        }
    }

    /// The provider of a resource that the client may use, and the resource's own URI.
    ///
    /// # Errors
    /// No such resource for this key.
    pub fn find_resource(
        &self,
        scope: &Scope,
        uri: &str,
        client: &Client,
    ) -> Result<(Arc<Offering>, String), ErrorObject> {
        let (offering, own) = self.locate_resource(scope, uri, client)?;
        let target = Target::Resource(own.as_str().into());
        match offering.permits(&target, &client.principal) {
            true => Ok((offering, own)),
            false => Err(ErrorObject::resource_not_found(uri, client.era())),
        }
    }

    async fn complete(&self, request: &Request, mut params: Params) -> Result<RawJson, ErrorObject> {
        let reference = params.get("ref").cloned().ok_or_else(|| missing("ref"))?;
        let mut fields = RawObject::parse(&reference).map_err(|_| bad_reference())?;
        let text = |key: &str| fields.str(key).map(|text| text.into_owned());
        let (kind, name, uri) = (text("type"), text("name"), text("uri"));
        let era = request.client.era();
        let (offering, target, unknown) = match (kind.as_deref(), name, uri) {
            (Some("ref/prompt"), Some(name), None) => {
                let (offering, own) = self.find_prompt(request, &name)?;
                if *own != *name {
                    fields.set("name", &RawJson::of(&*own));
                    params.set("ref", fields.to_json());
                }
                (offering, Target::Prompt(own), unknown_prompt(&name))
            }
            (Some("ref/resource"), None, Some(uri)) => {
                let (offering, own) = self.locate_resource(&request.scope, &uri, &request.client)?;
                if own != uri {
                    fields.set("uri", &RawJson::of(&own));
                    params.set("ref", fields.to_json());
                }
                let unknown = ErrorObject::resource_not_found(&uri, era);
                (offering, Target::Resource(own.into()), unknown)
            }
            _ => return Err(bad_reference()),
        };
        let asked = ProviderRequest::new(&offering, &request.method, target, params);
        self.make(request, asked, || unknown.clone()).await
    }

    /// What the hub does not know goes to the one server of the endpoint; on `/mcp`, the hub itself has
    /// the skills extension.
    async fn other(&self, request: &Request, params: Params) -> Result<RawJson, ErrorObject> {
        let method = request.method.clone();
        let unknown = || ErrorObject::method_not_found(&method);
        let server = match &request.scope {
            Scope::One(server) => server,
            Scope::All if method.starts_with("skills/") || method.starts_with("resources/") => names::BUILTIN,
            Scope::All => return Err(unknown()),
        };
        let offering = self.only(server, &request.client)?;
        let asked = ProviderRequest::new(&offering, &request.method, Target::Server, params);
        self.make(request, asked, unknown).await
    }

    /// Makes a call. `unknown` is the answer where the client may not use what it names: the same as for something that
    /// does not exist.
    pub(super) async fn make(
        &self,
        request: &Request,
        asked: ProviderRequest,
        unknown: impl Fn() -> ErrorObject,
    ) -> Result<RawJson, ErrorObject> {
        let call = request.call();
        let (offering, target) = (asked.offering.clone(), asked.target.clone());
        request.made.store(true, Ordering::Relaxed);
        let made = self.calls.make(asked, &call, None).await;
        let CompletedCall { answer, arguments } = made.map_err(|failure| match failure {
            CallFailure::NotPermitted => unknown(),
            CallFailure::Error(error) => error,
        })?;
        self.note_task(
            &call.client,
            &offering,
            &target,
            arguments.as_ref(),
            &answer.result,
        );
        if offering.kind() == ProviderKind::Hub {
            return Ok(answer.result);
        }
        let client = &request.client;
        let namespace = (request.scope == Scope::All).then_some(&offering.namespace);
        let may_read = |uri: &str| offering.permits(&Target::Resource(uri.into()), &client.principal);
        let result = rewrite::shown_result(answer.result, namespace, &may_read);
        Ok(match &*request.method {
            method::TOOLS_CALL | method::TASKS_RESULT => {
                results::of_tool(result, client, offering.kind(), self.compat)
            }
            method::PROMPTS_GET => results::of_prompt(result, client, self.compat),
            _ => result,
        })
    }

    async fn subscribe(&self, request: &Request, params: &Params) -> Result<RawJson, ErrorObject> {
        let uri = uri_of(params)?;
        let (offering, original) = self.find_resource(&request.scope, &uri, &request.client)?;
        let subscribes = &*request.method == method::RESOURCES_SUBSCRIBE;
        if subscribes {
            offering.provider.subscribe(&original, &request.client).await?;
        } else {
            offering.provider.unsubscribe(&original, &request.client).await?;
        }
        if let Some(session) = self.sessions.of_client(&request.client.key) {
            match subscribes {
                true => session.subscribed(&uri),
                false => session.unsubscribed(&uri),
            }
            self.keep(&session);
        }
        Ok(RawJson::EMPTY_OBJECT)
    }

    async fn set_level(&self, request: &Request, params: &Params) -> Result<RawJson, ErrorObject> {
        let level = params.str("level");
        let level = level.as_deref().and_then(LogLevel::parse).ok_or_else(|| {
            ErrorObject::invalid_params(
                "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency",
            )
        })?;
        request.client.log_level.store(level.rank(), Ordering::Relaxed);
        self.tell_log_level(&request.scope, &request.client).await;
        self.keep_client(&request.client);
        Ok(RawJson::EMPTY_OBJECT)
    }

    /// Tells all servers that are up which log level the client wants.
    pub(super) async fn tell_log_level(&self, scope: &Scope, client: &Arc<Client>) {
        let snapshot = self.catalogue.snapshot_full();
        let offerings = snapshot
            .in_scope(scope)
            .filter(|o| o.visible_to(&client.principal) && o.provider.status().state.serves());
        futures::future::join_all(offerings.map(|o| o.provider.set_log_level(client))).await;
    }
}

/// The resource that a request names.
fn uri_of(params: &Params) -> Result<String, ErrorObject> {
    let uri = params.str("uri").ok_or_else(|| missing("uri"))?;
    Ok(uri.into_owned())
}

fn unknown_prompt(name: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("unknown prompt: {name}"))
}

fn bad_reference() -> ErrorObject {
    ErrorObject::invalid_params(
        "`params.ref` must be {\"type\": \"ref/prompt\", \"name\": …} or {\"type\": \"ref/resource\", \"uri\": …}",
    )
}

fn missing(what: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("`params.{what}` is missing"))
}

/// Checks the headers that repeat arguments of a tool (2026-07-28, `x-mcp-header`).
///
/// # Errors
/// A header differs from its argument, or is missing.
fn check_param_headers(
    headers: &HeaderMap,
    offering: &Offering,
    names: &ToolNames,
    params: &Params,
) -> Result<(), ErrorObject> {
    let bindings = offering.tool(&names.listed).map(|item| &item.bindings);
    let Some(bindings) = bindings.filter(|bindings| !bindings.is_empty()) else {
        return Ok(());
    };
    let arguments = params.get("arguments").map(RawJson::to_value);
    headers::check_params(headers, bindings, &arguments.unwrap_or_default())
        .map_err(|text| ErrorObject::new(ErrorCode::HEADER_MISMATCH, text))
}
