//! From a method and its parameters to an answer: names are looked up, permissions checked, eras bridged.

use std::{sync::Arc, time::Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Gateway,
    bridge::{as_modern, ask_provider},
    record::Row,
    rewrite,
};
use crate::{
    catalogue::{
        ListKind, Offering, Scope, names,
        pages::{self, Page},
        provider::{Call, Client, LogLevel, Peer, ProviderState, Trail},
        skills_mcp,
    },
    hooks::Trigger,
    mcp::{Era, ErrorCode, ErrorObject, ProtocolVersion, RawJson, RawObject, method},
};

/// One request of a client, whichever way it came.
pub struct Request {
    /// Which providers its endpoint shows.
    pub scope: Scope,
    /// The method.
    pub method: Box<str>,
    /// Its parameters, with the client's names.
    pub params: Option<RawJson>,
    /// Who asks.
    pub client: Arc<Client>,
    /// Reaches the client while this runs.
    pub peer: Arc<dyn Peer>,
    /// Fires when the client cancels.
    pub cancel: CancellationToken,
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

/// Where a request goes: the provider, and the parameters with its own names.
pub(super) struct Route {
    offering: Arc<Offering>,
    params: Option<RawJson>,
}

impl Gateway {
    /// Answers a request.
    ///
    /// # Errors
    /// The provider's error unchanged, or the hub's own with what to do.
    pub async fn answer(&self, request: Request) -> Result<RawJson, ErrorObject> {
        let legacy = request.client.era() == Era::Legacy;
        match &*request.method {
            method::TOOLS_LIST => self.list(ListKind::Tools, &request).await,
            method::PROMPTS_LIST => self.list(ListKind::Prompts, &request).await,
            method::RESOURCES_LIST => self.list(ListKind::Resources, &request).await,
            method::TEMPLATES_LIST => self.list(ListKind::Templates, &request).await,
            method::TOOLS_CALL => {
                let request = self.shown_to_listed(request).await?;
                let route = |request: &Request| self.route_item(ListKind::Tools, request);
                self.forward(self.route_young(&request, route).await?, request)
                    .await
            }
            method::PROMPTS_GET => {
                let route = |request: &Request| self.route_item(ListKind::Prompts, request);
                self.forward(self.route_young(&request, route).await?, request)
                    .await
            }
            method::RESOURCES_READ => self.forward(self.route_resource(&request)?, request).await,
            method::COMPLETE => self.forward(self.route_completion(&request)?, request).await,
            method::PING if legacy => Ok(RawJson::EMPTY_OBJECT),
            method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE if legacy => {
                self.subscribe(&request).await
            }
            method::SET_LEVEL if legacy => self.set_level(&request).await,
            method::INITIALIZE => Err(ErrorObject::new(
                ErrorCode::INVALID_REQUEST,
                "this session is initialized already",
            )),
            method::PING
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE
            | method::SET_LEVEL => Err(ErrorObject::method_not_found(&request.method)),
            _ => self.forward(self.route_other(&request)?, request).await,
        }
    }

