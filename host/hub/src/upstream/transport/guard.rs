//! Child processes that do not outlive the hub, however it dies.
//!
//! A hub that is killed with SIGKILL can clean up nothing. So each server runs below a small process, the
//! guard, which is this binary again: `aih __guard HUB-PID[:FILES] COMMAND ARGS…`. Linux signals the guard when the
//! hub dies (`PR_SET_PDEATHSIG`), and the guard then kills all that the server started. Elsewhere it
//! looks once a second whether its parent is still the hub, and kills its process group.
//!
//! A server may start processes that leave its group and its session, and then end: a browser, a daemon, a watchdog. On
//! Linux such a process becomes a child of the guard (`PR_SET_CHILD_SUBREAPER`) as soon as its parent ends, so the guard
//! finds and kills it too. It does so when the hub dies, when the hub says so ([`end`]), and when the server ends. The
//! hub is not the one that adopts them: it would have to tell them from the children that its runtime waits for.
//!
//! The guard does not interfere otherwise: it never touches the standard streams, which the server inherits, and
//! it ends when the server ends, with the server's status. It must never start a thread or a runtime before
//! signals are blocked, and never kill a group that it does not lead.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, dup2_stdin, dup2_stdout, getpgrp, getpid, getppid, setpgid},
};
use tokio::{process, runtime::Handle, sync::oneshot};

use crate::open_files;

/// The first argument that makes `aih` a guard. Not for people: it is in no help.
pub const GUARD_ARGUMENT: &str = "__guard";
/// In place of the hub's process id: become the command instead of watching over it.
const BECOME: &str = "become";
/// What shells answer when a command cannot be started.
const CANNOT_START: u8 = 127;
/// Keeps the allocator of a guard from asking for huge pages: two of them, 4 MB, for a few kB that it uses.
/// The allocator reads the name in any case; written small, it is not a variable that a server was given.
const SMALL: (&str, &str) = ("mimalloc_allow_thp", "0");
/// What the hub sends to a guard that has to end at once, with all that its server started.
const END: Signal = Signal::SIGUSR1;
/// How long a guard waits for what it killed: the kernel may hold a process that waits for a dead disk.
const KILLING: Duration = Duration::from_millis(1500);
/// Between two looks at what is still there.
const LOOK: Duration = Duration::from_millis(1);

// ---- in the hub -------------------------------------------------------------------------------------

/// The binary that can be a guard: this one, if it is `aih`. `None` in tests and where the hub cannot tell
/// what it is; children then are started directly and a SIGKILL of the hub may leave them behind.
pub(super) fn guard_binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let path = std::env::current_exe().ok()?;
        // Linux says so when the file was replaced by a newer one while the hub runs.
        let name = path.file_name()?.to_str()?;
        if name.strip_suffix(" (deleted)").unwrap_or(name) != "aih" {
            return None;
        }
        Some(own_binary(path))
    };
    BINARY.get_or_init(find).as_deref()
}

/// A path to the running binary that stays right when its file is replaced.
fn own_binary(path: PathBuf) -> PathBuf {
    if cfg!(target_os = "linux") {
        "/proc/self/exe".into()
    } else {
        path
    }
}

/// The command that runs `program` below `guard`, or directly without one. Arguments, environment and
/// streams are for the caller to add.
pub(super) fn command(guard: Option<&Path>, program: &OsStr) -> process::Command {
    let Some(guard) = guard else {
        return process::Command::new(program);
    };
    let mut command = Command::new(guard);
    command.arg0("aih").arg(GUARD_ARGUMENT);
    // The server gets the limit of open files that the hub was started with.
    let id = std::process::id();
    let hub = open_files::inherited().map_or_else(|| id.to_string(), |soft| format!("{id}:{soft}"));
    command.arg(hub).arg(program);
    command.into()
}

/// What a guard needs in its environment; it takes it out again before it starts the server.
pub(super) fn environment(guard: Option<&Path>) -> Option<(&'static str, &'static str)> {
    guard.map(|_| SMALL)
}

/// Makes a guard end at once, and all that its server started. `guard` must be a child that nobody has waited for yet.
pub(super) fn end(guard: Pid) {
    // It may have ended already.
    let _ = kill(guard, END);
}

struct Job {
    command: process::Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<process::Child>>,
}

/// Starts `command` from a thread that lives as long as the hub: the kernel takes the end of the thread
/// that started a child for the death of its parent, and tokio's threads may come and go. Starting takes milliseconds
/// where the machine is busy; meanwhile the calling thread serves others.
///
/// # Errors
/// What the system says; also when the thread cannot be started.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) async fn spawn(command: process::Command) -> io::Result<process::Child> {
    let (reply, answer) = oneshot::channel();
    hand_over(Job {
        command,
        runtime: Handle::current(),
        reply,
    })?;
    answer
        .await
        .map_err(|_| io::Error::other("the thread that starts processes has ended"))?
}

