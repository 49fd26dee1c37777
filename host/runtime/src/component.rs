//! A component, compiled and linked: its tools, and one call after the other, each in a sandbox of its own.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, component::Component};

use crate::{
    bindings::{
        Event, Failure, Outcome, Output, Tool, ToolCall,
        hook::{Hook, HookPre},
        plugin::{Plugin, PluginPre},
    },
    compute::{self, ComputeHistory, TurnOwner},
    egress::Egress,
    engine::{Inner, Runtime, blocking},
    error::{CallError, LoadError, Stop},
    files::{self, Folder, Reserved},
    grants::Grants,
    host::{Host, Nothing},
    idle, inspect,
    limits::Limits,
    output,
    sandbox::{Begin, Sandbox},
    stopwatch::Stopwatch,
    tools,
};

/// How long a guest whose caller gave up may take to notice.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// Bytes that a guest may hand to the host at once, at least: a request's body, a value of its state.
const HANDED: usize = 16 << 20;
/// Handles of resources, tasks and streams that the guests' own instances may hold at once.
const COMPONENT_HANDLES: usize = 10_000;
/// How long to wait at first, and at most, for another call to give its part of the pool back.
const POOL_WAIT: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// What a component is to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Offers tools.
    Plugin,
    /// Runs on events.
    Hook,
}

/// What the operator says of one component.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Its name in the configuration.
    pub name: String,
    /// What it may reach.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// What `config.get` answers.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Whose the grants are, in messages and in [`Reserved::granted`]: `` plugin `x` ``.
    pub owner: String,
    /// What no folder of it may be or hold.
    pub reserved: Arc<Reserved>,
}

/// One call on its way into a component.
pub struct Context {
    /// What the guest may ask of the hub, in the name of the caller.
    pub host: Arc<dyn Host>,
    /// Fires when the caller gave up.
    pub cancel: CancellationToken,
    /// How long the call may wait for its turn: for a place, for memory of the pool, and for a processor, all together.
    /// Then its time ([`Limits::time`]) counts from when the guest runs, and only while it runs or waits for the host.
    /// `None` counts these waits as the call's time.
    pub patience: Option<Duration>,
    /// The key in whose name it runs. Guests of one principal share its turns where guests compute for long; `None` is the
    /// component itself.
    pub principal: Option<Arc<str>>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            host: Arc::new(Nothing),
            cancel: CancellationToken::new(),
            patience: None,
            principal: None,
        }
    }
}

/// A component that is ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Loaded {
    inner: Arc<LoadedInner>,
}

struct LoadedInner {
    runtime: Arc<Inner>,
    spec: Arc<Spec>,
    exports: Exports,
    /// What calls are made with.
    full: SandboxParts,
    /// What tools are listed with: no grants.
    bare: SandboxParts,
    gate: Arc<Semaphore>,
    history: Arc<ComputeHistory>,
    /// Instances that calls left, for further ones: see [`Limits::warm`].
    warm: Mutex<Vec<Live>>,
    /// An instance that no call used, for the next one.
    spare: Mutex<Option<(Live, OwnedSemaphorePermit)>>,
}

/// What sandboxes are made with, held for as long as the component is loaded.
pub(crate) struct SandboxParts {
    pub(crate) spec: Arc<Spec>,
    pub(crate) egress: Egress,
    /// The granted folders, open.
    pub(crate) folders: Arc<[Folder]>,
}

enum Exports {
    Plugin(PluginPre<Sandbox>),
    Hook(HookPre<Sandbox>),
}

/// An instance in its store.
struct Live {
    store: Store<Sandbox>,
    instance: Instance,
}

enum Instance {
    Plugin(Plugin),
    Hook(Hook),
}

impl Runtime {
    /// Compiles a component, or takes it from the cache, and links it. Runs nothing of it.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn load(&self, wasm: Vec<u8>, world: World, spec: Spec) -> Result<Loaded, LoadError> {
        let runtime = self.inner.clone();
        let opening = runtime.clone();
        let (spec, folders) = blocking(move || {
            let folders = files::open(&spec.grants, &spec.owner, &spec.reserved, &opening.usages)?;
            Ok((spec, folders))
        })
        .await?;
        let component = runtime.component(wasm).await?;
        blocking(move || Loaded::link(runtime, &component, world, spec, folders)).await
    }
}

