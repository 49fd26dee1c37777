//! A server as a child process: one JSON-RPC message a line on its standard input and output.
//!
//! The child leads a process group of its own, and the whole group goes when the connection does. It gets a
//! few harmless variables and what the configuration names, never the rest of the hub's environment, which
//! may hold secrets of others. One task owns the process, one reads, one writes: a child that does not read
//! must never hold up more than its own callers.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use aih_mcp::{Id, Message, ProtocolVersion, RawJson, Unreadable, headers::ParamHeader};
use aih_redact as redact;
use async_trait::async_trait;
use bytes::Bytes;
use nix::{sys::signal::Signal, unistd::Pid};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    process::Child,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Cause, Inbox, Transport, TransportError,
    activity::{Activity, ActivityMonitor},
    command::{hint, look_up},
    guard,
    http::MAX_MESSAGE,
    http_client::excerpt,
    last_words::LastWords,
    lines,
    pending::{Outcome, Pending},
    process_group::Group,
    read as read_message, unreadable,
};
use crate::secrets::is_inherited;

/// Messages that wait for the child to read; then senders wait too.
const QUEUE: usize = 64;
/// How long a child may take to end after its input was closed.
const AFTER_EOF: Duration = Duration::from_secs(2);
/// How long a group may take to end after SIGTERM.
const AFTER_TERM: Duration = Duration::from_secs(1);
/// How long a child that closed one of its streams by itself may take to end, so that its exit status is known.
const AFTER_CLOSING: Duration = Duration::from_millis(500);
/// How long what a dead child wrote may take to be read. Reached only when a process that left the group
/// keeps the stream open.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a group may take to end after SIGKILL: the kernel may hold a process that waits for a dead disk.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// A line of standard error is cut here, in bytes.
const MAX_STDERR_LINE: usize = 2048;
/// After this many lines that are not messages, the log says so once.
const MANY_STRAY_LINES: u32 = 100;

/// What the tasks and the handle share.
struct Shared {
    name: String,
    pending: Pending,
    group: Group,
    /// The hub wants it to end.
    end: CancellationToken,
    /// The process is reaped.
    done: CancellationToken,
    /// Of its standard error, and of its standard output beside messages.
    last_words: LastWords,
    monitor: ActivityMonitor,
}

/// One message on its way to the child.
struct OutgoingMessage {
    bytes: Bytes,
    /// The id of a request.
    request: Option<u64>,
}

/// See the module.
pub struct StdioTransport {
    shared: Arc<Shared>,
    writer: mpsc::Sender<OutgoingMessage>,
}

impl StdioTransport {
    /// Starts `command` in `cwd` (the hub's own directory if `None`). `env` is added to the few variables
    /// that are inherited, and wins over them; `name` is for the log. Needs a tokio runtime. That the process
    /// runs says nothing about whether it is an MCP server.
    ///
    /// # Errors
    /// [`TransportError::Connect`] when the command or the directory is missing or cannot be run, with what
    /// to install if that is known.
    pub async fn spawn(
        name: &str,
        command: &str,
        args: Vec<String>,
        env: Vec<(String, SecretString)>,
        cwd: Option<PathBuf>,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<Self>, TransportError> {
        let path = env
            .iter()
            .rfind(|(k, _)| k == "PATH")
            .map(|(_, v)| v.expose_secret().into());
        let wanted = (command.to_owned(), path, cwd.clone());
        // The disk may take its time.
        let found = tokio::task::spawn_blocking(move || find(&wanted.0, wanted.1, wanted.2.as_deref()));
        found
            .await
            .map_err(|error| TransportError::Connect(Cause::of(error)))?
            .map_err(|error| TransportError::Connect(error.into()))?;

        let guard = guard::guard_binary();
        let mut process = guard::command(guard, command.as_ref());
        process
            .args(args)
            .env_clear()
            .envs(std::env::vars_os().filter(|(k, v)| {
                let Some(name) = k.to_str().filter(|name| is_inherited(name)) else {
                    return false;
                };
                redact::learn_written(name, &v.to_string_lossy());
                true
            }))
            .envs(env.iter().map(|(k, v)| (k, v.expose_secret())))
            .envs(guard::environment(guard))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // The hub asks a guard to end, and the guard ends all processes with it.
            .kill_on_drop(guard.is_none());
        if let Some(cwd) = cwd {
            process.current_dir(cwd);
        }
        let mut child = guard::spawn(process).await.map_err(|e| {
            let text = format!("cannot start `{command}`: {e}{}", hint(command));
            TransportError::Connect(Cause::with_text(text, e))
        })?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(TransportError::Connect(
                format!("`{command}` started without its pipes").into(),
            ));
        };
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            pending: Pending::default(),
            group: Group::new(pid, guard.is_some()),
            end: CancellationToken::new(),
            done: CancellationToken::new(),
            last_words: LastWords::default(),
            monitor: ActivityMonitor::default(),
        });
        shared.monitor.watch_input(&stdin);
        let (writer, queue) = mpsc::channel(QUEUE);
        let tasks = Tasks {
            write: tokio::spawn(write(queue, stdin, shared.clone())),
            read: tokio::spawn(read(
                BufReader::with_capacity(64 * 1024, stdout),
                shared.clone(),
                inbox.clone(),
            )),
            log: tokio::spawn(log(BufReader::new(stderr), shared.clone())),
        };
        tokio::spawn(run(shared.clone(), child, tasks, inbox));
        Ok(Arc::new(Self { shared, writer }))
    }

    async fn write(&self, message: &Message, request: Option<u64>) -> Result<(), TransportError> {
        self.shared.pending.open()?;
        let mut bytes = message.to_bytes();
        if bytes.contains(&b'\n') {
            bytes = one_line(&bytes);
        }
        self.writer
            .send(OutgoingMessage { bytes, request })
            .await
            .map_err(|_| TransportError::Closed("it no longer reads its input".into()))
    }
}