fn hand_over(job: Job) -> io::Result<()> {
    static SPAWNER: Mutex<Option<mpsc::Sender<Job>>> = Mutex::new(None);
    // One assignment happens under the lock: it cannot be left half-done.
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    let jobs = match &*spawner {
        Some(jobs) => jobs.clone(),
        None => spawner.insert(start_spawner()?).clone(),
    };
    if let Err(mpsc::SendError(job)) = jobs.send(job) {
        // A panic ended it. Guards of its children see that the hub lives, and stay.
        let jobs = spawner.insert(start_spawner()?);
        let _ = jobs.send(job);
    }
    Ok(())
}

fn start_spawner() -> io::Result<mpsc::Sender<Job>> {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("aih-spawner".to_owned())
        .spawn(move || {
            for mut job in queue {
                if job.reply.is_closed() {
                    continue;
                }
                let _in_runtime = job.runtime.enter();
                if let Err(Ok(mut child)) = job.reply.send(job.command.spawn()) {
                    // Nobody wants it any more. It has started nothing yet, or what it started ends with it.
                    let _ = child.start_kill();
                }
            }
        })?;
    Ok(jobs)
}

// ---- in the guard -----------------------------------------------------------------------------------

/// The guard: what `main` runs, and nothing else, when the first argument is [`GUARD_ARGUMENT`]. `args` are
/// those behind it: the hub's process id, the command and its arguments.
///
/// Gives the command's exit code, 128 plus the number of the signal that killed it, or 127 when it cannot
/// be started. SIGTERM, SIGINT and SIGHUP are ignored while the hub lives: the hub signals the whole group,
/// and the guard has to stay until the command has ended.
pub fn guard_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(role), Some(parent), Some(program)) = ({
        let role = args.next();
        let parent = match &role {
            Some(role) if role == BECOME => args.next(),
            _ => role.clone(),
        };
        (role, parent.as_deref().and_then(pid), args.next())
    }) else {
        return complain("`__guard` is for the hub's own use");
    };
    if let Some(soft) = files_of(&role) {
        // A limit that stays as high as the hub's harms few programs: better than no server.
        let _ = open_files::give_back(soft);
    }
    let mut command = Command::new(&program);
    command.args(args);
    let outcome = if role == BECOME {
        become_command(command, parent).map(|never| match never {})
    } else {
        watch(&command, parent)
    };
    outcome.unwrap_or_else(|e| complain(&format!("cannot start `{}`: {e}", program.display())))
}

/// The process id of `PID` or `PID:FILES`.
fn pid(text: &OsStr) -> Option<Pid> {
    let text = text.to_str()?;
    let number: i32 = text.split_once(':').map_or(text, |(id, _)| id).parse().ok()?;
    (number > 0).then(|| Pid::from_raw(number))
}

/// The limit of open files of `PID:FILES`.
fn files_of(text: &OsStr) -> Option<u64> {
    text.to_str()?.split_once(':')?.1.parse().ok()
}

fn complain(text: &str) -> ExitCode {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "aih: {text}");
    ExitCode::from(CANNOT_START)
}

/// What the guard waits for: the end of a child, a word of the hub, and the signals that it ignores while the hub lives.
fn signals() -> SigSet {
    [
        Signal::SIGCHLD,
        END,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ]
    .into_iter()
    .collect()
}