impl Loaded {
    fn link(
        runtime: Arc<Inner>,
        component: &Component,
        world: World,
        spec: Spec,
        folders: Vec<Folder>,
    ) -> Result<Self, LoadError> {
        inspect::check(component, &runtime.engine, world)?;
        let fault = |error: wasmtime::Error| LoadError::Link(error.into());
        let pre = runtime.linker.instantiate_pre(component).map_err(fault)?;
        let exports = match world {
            World::Plugin => Exports::Plugin(PluginPre::new(pre).map_err(fault)?),
            World::Hook => Exports::Hook(HookPre::new(pre).map_err(fault)?),
        };
        let full = SandboxParts {
            egress: Egress::new(&spec.grants.http, runtime.tls.clone()),
            folders: folders.into(),
            spec: Arc::new(spec),
        };
        let bare = Spec {
            grants: Grants::default(),
            ..Spec::clone(&full.spec)
        };
        let bare = SandboxParts {
            egress: Egress::new(&[], runtime.tls.clone()),
            folders: Arc::default(),
            spec: Arc::new(bare),
        };
        let spec = full.spec.clone();
        Ok(Self {
            inner: Arc::new(LoadedInner {
                gate: Arc::new(Semaphore::new(spec.limits.concurrency.max(1) as usize)),
                runtime,
                full,
                spec,
                exports,
                bare,
                history: Arc::default(),
                warm: Mutex::default(),
                spare: Mutex::default(),
            }),
        })
    }

    /// What the operator says of it.
    pub fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// Asks a plugin for its tools, with no grant but `config`.
    ///
    /// # Errors
    /// The component failed, or what it lists is wrong.
    pub async fn list_tools(&self) -> Result<Vec<Tool>, LoadError> {
        let done = self
            .run(Job::ListTools, Context::default())
            .await
            .map_err(LoadError::Call)?;
        let Done::Tools(listed) = done else {
            return Err(LoadError::Call(CallError::NoSuchExport("plugin")));
        };
        let limit = self.inner.spec.limits.output;
        let tools = listed.map_err(|failure| LoadError::Call(output::failure(failure, limit)))?;
        tools::check(&tools)?;
        Ok(tools)
    }

    /// Calls a tool in a sandbox of its own.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Failed`] is the component's own.
    pub async fn call_tool(&self, call: ToolCall, context: Context) -> Result<Output, CallError> {
        let Done::Output(answer) = self.run(Job::CallTool(call), context).await? else {
            return Err(CallError::NoSuchExport("plugin"));
        };
        let limit = self.inner.spec.limits.output;
        let output = answer.map_err(|failure| output::failure(failure, limit))?;
        output::check(&output, limit)?;
        Ok(output)
    }

    /// Hands an event to a hook, in a sandbox of its own.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Failed`] is the component's own.
    pub async fn on_event(&self, event: Event, context: Context) -> Result<Outcome, CallError> {
        let Done::Outcome(answer) = self.run(Job::OnEvent(event), context).await? else {
            return Err(CallError::NoSuchExport("hook"));
        };
        let limit = self.inner.spec.limits.output;
        let outcome = answer.map_err(|failure| output::failure(failure, limit))?;
        output::check_outcome(&outcome, limit)?;
        Ok(outcome)
    }

    /// Does work of the host for this component on a compute thread, where it keeps nobody else waiting: what takes longer
    /// than a few milliseconds, such as reading a large answer. The work is not done where its caller gives up first.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.inner.runtime.compute.work(self.inner.owner(), work).await
    }

    /// Runs in a task of its own: a caller that goes away does not tear the guest down in the middle.
    async fn run(&self, job: Job, context: Context) -> Result<Done, CallError> {
        let inner = self.inner.clone();
        tokio::spawn(async move { inner.run(job, context).await })
            .await
            .unwrap_or_else(|error| Err(CallError::Host(error.to_string())))
    }
}

/// A place of the component's own and one of all.
type ConcurrencyPermits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What a guest is asked.
enum Job {
    ListTools,
    CallTool(ToolCall),
    OnEvent(Event),
}

impl Job {
    /// Jobs of one kind take about the same time.
    fn kind(&self) -> Box<str> {
        match self {
            Self::ListTools => "".into(),
            Self::CallTool(call) => call.tool.as_str().into(),
            Self::OnEvent(event) => event.name.as_str().into(),
        }
    }
}

/// What it answered.
enum Done {
    Tools(Result<Vec<Tool>, Failure>),
    Output(Result<Output, Failure>),
    Outcome(Result<Outcome, Failure>),
    /// The component is of another world.
    NoSuchExport,
}

