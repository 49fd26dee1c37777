//! The child process from the outside: this module starts, watches and ends it.
//!
//! Each build has a thread, because the kernel treats the end of the thread that started a child as the death of the
//! parent (`PR_SET_PDEATHSIG`), and tokio's threads may end at any time.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::sync::mpsc;

use crate::{
    BuildError, CHILD_ARGUMENT,
    job::{Message, Task},
    scratch::{self, Scratch},
};

/// How a source is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The program that becomes the child: one that calls [`crate::child_main`]. By default this one.
    pub program: PathBuf,
    /// How much processor time a build may use, on all processors together. Default 120 s. Waiting counts a
    /// little too: after ten times as long by the clock a build is ended in any case.
    pub time: Duration,
    /// How much memory a build may use, in bytes. Default 2 GiB; Python needs about 0.6 GiB.
    pub memory: u64,
    /// The largest component, in bytes. Default 256 MiB.
    pub max_component: u64,
    /// How much a build may have on disk at once, in bytes. Default 2 GiB. Files and folders are 100,000 at most.
    pub disk: u64,
    /// Where build folders are made. By default the system's folder for temporary files.
    pub scratch: PathBuf,
    /// How many builds run at once, and as many compilations beside them. Default: half of the machine's processors, at least one.
    pub parallel: usize,
}

impl Default for BuildOptions {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            program: own_program(),
            time: Duration::from_secs(120),
            memory: 2 << 30,
            max_component: 256 << 20,
            disk: 2 << 30,
            scratch: std::env::temp_dir(),
            parallel: (processors / 2).max(1),
        }
    }
}

/// This program, also when its file is replaced while it runs.
fn own_program() -> PathBuf {
    if cfg!(target_os = "linux") {
        "/proc/self/exe".into()
    } else {
        std::env::current_exe().unwrap_or_else(|_| "aih".into())
    }
}

/// How often the child is looked at.
const INTERVAL: Duration = Duration::from_millis(5);
/// How often its folder is measured: that takes some milliseconds.
const MEASURED: Duration = Duration::from_millis(250);
/// Most files and folders of a build. Python's library has some thousand.
const MAX_FILES: u64 = 100_000;
/// How many times its processor time a build may take by the clock.
const PATIENCE: u32 = 10;
/// Most bytes of messages: inputs of a large project take 100 bytes each.
const MAX_MESSAGES: u64 = 8 << 20;
/// Most bytes of a child's last words.
const MAX_WORDS: u64 = 16 << 10;

/// Gives a build up when it is dropped.
pub(crate) struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a child that ended well has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes, as seen while it was watched.
    pub(crate) memory: u64,
    pub(crate) time: Duration,
}

/// What comes of a child: its messages, and then how it ended.
pub(crate) enum Event {
    Message(Message),
    /// With the build folder, which goes away with the last who has it: not before the child has ended.
    Ended(Result<(Usage, Scratch), BuildError>),
}

/// Starts a child on a task, in its folder.
pub(crate) fn start(
    task: Task,
    folder: Scratch,
    options: BuildOptions,
) -> Result<(Running, mpsc::UnboundedReceiver<Event>), BuildError> {
    let given_up = Arc::new(AtomicBool::new(false));
    let (events, receiver) = mpsc::unbounded_channel();
    let flag = Arc::clone(&given_up);
    thread::Builder::new()
        .name("aih-build".to_owned())
        .spawn(move || {
            let ended = run(&task, &options, &flag, &events);
            // Nobody listens any more: then nobody has to know.
            let _ = events.send(Event::Ended(ended.map(|usage| (usage, folder))));
        })
        .map_err(|e| BuildError::io("cannot start a thread for the build", &e))?;
    Ok((Running(given_up), receiver))
}

