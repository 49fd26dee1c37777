//! The data of one store: what a guest can reach, and every import of `wit/deps/host.wit`.

use std::{sync::Arc, time::Instant};

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use wasmtime::{
    ResourceLimiterAsync,
    component::{HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    bindings::base::{Base, aih::host},
    component::{SandboxParts, Spec},
    egress::{Egress, WasiEgress},
    filesystem::{self, Files},
    grants::ClientFeature,
    host::{Host, Turn},
    limits::Meter,
    stdio::{CallLog, Printed},
    stopwatch::Stopwatch,
};

/// Handles of the host that a guest may hold at once. What stands behind one takes up to some hundred kilobytes.
const HANDLES: usize = 1_024;
/// Bytes of the headers behind one handle.
const FIELDS: usize = 32 << 10;
/// Bytes of random data in one call of the host.
const RANDOM: u32 = 65_536;
/// Progress that comes faster is left out.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_millis(20);
/// Bytes of the text beside a report of progress.
const PROGRESS_TEXT: usize = 1_000;

/// The data of one store.
pub(crate) struct Sandbox {
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    /// The granted folders.
    pub(crate) files: Files,
    http: WasiHttpCtx,
    wasi_egress: WasiEgress,
    egress: Egress,
    pub(crate) meter: Meter,
    spec: Arc<Spec>,
    host: Arc<dyn Host>,
    log: Arc<CallLog>,
    stdout: Printed,
    stderr: Printed,
    pub(crate) watch: Arc<Stopwatch>,
    pub(crate) cancel: CancellationToken,
    /// The value of the state that this call is about to change, by its key.
    turn: Option<(String, Turn)>,
    /// When progress was passed on, and how far it was.
    progressed: Option<(Instant, f64)>,
}

/// Who calls, and with how much time.
pub(crate) struct Begin {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) watch: Arc<Stopwatch>,
    pub(crate) cancel: CancellationToken,
}