impl LoadedInner {
    /// Waits for a place, then runs the guest to its end, its deadline, or some time after the caller gave up.
    async fn run(self: &Arc<Self>, job: Job, context: Context) -> Result<Done, CallError> {
        let (came, patience) = (Instant::now(), context.patience);
        let limit = self.spec.limits.time;
        let cancel = context.cancel.clone();
        let permits = self.permits(came, patience.unwrap_or(limit), &cancel).await?;
        let time = match patience {
            Some(_) => limit,
            None => limit.saturating_sub(came.elapsed()),
        };
        let watch = Arc::new(Stopwatch::begin(time, patience, came.elapsed()));
        let kind = job.kind();
        let owner = match &context.principal {
            Some(principal) => TurnOwner::Principal(principal.clone()),
            None => self.owner(),
        };
        let guest = Box::pin(self.clone().guest(job, context, watch.clone(), came, permits));
        let running = self.runtime.compute.run(guest, kind, self.history.clone(), owner);
        tokio::select! {
            biased;
            done = running => done,
            stop = watch.over() => Err(self.stopped(stop, &watch)),
            () = given_up(&cancel) => Err(CallError::Cancelled),
        }
    }

    fn stopped(&self, stop: Stop, watch: &Stopwatch) -> CallError {
        match stop {
            Stop::TimedOut => CallError::TimedOut(self.spec.limits.time),
            Stop::NoTurn => CallError::Busy {
                waited: watch.waited(),
            },
        }
    }

