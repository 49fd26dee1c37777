//! One plugin as a provider: prepared in the background, called in a fresh sandbox each time.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_mcp::{
    Era, ErrorCode, ErrorObject, RawJson, RawObject,
    method::{self, meta},
    object::Edit,
};
use aih_runtime::{
    CallError, Context, LoadError, Loaded, Output, Reserved, Tool, ToolCall, World, output_size,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::convert;
use crate::{
    catalogue::{ListKind, items},
    components::{
        CallHost, ComponentLoader, HostContext, PrepareError, entry_spec,
        live::{ComponentSource, LiveComponent},
        schema::Schema,
    },
    config,
    provider::{
        Answer, Call, ChangeSignal, Client, ClientKey, Offers, Provider, ProviderKind, ProviderStatus,
    },
};

/// Bytes of arguments and answers that are read on the thread of their call: less than a millisecond's work.
const SMALL: usize = 256 << 10;

/// One plugin.
pub struct PluginServer {
    name: String,
    host: HostContext,
    live: Arc<LiveComponent<Ready>>,
    running: AtomicUsize,
    crashes: AtomicU64,
}

/// A component that can be called, and what it offers.
struct Ready {
    component: Loaded,
    tools: HashMap<Box<str>, Checks>,
    offers: Arc<Offers>,
}

/// The schemas of one tool, compiled.
struct Checks {
    input: Schema,
    output: Option<Schema>,
}

impl PluginServer {
    /// Prepares the plugin in the background; `signal` is marked when it is up or has failed.
    pub(crate) fn start(
        config: &config::Plugin,
        host: HostContext,
        loader: ComponentLoader,
        reserved: &Arc<Reserved>,
        signal: ChangeSignal,
    ) -> Arc<Self> {
        let source = ComponentSource {
            file: config.file.clone(),
            language: config.runtime,
            world: World::Plugin,
            spec: entry_spec(config, reserved),
            disabled: config.state.reason().map(ToString::to_string),
        };
        let entry = Arc::new(config.clone());
        let name = config.name.clone();
        let live = LiveComponent::start(
            source,
            loader,
            move |component| ready(component, entry.clone()),
            move |outcome| {
                match outcome {
                    Ok(ready) => {
                        let tools = ready.tools.len();
                        tracing::info!(target: "aih::plugin", plugin = name, tools, "up");
                    }
                    Err(error) => tracing::warn!(target: "aih::plugin", plugin = name, "{error}"),
                }
                signal.mark();
            },
        );
        Arc::new(Self {
            name: config.name.clone(),
            host,
            live,
            running: AtomicUsize::new(0),
            crashes: AtomicU64::new(0),
        })
    }

    /// One call of a tool.
    async fn call(&self, params: Option<RawJson>, call: &Call) -> Result<RawJson, ErrorObject> {
        let name = &*self.name;
        let Some(ready) = self.live.ready() else {
            return Err(ErrorObject::new(
                ErrorCode::UPSTREAM_UNAVAILABLE,
                format!("plugin `{name}`: {}", self.live.unavailable()),
            ));
        };
        let params = params.unwrap_or(RawJson::EMPTY_OBJECT);
        let object = RawObject::parse(&params)
            .map_err(|_| ErrorObject::invalid_params("`params` must be an object"))?;
        let tool = object
            .str("name")
            .ok_or_else(|| ErrorObject::invalid_params("`params.name` is missing"))?
            .into_owned();
        if !ready.tools.contains_key(&*tool) {
            return Err(ErrorObject::invalid_params(format!("unknown tool: {tool}")));
        }
        let arguments = match object.raw("arguments") {
            Some(arguments) if arguments.bytes().as_ref() != b"null" => arguments,
            _ => RawJson::EMPTY_OBJECT,
        };
        let mut arguments = arguments;
        let mut problem = input_problems(&ready, &tool, &arguments).await;
        if problem.is_some()
            && let Some(without) = without_null(&arguments)
            && input_problems(&ready, &tool, &without).await.is_none()
        {
            (arguments, problem) = (without, None);
        }
        if let Some(problem) = problem {
            let error_result = convert::error_result(&format!("invalid arguments: {problem}"));
            return Ok(RawJson::of(&error_result).without_secrets());
        }
        let call_id: Arc<str> = new_call_id().into();
        let progress = object
            .raw("_meta")
            .and_then(|meta| RawObject::parse(&meta).ok()?.raw(meta::PROGRESS_TOKEN));
        let host = CallHost {
            host: self.host.clone(),
            call_id: call_id.clone(),
            call: Some(call.again()),
            progress,
            record: None,
        };
        let limit = ready.component.spec().limits.time;
        let called = tool.clone();
        let sent = ToolCall {
            call_id: call_id.to_string(),
            tool,
            arguments_json: arguments.text().into_owned(),
            deadline_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            extras: vec![("principal".to_owned(), call.client.principal.name.to_string())],
        };
        let context = Context {
            host: Arc::new(host),
            cancel: call.cancel.clone(),
            patience: None,
            principal: Some(call.client.principal.name.clone()),
        };
        let outcome = ready.component.call_tool(sent, context).await;
        let output = match outcome {
            Ok(output) => output,
            Err(error) => {
                if !matches!(
                    error,
                    CallError::Failed(_) | CallError::Cancelled | CallError::Busy { .. }
                ) {
                    self.crashes.fetch_add(1, Ordering::Relaxed);
                    self.live.note(error.to_string());
                    tracing::warn!(target: "aih::plugin", plugin = name, call = &*call_id, "{error}");
                }
                return convert::failure(name, &error)
                    .map(|error_result| RawJson::of(&error_result).without_secrets());
            }
        };
        let checked = converted(&ready, &called, output).await;
        checked.map_err(|why| {
            let error = convert::bad_answer(name, &why);
            self.crashes.fetch_add(1, Ordering::Relaxed);
            self.live.note(format!("a call of `{called}` failed: {why}"));
            tracing::warn!(target: "aih::plugin", plugin = name, call = &*call_id, "{}", error.message);
            error
        })
    }
}

/// What is wrong with the arguments of a tool, if anything is.
async fn input_problems(ready: &Arc<Ready>, tool: &str, arguments: &RawJson) -> Option<String> {
    if arguments.bytes().len() <= SMALL {
        let schema = &ready.tools.get(tool)?.input;
        let value = arguments.to_value();
        if schema.is_quick(&value) {
            return schema.problems(&value);
        }
    }
    let (of, tool, arguments) = (ready.clone(), tool.to_owned(), arguments.clone());
    let check = move || of.tools.get(&*tool)?.input.problems(&arguments.to_value());
    ready.component.compute(check).await
}

/// The arguments without those that are `null`: for many models that is the same as to leave them out. `None` where none
/// is.
fn without_null(arguments: &RawJson) -> Option<RawJson> {
    let mut object = RawObject::parse(arguments).ok()?;
    let changed = object.edit(|_, value| match value.get() {
        "null" => Edit::Remove,
        _ => Edit::Keep,
    });
    changed.then(|| object.to_json())
}

/// What a tool answered as the result of `tools/call`.
///
/// # Errors
/// What is wrong with it.
async fn converted(ready: &Arc<Ready>, tool: &str, output: Output) -> Result<RawJson, String> {
    let failed = output.is_error;
    let (of, named) = (ready.clone(), tool.to_owned());
    if output_size(&output) > SMALL as u64 {
        let work = move || of.checked(&named, failed, &convert::result(output)?);
        return ready.component.compute(work).await;
    }
    let result = convert::result(output)?;
    let quick = |schema: &Schema| schema.is_quick(structured(&result));
    if failed || ready.output_schema(tool).is_none_or(quick) {
        return ready.checked(tool, failed, &result);
    }
    ready
        .component
        .compute(move || of.checked(&named, failed, &result))
        .await
}

/// The structured part of a result, `null` where there is none.
fn structured(result: &Value) -> &Value {
    result.get("structuredContent").unwrap_or(&Value::Null)
}

impl Ready {
    fn output_schema(&self, tool: &str) -> Option<&Schema> {
        self.tools.get(tool)?.output.as_ref()
    }

    /// A result as JSON, once it fits the tool's output schema; a failure needs not.
    fn checked(&self, tool: &str, failed: bool, result: &Value) -> Result<RawJson, String> {
        let schema = self.output_schema(tool).filter(|_| !failed);
        match schema.and_then(|schema| schema.problems(structured(result))) {
            Some(problem) => Err(format!("it does not fit the tool's output schema: {problem}")),
            None => Ok(RawJson::of(result).without_secrets()),
        }
    }
}

/// Lists the tools of a component and compiles their schemas.
async fn ready(component: Loaded, config: Arc<config::Plugin>) -> Result<Ready, PrepareError> {
    let fault = |source| PrepareError::Load {
        path: config.file.clone(),
        source,
    };
    let listed = component.list_tools().await.map_err(fault)?;
    let mut tools = HashMap::new();
    let mut offered = Vec::new();
    for tool in &listed {
        let wrong = |why: String| fault(LoadError::Tools(format!("`{}`: {why}", tool.name)));
        tools.insert(tool.name.as_str().into(), checks(tool).map_err(wrong)?);
        let tool = convert::tool(tool).map_err(|error| wrong(error.to_string()))?;
        offered.push(tool.without_secrets());
    }
    let checked = items::check(&config.name, ListKind::Tools, offered);
    let offers = Offers {
        tools: checked.items,
        flaws: checked.flaws,
        capabilities: Some(RawJson::of(&json!({
            "tools": { "listChanged": true }, "logging": {},
        }))),
        server_info: Some(RawJson::of(&json!({
            "name": config.name, "version": env!("CARGO_PKG_VERSION"),
        }))),
        instructions: config.description.clone(),
        ..Offers::default()
    };
    Ok(Ready {
        component,
        tools,
        offers: Arc::new(offers),
    })
}

/// Counts a call for as long as it is there, also when its caller drops it.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An id that is unique in this process and tells nothing.
fn new_call_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn checks(tool: &Tool) -> Result<Checks, String> {
    let compile = |text: &str, what: &str| {
        let schema = serde_json::from_str(text).map_err(|e| format!("the {what}: {e}"))?;
        Schema::compile(schema).map_err(|why| format!("the {what} {why}"))
    };
    Ok(Checks {
        input: compile(&tool.input_schema, "input-schema")?,
        output: tool
            .output_schema
            .as_ref()
            .map(|text| compile(text, "output-schema"))
            .transpose()?,
    })
}

#[async_trait]
impl Provider for PluginServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> ProviderStatus {
        let status = self.live.status();
        ProviderStatus {
            name: self.name.clone(),
            kind: ProviderKind::Plugin,
            state: status.state,
            last_error: status.last_error.clone(),
            transport: "component".to_owned(),
            protocol: None,
            connections: self.running.load(Ordering::Relaxed),
            restarts: self.crashes.load(Ordering::Relaxed),
            parked: Vec::new(),
            flaws: self.offers().flaws.clone(),
        }
    }

    fn offers(&self) -> Arc<Offers> {
        static NOTHING: LazyLock<Arc<Offers>> = LazyLock::new(Arc::default);
        self.live
            .ready()
            .map_or_else(|| NOTHING.clone(), |ready| ready.offers.clone())
    }

    async fn request(
        &self,
        method: &str,
        params: Option<RawJson>,
        call: &Call,
    ) -> Result<Answer, ErrorObject> {
        if method != method::TOOLS_CALL {
            return Err(ErrorObject::method_not_found(method));
        }
        let _running = Running::new(&self.running);
        Ok(Answer {
            result: self.call(params, call).await?,
            era: Era::Legacy,
        })
    }

    async fn notify(&self, _method: &str, _params: Option<RawJson>, _client: &Arc<Client>) {}

    async fn subscribe(&self, _uri: &str, _client: &Arc<Client>) -> Result<(), ErrorObject> {
        Err(ErrorObject::method_not_found(method::RESOURCES_SUBSCRIBE))
    }

    async fn unsubscribe(&self, _uri: &str, _client: &Arc<Client>) -> Result<(), ErrorObject> {
        Ok(())
    }

    async fn set_log_level(&self, _client: &Arc<Client>) {}

    fn release(&self, _client: &ClientKey) {}

    async fn shutdown(&self, _grace: Duration) {
        self.live.stop();
    }
}