/// Looks whether `command` can be run in `cwd`.
///
/// # Errors
/// What is wrong and what to do about it.
fn find(command: &str, path: Option<OsString>, cwd: Option<&Path>) -> Result<(), String> {
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return Err(format!(
            "the working directory `{}` does not exist; create it or change `cwd`",
            cwd.display()
        ));
    }
    let path = path.or_else(|| std::env::var_os("PATH"));
    look_up(command, path.as_deref(), cwd.unwrap_or(Path::new(""))).map(drop)
}

/// JSON without line breaks: valid JSON has none inside strings, so between tokens a blank does as well.
fn one_line(json: &[u8]) -> Bytes {
    let blank = |b: &u8| if matches!(b, b'\n' | b'\r') { b' ' } else { *b };
    json.iter().map(blank).collect::<Vec<u8>>().into()
}

#[async_trait]
impl Transport for StdioTransport {
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<RawJson>,
        _: &[ParamHeader],
    ) -> Result<Outcome, TransportError> {
        let mut waiting = self.shared.pending.expect(id)?;
        let message = Message::Request {
            id: Id::number(id),
            method: method.into(),
            params,
        };
        // When writing fails, the process is at its end, and the table gets to know why.
        let _ = self.write(&message, Some(id)).await;
        waiting.answer().await
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        self.write(&message, None).await
    }

    fn negotiated(&self, _: ProtocolVersion) {
        self.shared.monitor.forget_input();
    }

    fn stateful(&self) -> bool {
        true
    }

    fn activity(&self) -> Option<Activity> {
        let leader = self.shared.group.leader();
        Some(self.shared.monitor.look(leader))
    }

    fn last_words(&self) -> String {
        self.shared.last_words.text()
    }

    async fn close(&self) {
        self.shared.end.cancel();
        self.shared.done.cancelled().await;
    }
}

impl Drop for StdioTransport {
    fn drop(&mut self) {
        if !self.shared.end.is_cancelled() {
            self.shared.group.end();
            self.shared.end.cancel();
        }
    }
}

/// Writes line by line until the transport goes or the hub wants the end; dropping `output` closes it.
async fn write(
    mut queue: mpsc::Receiver<OutgoingMessage>,
    mut output: impl AsyncWrite + Unpin,
    shared: Arc<Shared>,
) -> std::io::Result<()> {
    let _input = ForgetInput(&shared);
    let all = async {
        while let Some(line) = queue.recv().await {
            if let Some(id) = line.request {
                // Before the first byte: what the child may have read must never count as not sent.
                shared.pending.sent(id);
            }
            let written = match output.write(&line.bytes).await {
                Ok(written) => written,
                Err(error) => {
                    if let Some(id) = line.request {
                        shared.pending.unsent(id);
                    }
                    return Err(error);
                }
            };
            output
                .write_all(line.bytes.get(written..).unwrap_or_default())
                .await?;
            output.write_all(b"\n").await?;
            output.flush().await?;
            shared.monitor.wrote();
        }
        Ok(())
    };
    tokio::select! {
        outcome = all => outcome,
        () = shared.end.cancelled() => Ok(()),
    }
}