    /// Runs the guest, wherever it is polled. It gives its places back with its answer; what its thread then has to
    /// take down counts no more.
    async fn guest(
        self: Arc<Self>,
        job: Job,
        context: Context,
        watch: Arc<Stopwatch>,
        came: Instant,
        _permits: ConcurrencyPermits,
    ) -> Result<Done, CallError> {
        let listing = matches!(job, Job::ListTools);
        let mut job = Some(job);
        let (mut wait, longest) = POOL_WAIT;
        loop {
            let begin = Begin {
                host: context.host.clone(),
                watch: watch.clone(),
                cancel: context.cancel.clone(),
            };
            let (mut store, made) = self.store(begin, listing);
            if store.data().meter.is_large() {
                compute::leave().await;
            }
            let work = async {
                let instance = match made {
                    Some(instance) => instance,
                    None => self.instantiate(&mut store).await?,
                };
                let Some(job) = job.take() else {
                    return Err(wasmtime::Error::msg("a call was started twice"));
                };
                let done = instance.run(&mut store, job).await?;
                wasmtime::Result::Ok((instance, done))
            };
            let outcome = watch.time(work).await;
            let printed = store.data_mut().finish();
            match outcome {
                Ok((instance, done)) => {
                    if !listing {
                        self.end(Live { store, instance });
                    }
                    return Ok(done);
                }
                // Nothing of it ran: other calls hold what it needs of the pool, and give it back.
                Err(error) if job.is_some() && error.is::<PoolConcurrencyLimitError>() => {
                    drop(store);
                    watch.wait();
                    held(&self.warm).clear();
                    held(&self.spare).take();
                    tokio::select! {
                        biased;
                        () = context.cancel.cancelled() => return Err(CallError::Cancelled),
                        _ = watch.over() => return Err(CallError::Busy { waited: came.elapsed() }),
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(longest);
                }
                Err(error) => return Err(self.explain(&error, store.data(), &printed, came)),
            }
        }
    }

    /// The share of its calls that are made in nobody's name.
    fn owner(&self) -> TurnOwner {
        TurnOwner::Component(std::ptr::from_ref(self).addr())
    }

    /// One place of the component's own and one of all.
    async fn permits(
        &self,
        came: Instant,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<ConcurrencyPermits, CallError> {
        let both = async {
            let own = self.gate.clone().acquire_owned().await;
            let shared = self.runtime.slots.clone().acquire_owned().await;
            // The semaphores are never closed.
            own.ok().zip(shared.ok())
        };
        let permits = tokio::select! {
            biased;
            permits = both => permits,
            () = tokio::time::sleep_until((came + patience).into()) => None,
            () = cancel.cancelled() => return Err(CallError::Cancelled),
        };
        permits.ok_or_else(|| CallError::Busy {
            waited: came.elapsed(),
        })
    }

    /// A store with an instance that is there already, or a store alone.
    fn store(&self, begin: Begin, listing: bool) -> (Store<Sandbox>, Option<Instance>) {
        if listing {
            return (self.fresh(&self.bare, begin), None);
        }
        let warm = held(&self.warm).pop();
        if let Some(mut live) = warm.or_else(|| held(&self.spare).take().map(|(live, _)| live)) {
            live.store.data_mut().begin(begin);
            live.store.set_epoch_deadline(1);
            return (live.store, Some(live.instance));
        }
        (self.fresh(&self.full, begin), None)
    }

    fn fresh(&self, held: &SandboxParts, begin: Begin) -> Store<Sandbox> {
        let sandbox = Sandbox::new(held, begin);
        let mut store = Store::new(&self.runtime.engine, sandbox);
        store.limiter_async(Sandbox::limiter);
        store.set_hostcall_fuel(self.fuel());
        store.set_max_component_handles(COMPONENT_HANDLES);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(COMPONENT_HANDLES);
        }
        store.epoch_deadline_callback(|store| {
            store.data().watch.check_running()?;
            Ok(match compute::turn_is_over(Instant::now()) {
                true => UpdateDeadline::Yield(1),
                false => UpdateDeadline::Continue(1),
            })
        });
        store.set_epoch_deadline(1);
        store
    }

    /// Bytes that a guest may hand to the host at once.
    fn fuel(&self) -> usize {
        let output = usize::try_from(self.spec.limits.output).unwrap_or(usize::MAX);
        output.saturating_add(1 << 20).max(HANDED)
    }

    async fn instantiate(&self, store: &mut Store<Sandbox>) -> wasmtime::Result<Instance> {
        Ok(match &self.exports {
            Exports::Plugin(pre) => Instance::Plugin(pre.instantiate_async(store).await?),
            Exports::Hook(pre) => Instance::Hook(pre.instantiate_async(store).await?),
        })
    }

    /// Keeps an instance for further calls where the operator asked for it. Else the thread takes it down when it has
    /// nothing better to do, and makes the next one. Beside other guests it is taken down at once: there is a call that
    /// wants its place, whose memory is in the processor's cache.
    fn end(self: &Arc<Self>, live: Live) {
        let mut warm = held(&self.warm);
        if warm.len() < self.spec.limits.warm as usize {
            return warm.push(live);
        }
        drop(warm);
        if self.runtime.compute.others_run() {
            return;
        }
        let inner = self.clone();
        idle::later(move || {
            drop(live);
            inner.prepare();
        });
    }

    /// Makes the instance for the next call, if that can be done at once.
    fn prepare(&self) {
        if !idle::attended() || self.spec.limits.warm > 0 {
            return;
        }
        let Some(permit) = held(&self.spare)
            .is_none()
            .then(|| self.runtime.spare())
            .flatten()
        else {
            return;
        };
        // It stops a guest that computes while it is made.
        let _running = self.runtime.running();
        let Context { host, cancel, .. } = Context::default();
        let begin = Begin {
            host,
            watch: Arc::new(Stopwatch::begin(Duration::ZERO, None, Duration::ZERO)),
            cancel,
        };
        let mut store = self.fresh(&self.full, begin);
        let made = pin!(self.instantiate(&mut store)).poll(&mut task::Context::from_waker(Waker::noop()));
        // What fails here fails again in the call, which tells of it.
        if let Poll::Ready(Ok(instance)) = made {
            *held(&self.spare) = Some((Live { store, instance }, permit));
        }
    }

    /// What a call that `came` at this time failed of.
    fn explain(&self, error: &wasmtime::Error, sandbox: &Sandbox, printed: &str, came: Instant) -> CallError {
        let limits = &self.spec.limits;
        if let Some(stop) = error.downcast_ref::<Stop>() {
            return self.stopped(*stop, &sandbox.watch);
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return CallError::Busy {
                waited: came.elapsed(),
            };
        }
        if sandbox.meter.refused {
            return CallError::OutOfMemory(limits.memory);
        }
        let root = error.root_cause().to_string();
        if root.contains("fuel allocated for hostcalls has been exhausted") {
            return output::too_large(limits.output);
        }
        let what = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => root,
        };
        CallError::Trapped(match printed {
            "" => what,
            printed => format!("{what}; it printed: {printed}"),
        })
    }
}

/// The lists are whole at every point where code under their lock could panic.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The caller gave up, and the guest had its time to notice.
async fn given_up(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(CANCEL_GRACE).await;
}

impl Instance {
    async fn run(&self, store: &mut Store<Sandbox>, job: Job) -> wasmtime::Result<Done> {
        Ok(match (self, job) {
            (Self::Plugin(plugin), Job::ListTools) => {
                Done::Tools(plugin.aih_plugin_tools().call_list_tools(store).await?)
            }
            (Self::Plugin(plugin), Job::CallTool(call)) => {
                let tools = plugin.aih_plugin_tools();
                let answer = store
                    .run_concurrent(async |accessor| tools.call_call_tool(accessor, call).await)
                    .await??;
                Done::Output(answer)
            }
            (Self::Hook(hook), Job::OnEvent(event)) => {
                let hooks = hook.aih_plugin_hooks();
                let answer = store
                    .run_concurrent(async |accessor| hooks.call_on_event(accessor, event).await)
                    .await??;
                Done::Outcome(answer)
            }
            (Self::Plugin(_), Job::OnEvent(_)) | (Self::Hook(_), Job::ListTools | Job::CallTool(_)) => {
                Done::NoSuchExport
            }
        })
    }
}