    async fn list(&self, kind: ListKind, request: &Request) -> Result<RawJson, ErrorObject> {
        if let Scope::One(server) = &request.scope {
            self.only(server, &request.client)?;
        }
        self.until_warm(&request.scope, &request.client.principal).await;
        let cursor = request
            .params
            .as_ref()
            .and_then(|p| RawObject::parse(p).ok()?.read::<serde_json::Value>("cursor"))
            .filter(|cursor| !cursor.is_null());
        let first = cursor.is_none();
        if first {
            self.catalogue.catch_up();
        }
        let mut page = self.page(kind, request, cursor)?;
        if kind == ListKind::Tools && self.hooks.any(Trigger::ListTools) {
            let (scope, call) = (&request.scope, request.call());
            let all = || self.all_tools(request);
            page.items = self
                .hooks
                .view_page(scope, &call, &page.items, first, all)
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
        if let Some(last) = &page.last {
            // Base64 needs no escaping.
            let cursor = pages::cursor(kind, last);
            out.extend_from_slice(format!(",\"nextCursor\":\"{cursor}\"").as_bytes());
        }
        out.push(b'}');
        Ok(RawJson::trusted(out))
    }

    fn page(
        &self,
        kind: ListKind,
        request: &Request,
        cursor: Option<serde_json::Value>,
    ) -> Result<Page, ErrorObject> {
        let snapshot = self.catalogue.snapshot();
        let principal = &request.client.principal;
        let page = match cursor {
            None => snapshot.list(&request.scope, kind, principal).first().cloned(),
            Some(cursor) => {
                let last = cursor.as_str().and_then(|text| pages::read_cursor(kind, text));
                let last = last.ok_or_else(|| {
                    ErrorObject::invalid_params(
                        "`cursor` is none of this list; leave it out to start from the beginning",
                    )
                })?;
                Some(snapshot.list_after(&request.scope, kind, principal, &last))
            }
        };
        page.ok_or_else(|| ErrorObject::internal("the list is empty"))
    }

    /// All pages of the tools that the client may use.
    fn all_tools(&self, request: &Request) -> Arc<[Page]> {
        let snapshot = self.catalogue.snapshot();
        snapshot.list(&request.scope, ListKind::Tools, &request.client.principal)
    }

    /// A call of a tool under the name that `list.tools` hooks gave it, with the name that it has without them.
    async fn shown_to_listed(&self, mut request: Request) -> Result<Request, ErrorObject> {
        if !self.hooks.any(Trigger::ListTools) {
            return Ok(request);
        }
        let params = request.params.as_ref().ok_or_else(|| missing("name"))?;
        let object = RawObject::parse(params)
            .map_err(|_| ErrorObject::invalid_params("`params` must be an object"))?;
        let name = object.str("name").ok_or_else(|| missing("name"))?.into_owned();
        let (scope, call) = (&request.scope, request.call());
        let all = || self.all_tools(&request);
        let called = self.hooks.called(scope, &call, &name, all).await?;
        let called = called.ok_or_else(|| ErrorObject::invalid_params(format!("unknown tool: {name}")))?;
        if called != name {
            request.params = rewrite::set_str(params, "name", |_| called);
        }
        Ok(request)
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

    fn route_item(&self, kind: ListKind, request: &Request) -> Result<Route, ErrorObject> {
        let params = request.params.as_ref().ok_or_else(|| missing("name"))?;
        let mut object = RawObject::parse(params)
            .map_err(|_| ErrorObject::invalid_params("`params` must be an object"))?;
        let name = object.str("name").ok_or_else(|| missing("name"))?.into_owned();
        let what = if kind == ListKind::Tools { "tool" } else { "prompt" };
        let unknown = || ErrorObject::invalid_params(format!("unknown {what}: {name}"));
        match &request.scope {
            Scope::All => {
                let snapshot = self.catalogue.snapshot();
                let (offering, item) = snapshot
                    .find(kind, &name, &request.client.principal)
                    .ok_or_else(unknown)?;
                let original = RawJson::of(&*item.original);
                object.set("name", &original);
                Ok(Route {
                    offering: offering.clone(),
                    params: Some(object.to_json()),
                })
            }
            Scope::One(server) => {
                let offering = self.only(server, &request.client)?;
                // What is not listed is not there, here as on `/mcp`: a server's own words would tell it from what is
                // hidden. A server that has not told its lists yet says why it does not serve.
                let known = offering.offers.capabilities.is_none()
                    || offering.items(kind).iter().any(|item| *item.original == *name);
                (known && allowed(&offering, &name, &request.client))
                    .then_some(())
                    .ok_or_else(unknown)?;
                Ok(Route {
                    offering,
                    params: request.params.clone(),
                })
            }
        }
    }

    /// The provider of a resource and the resource's own URI.
    ///
    /// # Errors
    /// No such resource for this key.
    pub fn find_resource(
        &self,
        scope: &Scope,
        uri: &str,
        client: &Client,
    ) -> Result<(Arc<Offering>, String), ErrorObject> {
        let unknown = || ErrorObject::resource_not_found(uri, client.era());
        match scope {
            Scope::All => {
                let snapshot = self.catalogue.snapshot();
                let (offering, original) = snapshot
                    .find_resource(uri, &client.principal)
                    .ok_or_else(unknown)?;
                Ok((offering.clone(), original))
            }
            Scope::One(server) => {
                let offering = self.only(server, client)?;
                offering
                    .permits_resource(uri, &client.principal)
                    .then_some(())
                    .ok_or_else(unknown)?;
                Ok((offering, uri.to_owned()))
            }
        }
    }

    fn route_resource(&self, request: &Request) -> Result<Route, ErrorObject> {
        let (params, uri) = uri_of(request)?;
        let (offering, original) = self.find_resource(&request.scope, &uri, &request.client)?;
        let params = rewrite::set_str(params, "uri", |_| original);
        Ok(Route { offering, params })
    }

    fn route_completion(&self, request: &Request) -> Result<Route, ErrorObject> {
        if let Scope::One(server) = &request.scope {
            return Ok(Route {
                offering: self.only(server, &request.client)?,
                params: request.params.clone(),
            });
        }
        let params = request.params.as_ref().ok_or_else(|| missing("ref"))?;
        let mut object = RawObject::parse(params).map_err(|_| missing("ref"))?;
        let reference = object.raw("ref").ok_or_else(|| missing("ref"))?;
        let fields = RawObject::parse(&reference).map_err(|_| missing("ref"))?;
        let (offering, reference) = if let Some(name) = fields.str("name") {
            let snapshot = self.catalogue.snapshot();
            let (offering, item) = snapshot
                .find(ListKind::Prompts, &name, &request.client.principal)
                .ok_or_else(|| ErrorObject::invalid_params(format!("unknown prompt: {name}")))?;
            (
                offering.clone(),
                rewrite::set_str(&reference, "name", |_| item.original.to_string()),
            )
        } else {
            let uri = fields.str("uri").ok_or_else(|| missing("ref"))?.into_owned();
            let (offering, original) = self.find_resource(&request.scope, &uri, &request.client)?;
            (offering, rewrite::set_str(&reference, "uri", |_| original))
        };
        if let Some(reference) = reference {
            object.set("ref", &reference);
        }
        Ok(Route {
            offering,
            params: Some(object.to_json()),
        })
    }

    /// What the hub does not know goes to the one server of the endpoint; on `/mcp`, the hub itself has
    /// the skills extension.
    fn route_other(&self, request: &Request) -> Result<Route, ErrorObject> {
        match &request.scope {
            Scope::One(server) => Ok(Route {
                offering: self.only(server, &request.client)?,
                params: request.params.clone(),
            }),
            Scope::All
                if request.method.starts_with("skills/") || request.method.starts_with("resources/") =>
            {
                Ok(Route {
                    offering: self.only(names::HUB, &request.client)?,
                    params: request.params.clone(),
                })
            }
            Scope::All => Err(ErrorObject::method_not_found(&request.method)),
        }
    }

    async fn forward(&self, route: Route, request: Request) -> Result<RawJson, ErrorObject> {
        let Route { offering, params } = route;
        let call = request.call();
        let (to, method, by) = (&*offering, &*request.method, &call);
        let row = (method == method::TOOLS_CALL).then(|| Row {
            call: by,
            server: to.provider.name(),
            through: None,
            begun: Instant::now(),
        });
        let asked = row.as_ref().and_then(|_| params.clone());
        let outcome = self
            .hooks
            .around(to, method, params, by, |params| {
                ask_provider(to, method, params, by)
            })
            .await;
        if let Some(row) = row {
            row.ended(asked.as_ref(), &outcome);
        }
        let answer = outcome?;
        let result = match request.scope {
            Scope::All if offering.namespace.as_str() != names::HUB => {
                rewrite::expose_result(answer.result, &offering.namespace)
            }
            _ => answer.result,
        };
        Ok(if call.client.era() == Era::Modern && answer.era == Era::Legacy {
            as_modern(&request.method, &result)
        } else {
            result
        })
    }

    async fn subscribe(&self, request: &Request) -> Result<RawJson, ErrorObject> {
        let (_, uri) = uri_of(request)?;
        let (offering, original) = self.find_resource(&request.scope, &uri, &request.client)?;
        if &*request.method == method::RESOURCES_SUBSCRIBE {
            offering.provider.subscribe(&original, &request.client).await?;
        } else {
            offering.provider.unsubscribe(&original, &request.client).await?;
        }
        Ok(RawJson::EMPTY_OBJECT)
    }

    async fn set_level(&self, request: &Request) -> Result<RawJson, ErrorObject> {
        let word = request
            .params
            .as_ref()
            .and_then(|p| RawObject::parse(p).ok()?.read::<String>("level"));
        let level = word.as_deref().and_then(LogLevel::parse).ok_or_else(|| {
            ErrorObject::invalid_params(
                "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency",
            )
        })?;
        request
            .client
            .log_level
            .store(level.rank(), std::sync::atomic::Ordering::Relaxed);
        let snapshot = self.catalogue.snapshot_full();
        let offerings = snapshot.in_scope(&request.scope).filter(|o| {
            o.visible_to(&request.client.principal) && o.provider.status().state == ProviderState::Up
        });
        futures::future::join_all(offerings.map(|o| o.provider.set_log_level(&request.client))).await;
        Ok(RawJson::EMPTY_OBJECT)
    }

    /// The fields that `initialize` and `server/discover` share: capabilities, serverInfo, instructions.
    pub async fn introduction(
        &self,
        scope: &Scope,
        client: &Arc<Client>,
    ) -> Result<Introduction, ErrorObject> {
        let mut introduction = self.introduction_of(scope, client).await?;
        if let Some(said) = self.hooks.conversation(client).await? {
            let instructions = introduction.instructions.take();
            introduction.instructions = Some(match instructions {
                Some(own) => format!("{own}\n\n{said}"),
                None => said,
            });
        }
        Ok(introduction)
    }

    async fn introduction_of(&self, scope: &Scope, client: &Client) -> Result<Introduction, ErrorObject> {
        let own_info = || {
            RawJson::of(&json!({
                "name": "aih", "title": self.name, "version": env!("CARGO_PKG_VERSION"),
            }))
        };
        match scope {
            Scope::All => {
                let hub = self.only(names::HUB, client)?;
                Ok(Introduction {
                    capabilities: RawJson::of(&json!({
                        "tools": { "listChanged": true },
                        "prompts": { "listChanged": true },
                        "resources": { "listChanged": true, "subscribe": true },
                        "completions": {},
                        "logging": {},
                        "extensions": { (skills_mcp::EXTENSION): skills_mcp::capability() },
                    })),
                    server_info: own_info(),
                    instructions: hub.offers.instructions.clone(),
                })
            }
            Scope::One(name) => {
                self.until_started(name, &client.principal).await;
                let offers = self.only(name, client)?.provider.offers();
                Ok(Introduction {
                    capabilities: offers.capabilities.clone().unwrap_or(RawJson::EMPTY_OBJECT),
                    server_info: offers.server_info.clone().unwrap_or_else(own_info),
                    instructions: offers.instructions.clone(),
                })
            }
        }
    }
}

/// What a server says of itself.
pub struct Introduction {
    /// Its capabilities.
    pub capabilities: RawJson,
    /// Its `serverInfo`.
    pub server_info: RawJson,
    /// How to use it.
    pub instructions: Option<String>,
}

impl Introduction {
    /// The result of `initialize`.
    pub fn initialize_result(&self, version: ProtocolVersion) -> RawJson {
        let mut result = json!({
            "protocolVersion": version.as_str(),
            "capabilities": self.capabilities,
            "serverInfo": self.server_info,
        });
        if let (Some(text), Some(object)) = (&self.instructions, result.as_object_mut()) {
            object.insert("instructions".into(), text.as_str().into());
        }
        RawJson::of(&result)
    }

    /// The result of `server/discover`.
    pub fn discover_result(&self) -> RawJson {
        let mut versions: Vec<_> = ProtocolVersion::ALL.iter().map(|v| v.as_str()).collect();
        versions.reverse();
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": versions,
            "capabilities": self.capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": self.server_info },
        });
        if let (Some(text), Some(object)) = (&self.instructions, result.as_object_mut()) {
            object.insert("instructions".into(), text.as_str().into());
        }
        RawJson::of(&result)
    }
}

/// The parameters of a request that names a resource, and the resource.
fn uri_of(request: &Request) -> Result<(&RawJson, String), ErrorObject> {
    let params = request.params.as_ref().ok_or_else(|| missing("uri"))?;
    let uri = RawObject::parse(params).ok().and_then(|o| o.read("uri"));
    Ok((params, uri.ok_or_else(|| missing("uri"))?))
}

fn missing(what: &str) -> ErrorObject {
    ErrorObject::invalid_params(format!("`params.{what}` is missing"))
}

/// Whether the client's key may use something of a provider by its own name.
pub(crate) fn allowed(offering: &Offering, item: &str, client: &Client) -> bool {
    offering.namespace.as_str() == names::HUB
        || client.principal.permissions().allows(&offering.permission(item))
}