/// Lets go of the copy of the input when the writer ends, however it ends: the process must see the end of its input.
struct ForgetInput<'s>(&'s Shared);

impl Drop for ForgetInput<'_> {
    fn drop(&mut self) {
        self.0.monitor.forget_input();
    }
}

/// Reads messages until the output ends (`None`) or breaks a rule.
async fn read(
    mut input: impl AsyncBufRead + Unpin,
    shared: Arc<Shared>,
    inbox: Arc<dyn Inbox>,
) -> Option<TransportError> {
    let server = shared.name.as_str();
    let mut stray = 0_u32;
    loop {
        let mut line = Vec::new();
        let limit = MAX_MESSAGE as u64 + 1;
        match (&mut input).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) => return None,
            Ok(_) if line.len() > MAX_MESSAGE && !line.ends_with(b"\n") => {
                match read_past(&mut input, &line, &shared.pending).await {
                    Ok(()) => continue,
                    Err(error) => return Some(error),
                }
            }
            Ok(_) => {}
            Err(e) => return Some(TransportError::Closed(Cause::of(e))),
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let is_whole = line.ends_with(b"\n");
        let line = Bytes::from(line);
        for message in read_message(&line) {
            match message {
                Ok(Message::Response { id, outcome }) => {
                    if !shared.pending.answer(id, outcome) {
                        tracing::debug!(target: "aih::upstream", server, "an answer that nobody waits for");
                    }
                }
                Ok(message) if !shared.end.is_cancelled() => inbox.message(None, message),
                Ok(_) => {}
                Err(Unreadable { id, error }) => {
                    stray = stray.saturating_add(1);
                    shared.monitor.printed();
                    let line = excerpt(&line);
                    tracing::debug!(target: "aih::upstream", server, %error, line, "a line is not an MCP message");
                    if stray == MANY_STRAY_LINES {
                        tracing::warn!(
                            target: "aih::upstream",
                            server,
                            "{MANY_STRAY_LINES} lines of standard output were not MCP messages; a server must log to standard error"
                        );
                    }
                    // Who waits for it would wait until the time limit. A line that breaks off is the end of the process,
                    // which is another reason.
                    let refused = id
                        .filter(|_| is_whole)
                        .is_some_and(|id| shared.pending.unreadable(&id, || unreadable(error, &line)));
                    if !refused {
                        shared.last_words.push(&line);
                    }
                }
            }
        }
    }
}

/// Reads past a line that begins with `start` and is too large, and fails the call that it answers.
///
/// # Errors
/// The line does not end, or nobody knows which call it answers.
async fn read_past(
    input: impl AsyncBufRead + Unpin,
    start: &[u8],
    pending: &Pending,
) -> Result<(), TransportError> {
    let too_large = || TransportError::TooLarge { limit: MAX_MESSAGE };
    if start.trim_ascii_start().first() != Some(&b'{') {
        return Err(too_large());
    }
    let at_start = lines::id_at_start(start);
    if let Some(id) = &at_start {
        pending.unreadable(id, too_large);
    }
    let rest = lines::skip_rest(input).await;
    let rest = rest.map_err(|error| TransportError::Closed(Cause::of(error)))?;
    let at_end = rest.ok_or_else(too_large)?;
    if let Some(id) = &at_end {
        pending.unreadable(id, too_large);
    }
    at_start.or(at_end).map(drop).ok_or_else(too_large)
}

/// Passes standard error to the log.
async fn log(mut input: impl AsyncBufRead + Unpin, shared: Arc<Shared>) {
    let mut line = Vec::new();
    loop {
        let Ok(chunk) = input.fill_buf().await else { return };
        let ended = chunk.is_empty();
        let (part, used, whole) = match memchr::memchr(b'\n', chunk) {
            Some(at) => (chunk.get(..at).unwrap_or_default(), at + 1, true),
            None => (chunk, chunk.len(), ended),
        };
        let room = (MAX_STDERR_LINE + redact::SLACK).saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        input.consume(used);
        if whole {
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            let text = redact::start(&text, MAX_STDERR_LINE);
            if !text.is_empty() {
                shared.monitor.printed();
                tracing::debug!(target: "aih::upstream::stderr", server = shared.name, "{text}");
                shared.last_words.push(&text);
            }
            line.clear();
        }
        if ended {
            return;
        }
    }
}