fn run(
    task: &Task,
    options: &BuildOptions,
    given_up: &AtomicBool,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<Usage, BuildError> {
    let started = Instant::now();
    let mut command = Command::new(&options.program);
    command
        .arg0("aih")
        .arg(CHILD_ARGUMENT)
        .env_clear()
        .env("TMPDIR", task.folder())
        .current_dir(task.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|e| {
        BuildError::io(
            &format!("cannot start {} to build", options.program.display()),
            &e,
        )
    })?;
    let (messages, words) = (child.stdout.take(), child.stderr.take());
    let listener = {
        let events = events.clone();
        thread::spawn(move || messages.map_or_else(Default::default, |from| listen(from, &events)))
    };
    let words = thread::spawn(move || words.map_or_else(String::new, last_words));
    // A child that died at once is seen below.
    let stdin = child.stdin.take().and_then(|to| send(to, task).ok());
    let watched = watch(&child, task.folder(), options, given_up, started);
    // All of its group, before its number can be given to somebody else.
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    drop(stdin);
    let status = child
        .wait()
        .map_err(|e| BuildError::io("cannot wait for the build", &e))?;
    let last_message = listener.join().unwrap_or_default();
    let words = words.join().unwrap_or_default();
    let memory = watched?;
    match last_message {
        LastMessage::Failed(error) => Err(error),
        LastMessage::Done if status.success() => Ok(Usage {
            memory,
            time: started.elapsed(),
        }),
        LastMessage::Done | LastMessage::Nothing => Err(death(status, &words, options)),
    }
}

fn send(mut to: ChildStdin, task: &Task) -> io::Result<ChildStdin> {
    let mut line = serde_json::to_vec(task)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(to)
}

/// Waits until the child has ended, without reaping it. Gives its memory, or why it must not go on.
fn watch(
    child: &Child,
    folder: &Path,
    options: &BuildOptions,
    given_up: &AtomicBool,
    started: Instant,
) -> Result<u64, BuildError> {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let mut most = 0;
    let mut measured = started;
    loop {
        match waitid(Id::Pid(id), look) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(most),
            Err(e) => return Err(BuildError::io("cannot wait for the build", &e.into())),
        }
        most = most.max(resident(child.id()));
        if most > options.memory {
            return Err(BuildError::OutOfMemory(options.memory));
        }
        if given_up.load(Ordering::Relaxed) {
            return Err(BuildError::Cancelled);
        }
        if measured.elapsed() > MEASURED {
            let (bytes, files) = scratch::measure(folder);
            if bytes > options.disk || files > MAX_FILES {
                return Err(BuildError::TooLarge {
                    what: "what the build wrote".to_owned(),
                    limit: options.disk,
                });
            }
            measured = Instant::now();
        }
        // Not by the clock alone: on a machine that is busy, a build that is fine takes long.
        if started.elapsed() > options.time
            && (processor_time(child.id()).is_none_or(|used| used > options.time)
                || started.elapsed() > options.time.saturating_mul(PATIENCE))
        {
            return Err(BuildError::TimedOut(options.time));
        }
        thread::sleep(INTERVAL);
    }
}

/// Resident memory in bytes; 0 where the system does not tell.
fn resident(process: u32) -> u64 {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/statm")) else {
        return 0;
    };
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    pages * page_size()
}

/// Processor time of a process, threads and ended children included; `None` where the system does not tell.
fn processor_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything; utime is the 14th and cutime the 16th.
    let (_, fields) = text.rsplit_once(") ")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().ok())
        .sum::<Option<u64>>()?;
    Some(Duration::from_millis(
        ticks.saturating_mul(1000) / ticks_per_second(),
    ))
}

fn ticks_per_second() -> u64 {
    static TICKS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| system_value(nix::unistd::SysconfVar::CLK_TCK, 100))
}

fn page_size() -> u64 {
    static SIZE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *SIZE.get_or_init(|| system_value(nix::unistd::SysconfVar::PAGE_SIZE, 4096))
}

fn system_value(what: nix::unistd::SysconfVar, otherwise: u64) -> u64 {
    nix::unistd::sysconf(what)
        .ok()
        .flatten()
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .unwrap_or(otherwise)
}

/// The last that a child has said of its job.
#[derive(Default)]
enum LastMessage {
    #[default]
    Nothing,
    Done,
    Failed(BuildError),
}

fn listen(from: impl Read, events: &mpsc::UnboundedSender<Event>) -> LastMessage {
    let mut last_message = LastMessage::Nothing;
    for line in BufReader::new(from.take(MAX_MESSAGES)).lines() {
        let Ok(message) = line.and_then(|line| Ok(serde_json::from_str::<Message>(&line)?)) else {
            continue;
        };
        match message {
            Message::Done => last_message = LastMessage::Done,
            Message::Failed(error) => last_message = LastMessage::Failed(error),
            message => {
                let _ = events.send(Event::Message(message));
            }
        }
    }
    last_message
}

/// Reads to the end, so that the child never has to wait, and keeps the beginning.
fn last_words(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = from.by_ref().take(MAX_WORDS).read_to_end(&mut kept);
    let _ = io::copy(&mut from, &mut io::sink());
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What to make of a child that ended without an answer.
fn death(status: ExitStatus, words: &str, options: &BuildOptions) -> BuildError {
    if status.signal() == Some(Signal::SIGXFSZ as i32) {
        return BuildError::TooLarge {
            what: "a file of the build".to_owned(),
            limit: options.max_component,
        };
    }
    if words.contains("memory allocation of") || words.contains("Cannot allocate memory") {
        return BuildError::OutOfMemory(options.memory);
    }
    if words.contains("has overflowed its stack") {
        return BuildError::Crashed("the source is nested too deeply".to_owned());
    }
    let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
    let how = signal.map_or_else(|| status.to_string(), |signal| format!("killed by {signal}"));
    let words: String = words
        .lines()
        .take(3)
        .collect::<Vec<_>>()
        .join("; ")
        .chars()
        .take(500)
        .collect();
    BuildError::Crashed(if words.is_empty() {
        how
    } else {
        format!("{how}: {words}")
    })
}
