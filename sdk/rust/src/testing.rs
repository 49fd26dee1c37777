//! Stands in for the hub in unit tests.
//!
//! Outside WebAssembly every function of this crate asks the [`Fake`] of the thread. Without one, it answers as a
//! hub that granted nothing.
//!
//! ```
//! use aih_plugin::{state, testing::Fake};
//!
//! Fake::new().state().run(|| {
//!     assert_eq!(state::update("visits", |n| n.unwrap_or(0) + 1).unwrap(), 1);
//!     assert_eq!(state::update("visits", |n| n.unwrap_or(0) + 1).unwrap(), 2);
//! });
//! assert!(state::get("visits").is_err());
//! ```

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
};

use serde_json::Value;

use crate::{
    Context,
    wit::{
        host::{client, config::SecretError, http, log::Level, mcp, state},
        types::Call,
    },
};

type Http = dyn Fn(&http::Request) -> Result<http::Response, http::Error>;
type Mcp = dyn Fn(&str, &str, Value) -> Result<Value, mcp::Error>;

/// A hub with what a test gives it.
#[derive(Default)]
pub struct Fake {
    config: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    state: Option<RefCell<BTreeMap<String, state::Entry>>>,
    http: Option<Box<Http>>,
    mcp: Option<Box<Mcp>>,
    elicit: Option<Box<dyn Fn(Value) -> Value>>,
    cancelled: bool,
    log: RefCell<Vec<(Level, String)>>,
    progress: RefCell<Vec<f64>>,
}

thread_local! {
    static CURRENT: RefCell<Rc<Fake>> = RefCell::default();
}

impl Fake {
    /// Grants nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key of the `config:` map.
    #[must_use]
    pub fn config(mut self, key: &str, value: &Value) -> Self {
        self.config.insert(key.to_owned(), value.to_string());
        self
    }

    /// Grants a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Grants state, empty at first and without a limit.
    #[must_use]
    pub fn state(mut self) -> Self {
        self.state = Some(RefCell::default());
        self
    }

    /// Answers HTTP requests.
    #[must_use]
    pub fn http(
        mut self,
        answer: impl Fn(&http::Request) -> Result<http::Response, http::Error> + 'static,
    ) -> Self {
        self.http = Some(Box::new(answer));
        self
    }

    /// Answers calls of MCP tools: server, tool, arguments.
    #[must_use]
    pub fn mcp(mut self, answer: impl Fn(&str, &str, Value) -> Result<Value, mcp::Error> + 'static) -> Self {
        self.mcp = Some(Box::new(answer));
        self
    }

    /// Answers elicitations.
    #[must_use]
    pub fn elicit(mut self, answer: impl Fn(Value) -> Value + 'static) -> Self {
        self.elicit = Some(Box::new(answer));
        self
    }

    /// The client gave up on the call.
    #[must_use]
    pub fn cancelled(mut self) -> Self {
        self.cancelled = true;
        self
    }

    /// Runs a test with this hub on this thread, and gives the hub back for [`Fake::log`] and
    /// [`Fake::progress`].
    pub fn run(self, test: impl FnOnce()) -> Rc<Self> {
        /// Puts the hub of before back, also when the test panics.
        struct Restore(Rc<Fake>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(Rc::clone(&self.0));
            }
        }

        let fake = Rc::new(self);
        let restore = Restore(CURRENT.replace(Rc::clone(&fake)));
        test();
        drop(restore);
        fake
    }

    /// What was logged.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.log.borrow().clone()
    }

    /// What was reported as progress.
    pub fn progress(&self) -> Vec<f64> {
        self.progress.borrow().clone()
    }
}

/// Runs a tool to its end. It never waits: the functions of this crate answer at once.
///
/// # Panics
/// The future waits for something that is not of this crate.
#[expect(
    clippy::panic,
    reason = "a helper for tests, which is absent from WebAssembly"
)]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something that is not of aih-plugin"),
    }
}

/// A call by `tester` with a minute to go.
pub fn context() -> Context {
    Context::new(&call("test", "{}"))
}

/// The call of a tool as the hub makes it.
pub fn call(tool: &str, arguments_json: &str) -> Call {
    Call {
        call_id: "call-1".to_owned(),
        tool: tool.to_owned(),
        arguments_json: arguments_json.to_owned(),
        deadline_ms: 60_000,
        extras: vec![("principal".to_owned(), "tester".to_owned())],
    }
}

/// The functions of [`crate::backend`].
pub(crate) mod current {
    use super::*;