/// Starts the command and waits for it, and kills all when the hub is gone.
fn watch(wanted: &Command, hub: Pid) -> io::Result<ExitCode> {
    // From here on the signals wait until they are asked for, so that no death of the hub or of a child is missed.
    signals().thread_block()?;
    if getpgrp() != getpid() {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    }
    #[cfg(target_os = "linux")]
    {
        // Not to be hit by who kills the hub by its name.
        nix::sys::prctl::set_name(c"aih-guard")?;
        nix::sys::prctl::set_child_subreaper(true)?;
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    }
    if getppid() != hub {
        return Err(io::Error::other("the hub has ended"));
    }
    #[cfg(not(target_os = "linux"))]
    kill_when_orphaned(hub)?;

    // A child inherits the blocked signals. Only a program can unblock its own, so the child is this
    // binary once more, which does so and then becomes the command.
    let mut command = Command::new(own_binary(std::env::current_exe()?));
    command.arg0("aih").args([GUARD_ARGUMENT, BECOME]);
    command.arg(std::process::id().to_string());
    command.arg(wanted.get_program()).args(wanted.get_args());
    command.env_remove(SMALL.0);
    let server = pid_of(&command.spawn()?)?;
    // When the server closes its streams, the hub must see it: let go of this process's copies.
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;

    let code = until_the_end(server, hub);
    #[cfg(not(target_os = "linux"))]
    if code.is_none() {
        // This process is in the group: nothing comes after.
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    }
    kill_what_is_left();
    Ok(code
        .and_then(|c| u8::try_from(c).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn pid_of(child: &std::process::Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .map(Pid::from_raw)
        .map_err(io::Error::other)
}

/// Waits until the server ends, and gives its exit code; until the hub says so or is gone, and gives `None`. Meanwhile
/// it takes in what else has ended: a process whose parent does not wait for it any more.
fn until_the_end(server: Pid, hub: Pid) -> Option<i32> {
    loop {
        // Signals of several children may come as one.
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == server => return Some(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == server => {
                    return Some(128 + signal as i32);
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                // No child: the server has ended unseen.
                Err(_) => return None,
            }
        }
        match signals().wait() {
            Ok(Signal::SIGCHLD) => {}
            Ok(END) => return None,
            // Also when waiting fails: better no server than one that nobody watches over.
            Ok(_) if getppid() == hub => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// Kills all that the server started, whatever group or session it is in: where a process ends, its children become
/// those of this process.
fn kill_what_is_left() {
    let began = Instant::now();
    while began.elapsed() < KILLING {
        for child in children() {
            // It may have ended meanwhile, but it has its number until it is waited for, below.
            let _ = kill(child, Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                // Nobody is left.
                Err(_) => return,
            }
        }
        thread::sleep(LOOK);
    }
    // This process is in the group: nothing comes after.
    let _ = killpg(getpgrp(), Signal::SIGKILL);
}

/// The children of this process.
fn children() -> Vec<Pid> {
    // The kernel may be built without the list.
    listed_children().unwrap_or_else(|| {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name of the program stands in parentheses and may hold any of them.
            let (_, behind) = stat.rsplit_once(')')?;
            let parent: i32 = behind.split_whitespace().nth(1)?.parse().ok()?;
            (Pid::from_raw(parent) == getpid()).then(|| pid(&entry.file_name()))?
        })
        .collect()
    })
}

/// The children of this process as the kernel lists them (`proc_pid_children(5)`).
fn listed_children() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let list = std::fs::read_to_string(thread.path().join("children")).ok()?;
        children.extend(list.split_whitespace().filter_map(|id| pid(OsStr::new(id))));
    }
    Some(children)
}

#[cfg(not(target_os = "linux"))]
fn kill_when_orphaned(hub: Pid) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        while getppid() == hub {
            thread::sleep(Duration::from_secs(1));
        }
        // This process is in the group: nothing comes after.
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    })?;
    Ok(())
}

/// Turns this process into the command.
fn become_command(mut command: Command, guard: Pid) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    {
        // If something kills the guard alone, the server goes with it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The hub does without huge pages; a server may want them.
        let _ = nix::sys::prctl::set_thp_disable(false);
    }
    if getppid() != guard {
        return Err(io::Error::other("its guard has ended"));
    }
    signals().thread_unblock()?;
    Err(command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_is_no_guard() {
        assert_eq!(guard_binary(), None);
    }

    #[tokio::test]
    #[expect(unsafe_code, reason = "a process that takes its time to start")]
    async fn starting_a_process_keeps_nobody_waiting() {
        const SLOW: Duration = Duration::from_millis(500);
        let mut command = Command::new("true");
        // SAFETY: sleeping is async-signal-safe (`nanosleep`), and nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                thread::sleep(SLOW);
                Ok(())
            });
        }
        let began = Instant::now();
        let others = async {
            tokio::task::yield_now().await;
            began.elapsed()
        };
        let (child, others) = tokio::join!(spawn(command.into()), others);
        assert!(others < SLOW, "{others:?}");
        assert!(child.unwrap().wait().await.unwrap().success());
        assert!(began.elapsed() >= SLOW);
    }

    #[test]
    fn arguments_stay_as_they_are_below_a_guard() {
        let mut command = command(Some(Path::new("/opt/aih")), OsStr::new("npx"));
        command.arg("-y");
        let std = command.as_std();
        assert_eq!(std.get_program(), "/opt/aih");
        let id = std::process::id().to_string();
        let args: Vec<_> = std.get_args().collect();
        assert_eq!(args, ["__guard", id.as_str(), "npx", "-y"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            &[][..],
            &["12"],
            &["x", "true"],
            &["-1", "true"],
            &["become", "true"],
        ] {
            let code = guard_main(args.iter().map(OsString::from));
            assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(CANNOT_START)));
        }
    }
}