struct Tasks {
    write: JoinHandle<std::io::Result<()>>,
    read: JoinHandle<Option<TransportError>>,
    log: JoinHandle<()>,
}

/// Stops the tasks, which may be held up by a stream that something outside the group keeps open.
impl Drop for Tasks {
    fn drop(&mut self) {
        self.write.abort();
        self.read.abort();
        self.log.abort();
    }
}

enum First {
    Exit(std::io::Result<ExitStatus>),
    OutputEnded(Option<TransportError>),
    InputEnded,
    Asked,
}

/// Owns the process from its start to its end.
async fn run(shared: Arc<Shared>, mut child: Child, mut tasks: Tasks, inbox: Arc<dyn Inbox>) {
    let _done = shared.done.clone().drop_guard();
    let _ended = EndOnDrop(shared.clone());
    let first = tokio::select! {
        biased;
        // A write that failed came before the caller that gave up the connection because of it.
        Ok(Err(_)) = &mut tasks.write => First::InputEnded,
        () = shared.end.cancelled() => First::Asked,
        status = child.wait() => First::Exit(status),
        error = &mut tasks.read => First::OutputEnded(error.unwrap_or_default()),
    };
    let closed = |text: &str| TransportError::Closed(text.into());
    let error = match first {
        First::Asked => closed("the hub closed the connection"),
        First::Exit(status) => exited(&shared, &mut tasks, true, status).await,
        First::OutputEnded(Some(error)) => error,
        First::OutputEnded(None) | First::InputEnded => {
            // Mostly the first sign of its end: wait for the reason, also where the connection is given up meanwhile.
            let reading = matches!(first, First::InputEnded);
            match timeout(AFTER_CLOSING, child.wait()).await {
                Ok(status) => exited(&shared, &mut tasks, reading, status).await,
                Err(_) if reading => closed("the process closed its standard input"),
                Err(_) => closed("the process closed its standard output"),
            }
        }
    };
    let asked = shared.end.is_cancelled();
    if !asked {
        // First, so that who gets an error for it finds the connection gone.
        inbox.closed(error.clone(), &shared.pending.unanswered());
    }
    shared.pending.close(&error);
    // The writer closes the input.
    shared.end.cancel();
    if !asked {
        // It is of no use any more, and the next process must not wait for it.
        shared.group.end();
    }
    end(&shared, &mut child).await;
}

struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.group.end();
    }
}

/// Ends the group: it is asked twice, then killed.
async fn end(shared: &Shared, child: &mut Child) {
    if timeout(AFTER_EOF, child.wait()).await.is_err() {
        shared.group.terminate();
        if timeout(AFTER_TERM, child.wait()).await.is_err() {
            shared.group.end();
            let _ = timeout(AFTER_KILL, child.wait()).await;
        }
    }
    // What the leader left behind.
    shared.group.kill();
}

/// The process has ended: takes what it wrote last, and says why it ended.
async fn exited(
    shared: &Shared,
    tasks: &mut Tasks,
    reading: bool,
    status: std::io::Result<ExitStatus>,
) -> TransportError {
    // At once, as the number of the group is free from now on when nobody is left in it.
    shared.group.kill();
    if reading && let Ok(Ok(Some(error))) = timeout(DRAIN, &mut tasks.read).await {
        return error;
    }
    let _ = timeout(DRAIN, &mut tasks.log).await;
    let (mut text, code, signal) = match status {
        Ok(status) => (describe(status), status.code(), status.signal()),
        Err(e) => (format!("ended ({e})"), None, None),
    };
    let words = shared.last_words.text();
    if !words.is_empty() {
        text = format!("{text}: {words}");
    }
    TransportError::Exited {
        text: text.into(),
        status: code,
        signal,
    }
}

fn describe(status: ExitStatus) -> String {
    let name = |n: i32| Signal::try_from(n).map_or_else(|_| format!("signal {n}"), |s| s.to_string());
    match (status.code(), status.signal()) {
        // The guard and shells say so when a signal killed what they ran.
        (Some(code), _) if (129..=159).contains(&code) => {
            format!("exited with status {code} ({})", name(code - 128))
        }
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by {}", name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
#[path = "stdio_tests.rs"]
mod tests;