    fn fake() -> Rc<Fake> {
        CURRENT.with_borrow(Rc::clone)
    }

    pub(crate) fn write(level: Level, message: &str, fields: Option<&str>) {
        let fields = fields.map(|fields| format!(" {fields}")).unwrap_or_default();
        fake()
            .log
            .borrow_mut()
            .push((level, format!("{message}{fields}")));
    }

    pub(crate) fn config_get(key: &str) -> Option<String> {
        fake().config.get(key).cloned()
    }

    pub(crate) fn secret(name: &str) -> Result<String, SecretError> {
        fake().secrets.get(name).cloned().ok_or(SecretError::NotGranted)
    }

    fn with_state<T>(
        run: impl FnOnce(&mut BTreeMap<String, state::Entry>) -> Result<T, state::Error>,
    ) -> Result<T, state::Error> {
        let fake = fake();
        run(&mut fake.state.as_ref().ok_or(state::Error::NotGranted)?.borrow_mut())
    }

    pub(crate) fn get(key: &str) -> Result<Option<state::Entry>, state::Error> {
        with_state(|state| Ok(state.get(key).cloned()))
    }

    pub(crate) fn get_for_update(key: &str) -> Result<Option<state::Entry>, state::Error> {
        get(key)
    }

    pub(crate) fn set(key: &str, value: &[u8], expect: Option<u64>) -> Result<u64, state::Error> {
        with_state(|state| {
            let found = state.get(key).map_or(0, |entry| entry.version);
            if expect.is_some_and(|expected| expected != found) {
                return Err(state::Error::Conflict(found));
            }
            let version = found + 1;
            state.insert(
                key.to_owned(),
                state::Entry {
                    value: value.to_vec(),
                    version,
                },
            );
            Ok(version)
        })
    }

    pub(crate) fn delete(key: &str) -> Result<(), state::Error> {
        with_state(|state| {
            state.remove(key);
            Ok(())
        })
    }

    pub(crate) fn keys(
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<String>, Option<String>), state::Error> {
        let limit = usize::try_from(limit.clamp(1, 1000)).unwrap_or(1000);
        with_state(|state| {
            let keys = state.keys().filter(|key| key.starts_with(prefix));
            let mut keys = keys
                .filter(|key| cursor.is_none_or(|cursor| key.as_str() > cursor))
                .cloned();
            let page: Vec<String> = keys.by_ref().take(limit).collect();
            let next = keys.next().and_then(|_| page.last().cloned());
            Ok((page, next))
        })
    }

    pub(crate) fn list_tools(server: &str) -> Result<String, mcp::Error> {
        Err(mcp::Error::NotGranted(server.to_owned()))
    }

    pub(crate) fn call_tool(server: &str, name: &str, arguments: &str) -> Result<String, mcp::Error> {
        let fake = fake();
        let answer = fake
            .mcp
            .as_ref()
            .ok_or_else(|| mcp::Error::NotGranted(server.to_owned()))?;
        let arguments = serde_json::from_str(arguments)
            .map_err(|error| mcp::Error::InvalidArguments(error.to_string()))?;
        Ok(answer(server, name, arguments)?.to_string())
    }

    pub(crate) fn send(request: &http::Request) -> Result<http::Response, http::Error> {
        match &fake().http {
            Some(answer) => answer(request),
            None => Err(http::Error::NotGranted(request.url.clone())),
        }
    }

    pub(crate) fn report(progress: f64, _total: Option<f64>, _message: Option<&str>) {
        fake().progress.borrow_mut().push(progress);
    }

    pub(crate) fn cancelled() -> bool {
        fake().cancelled
    }

    pub(crate) fn elicit(parameters: &str) -> Result<String, client::Error> {
        match &fake().elicit {
            Some(answer) => {
                let parameters = serde_json::from_str(parameters)
                    .map_err(|error| client::Error::Invalid(error.to_string()))?;
                Ok(answer(parameters).to_string())
            }
            None => Err(client::Error::NotGranted("elicitation".to_owned())),
        }
    }

    pub(crate) fn sample(_parameters: &str) -> Result<String, client::Error> {
        Err(client::Error::NotGranted("sampling".to_owned()))
    }

    pub(crate) fn roots() -> Result<String, client::Error> {
        Err(client::Error::NotGranted("roots".to_owned()))
    }

    pub(crate) fn sleep(_duration_ms: u64) {}

    pub(crate) fn random(count: u32) -> Vec<u8> {
        // No test should depend on chance.
        (0..count.min(65_536)).map(|i| i.to_le_bytes()[0]).collect()
    }
}