impl Sandbox {
    /// The data of a fresh store.
    pub(crate) fn new(held: &SandboxParts, begin: Begin) -> Self {
        let (spec, egress) = (held.spec.clone(), held.egress.clone());
        let log = Arc::new(CallLog::new(begin.host.clone()));
        let stdout = Printed::new(log.clone(), host::log::Level::Info);
        let stderr = Printed::new(log.clone(), host::log::Level::Warn);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(stdout.clone())
            .stderr(stderr.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .max_random_size(RANDOM.into());
        for (name, value) in &spec.grants.env {
            wasi.env(name, value.expose_secret());
        }
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self {
            table,
            wasi: wasi.build(),
            files: Files::new(held.folders.clone()),
            http,
            wasi_egress: WasiEgress(egress.clone()),
            egress,
            meter: Meter::new(&spec.limits),
            spec,
            host: begin.host,
            log,
            stdout,
            stderr,
            watch: begin.watch,
            cancel: begin.cancel,
            turn: None,
            progressed: None,
        }
    }

    /// The next call of a warm instance.
    pub(crate) fn begin(&mut self, begin: Begin) {
        self.log.begin(begin.host.clone());
        self.host = begin.host;
        self.watch = begin.watch;
        self.cancel = begin.cancel;
        self.progressed = None;
        self.meter.refused = false;
    }

    /// Ends the call's turn and its output; answers the last line that it printed on standard error.
    pub(crate) fn finish(&mut self) -> String {
        self.turn = None;
        self.stdout.finish();
        self.stderr.finish()
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiterAsync {
        &mut self.meter
    }

    fn end_turn(&mut self, key: &str) {
        self.turn.take_if(|(of, _)| of == key);
    }

    fn may_ask(&self, feature: ClientFeature, word: &str) -> Result<(), host::client::Error> {
        if self.spec.grants.client.contains(&feature) {
            return Ok(());
        }
        Err(host::client::Error::NotGranted(format!(
            "grants.client does not name `{word}`"
        )))
    }
}

impl Drop for Sandbox {
    /// A guest that was stopped has printed something too.
    fn drop(&mut self) {
        self.finish();
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.wasi_egress,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Everything that a component can import: what is not granted is linked too, and answers so.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    filesystem::add_to_linker(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    Base::add_to_linker::<_, HasSelf<_>>(linker, |sandbox| sandbox)
}

impl host::log::Host for Sandbox {
    async fn write(
        &mut self,
        level: host::log::Level,
        message: String,
        fields: Option<String>,
    ) -> wasmtime::Result<()> {
        self.log.write(level, &message, fields.as_deref());
        Ok(())
    }
}

impl host::config::Host for Sandbox {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.spec.config.get(&key).map(ToString::to_string))
    }

    async fn secret(&mut self, name: String) -> wasmtime::Result<Result<String, host::config::SecretError>> {
        if !self.spec.grants.secrets.contains(&name) {
            return Ok(Err(host::config::SecretError::NotGranted));
        }
        let secret = self.host.secret(&name).await;
        Ok(secret.map(|secret| secret.expose_secret().to_owned()))
    }
}

impl host::state::Host for Sandbox {
    async fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<host::state::Entry>, host::state::Error>> {
        if self.spec.grants.state.is_none() {
            return Ok(Err(host::state::Error::NotGranted));
        }
        Ok(self.host.get(&key).await)
    }

    async fn get_for_update(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Option<host::state::Entry>, host::state::Error>> {
        if self.spec.grants.state.is_none() {
            return Ok(Err(host::state::Error::NotGranted));
        }
        // A call that waited for its own turn would wait until that is over.
        if self.turn.as_ref().is_some_and(|(of, _)| *of == key) {
            return Ok(self.host.get(&key).await);
        }
        // One at a time: no two calls can wait for each other.
        self.turn = None;
        Ok(self.host.get_for_update(&key).await.map(|(entry, turn)| {
            self.turn = Some((key, turn));
            entry
        }))
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        expect: Option<u64>,
    ) -> wasmtime::Result<Result<u64, host::state::Error>> {
        let Some(quota) = self.spec.grants.state else {
            return Ok(Err(host::state::Error::NotGranted));
        };
        let written = self.host.set(&key, value, expect, quota).await;
        self.end_turn(&key);
        Ok(written)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), host::state::Error>> {
        if self.spec.grants.state.is_none() {
            return Ok(Err(host::state::Error::NotGranted));
        }
        let deleted = self.host.delete(&key).await;
        self.end_turn(&key);
        Ok(deleted)
    }

    async fn keys(
        &mut self,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<(Vec<String>, Option<String>), host::state::Error>> {
        if self.spec.grants.state.is_none() {
            return Ok(Err(host::state::Error::NotGranted));
        }
        Ok(self.host.keys(&prefix, cursor.as_deref(), limit).await)
    }
}

impl host::mcp::Host for Sandbox {
    async fn list_tools(&mut self, server: String) -> wasmtime::Result<Result<String, host::mcp::Error>> {
        if self.spec.grants.mcps.is_empty() {
            return Ok(Err(no_mcps(&server)));
        }
        Ok(self.host.list_tools(&server).await)
    }

    async fn call_tool(
        &mut self,
        server: String,
        name: String,
        arguments: String,
    ) -> wasmtime::Result<Result<String, host::mcp::Error>> {
        if self.spec.grants.mcps.is_empty() {
            return Ok(Err(no_mcps(&server)));
        }
        Ok(self.host.call_tool(&server, &name, arguments).await)
    }
}

fn no_mcps(server: &str) -> host::mcp::Error {
    host::mcp::Error::NotGranted(format!("grants.mcps does not allow `{server}`"))
}

impl host::http::Host for Sandbox {
    async fn send(
        &mut self,
        request: host::http::Request,
    ) -> wasmtime::Result<Result<host::http::Response, host::http::Error>> {
        Ok(self.egress.send(request).await)
    }
}

impl host::progress::Host for Sandbox {
    async fn report(
        &mut self,
        progress: f64,
        total: Option<f64>,
        message: Option<String>,
    ) -> wasmtime::Result<()> {
        // MCP wants numbers that go up; NaN and the infinities are none in JSON.
        let total = total.filter(|total| total.is_finite());
        let back = self.progressed.is_some_and(|(_, before)| progress <= before);
        if !progress.is_finite() || back {
            return Ok(());
        }
        let now = Instant::now();
        let soon = self
            .progressed
            .is_some_and(|(last, _)| now.duration_since(last) < PROGRESS_EVERY);
        if soon && total.is_none_or(|total| progress < total) {
            return Ok(());
        }
        self.progressed = Some((now, progress));
        let message = message.map(|mut message| {
            message.truncate(message.floor_char_boundary(PROGRESS_TEXT));
            message
        });
        self.host.progress(progress, total, message.as_deref());
        Ok(())
    }

    async fn cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.cancel.is_cancelled())
    }
}

impl host::client::Host for Sandbox {
    async fn elicit(&mut self, params: String) -> wasmtime::Result<Result<String, host::client::Error>> {
        if let Err(error) = self.may_ask(ClientFeature::Elicit, "elicit") {
            return Ok(Err(error));
        }
        Ok(self.host.elicit(params).await)
    }

    async fn sample(&mut self, params: String) -> wasmtime::Result<Result<String, host::client::Error>> {
        if let Err(error) = self.may_ask(ClientFeature::Sample, "sample") {
            return Ok(Err(error));
        }
        Ok(self.host.sample(params).await)
    }

    async fn roots(&mut self) -> wasmtime::Result<Result<String, host::client::Error>> {
        if let Err(error) = self.may_ask(ClientFeature::Roots, "roots") {
            return Ok(Err(error));
        }
        Ok(self.host.roots().await)
    }
}

impl host::system::Host for Sandbox {
    async fn sleep(&mut self, duration: u64) -> wasmtime::Result<()> {
        let duration = std::time::Duration::from_millis(duration).min(self.watch.left());
        tokio::time::sleep(duration).await;
        self.watch.check()?;
        Ok(())
    }

    async fn random(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM {
            return Err(wasmtime::Error::msg(format!(
                "system.random: {count} bytes are more than {RANDOM}"
            )));
        }
        let mut bytes = vec![0; count as usize];
        getrandom::fill(&mut bytes).map_err(wasmtime::Error::msg)?;
        Ok(bytes)
    }
}
