//! The programs that are measured: built, started, watched and stopped.
//!
//! Children are killed when their handle goes, so a failed run leaves none behind; and by the kernel when
//! this program is killed itself ([`become_child`]).

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a program may take until it says where it listens.
const START: Duration = Duration::from_secs(20);
/// How many lines of a program's output an error shows.
const SHOWN_LINES: usize = 20;

/// The first argument with which the program that uses [`Program::start`] must call [`become_child`].
pub const CHILD_ARGUMENT: &str = "__child";

/// Turns this process into the command in `arguments`, which dies with its parent. `arguments` are those
/// behind [`CHILD_ARGUMENT`]: the parent's process id, the program and its arguments.
///
/// # Errors
/// The parent has ended already, or the program cannot be started.
pub fn become_child(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    let parent = arguments.next().context("the parent's process id is missing")?;
    let program = arguments.next().context("the program is missing")?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("prctl")?;
    // It may have ended before the kernel was asked.
    let alive = nix::unistd::getppid().to_string().as_str() == parent;
    ensure!(alive, "the benchmark has ended");
    let error = std::process::Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Memory of a process, in kB.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Resident pages, shared ones included.
    pub resident: u64,
    /// Resident pages that no other process shares.
    pub private: u64,
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    /// When it was started.
    pub started: Instant,
    /// Where it listens.
    pub address: SocketAddr,
    output: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts a program and waits for its line `listening on http://ADDRESS`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or says nothing for 20 s; the text has its last lines.
    pub async fn start(name: &'static str, path: &Path, arguments: &[String], folder: &Path) -> Result<Self> {
        let started = Instant::now();
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(this)
            .args([CHILD_ARGUMENT, &std::process::id().to_string()])
            .arg(path)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        let (found, mut listening) = watch::channel(None);
        let output = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::new(found);
        if let Some(stream) = child.stdout.take() {
            tokio::spawn(watch_output(stream, found.clone(), output.clone()));
        }
        if let Some(stream) = child.stderr.take() {
            tokio::spawn(watch_output(stream, found, output.clone()));
        }
        // The channel closes when both streams end, which is when the program ended.
        let address = match timeout(START, listening.wait_for(Option::is_some)).await {
            Ok(Ok(address)) => *address,
            _ => None,
        };
        let Some(address) = address else {
            bail!(
                "{name} did not say \"listening on http://…\"; its output:\n{}",
                tail(&output)
            );
        };
        Ok(Self {
            name,
            child,
            started,
            address,
            output,
        })
    }

    /// Its memory now.
    ///
    /// # Errors
    /// When it has ended, or this is not Linux.
    pub fn memory(&self) -> Result<Memory> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} has ended", self.name))?;
        let path = format!("/proc/{id}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let sum = |fields: &[&str]| -> u64 {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            let counted = lines.filter(|(name, _)| fields.contains(name));
            let numbers =
                counted.filter_map(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok());
            numbers.sum()
        };
        Ok(Memory {
            resident: sum(&["Rss"]),
            private: sum(&["Private_Clean", "Private_Dirty"]),
        })
    }

    /// CPU time that it has used, user and system together.
    ///
    /// # Errors
    /// When it has ended, or this is not Linux.
    pub fn cpu(&self) -> Result<Duration> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} has ended", self.name))?;
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).context("cannot read /proc")?;
        // Behind the name in parentheses: utime and stime are fields 14 and 15 of the whole (proc(5)),
        // in ticks of 10 ms (USER_HZ is 100 on every Linux).
        let (_, fields) = text.rsplit_once(')').context("/proc/PID/stat has no name")?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn last_lines(&self) -> String {
        tail(&self.output)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn stop(mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("cannot stop {}", self.name))
    }
}

async fn watch_output(
    stream: impl AsyncRead + Unpin,
    found: Arc<watch::Sender<Option<SocketAddr>>>,
    output: Arc<Mutex<Vec<String>>>,
) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, rest)) = line.split_once("listening on http://") {
            let address = rest
                .split(|c: char| c.is_whitespace() || c == '/' || c == '"')
                .next();
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                found.send_if_modified(|known| known.replace(address).is_none());
            }
        }
        if let Ok(mut output) = output.lock() {
            if output.len() >= SHOWN_LINES {
                output.remove(0);
            }
            output.push(line);
        }
    }
}

fn tail(output: &Mutex<Vec<String>>) -> String {
    output.lock().map(|lines| lines.join("\n")).unwrap_or_default()
}

/// Builds a program of this workspace for release and gives its path, in the target folder of this program.
///
/// # Errors
/// When the build fails; cargo has then said why.
pub async fn build(binary: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let target = this
        .parent()
        .and_then(Path::parent)
        .context("this program is not in a cargo target folder")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--quiet",
            // One selection of packages for all: another one has other features, and builds wasmtime again.
            "--workspace",
            "--bin",
            binary,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(workspace)
        .status()
        .await
        .context("cannot start cargo")?;
    ensure!(status.success(), "cannot build {binary}; the errors are above");
    let path = target.join("release").join(binary);
    ensure!(
        path.exists(),
        "cargo built {binary}, but {} is not there",
        path.display()
    );
    Ok(path)
}
