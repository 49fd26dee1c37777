//! Confines the child process with the means of the kernel.
//!
//! A source runs inside of a WebAssembly sandbox. This module is the second barrier, in case the first one fails: the
//! process around the sandbox can read and write its own build folder, start no process, use no network, and use a
//! limited part of the machine. There are two steps, because the sources must be read before they can run: [`enter`] at
//! the start, and [`narrow`] between reading and running.
//!
//! Landlock (landlock(7)) limits the files, and seccomp (seccomp(2)) removes the system calls that the process does not
//! need. Both act on the calling thread and on threads that it starts later, so they are called while there is no other
//! thread. What a machine does not offer is left out and reported: see [`Protections::missing`].

#[cfg(target_os = "linux")]
mod calls;

use std::path::Path;

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use serde::{Deserialize, Serialize};

/// What holds a child on this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protections {
    /// Landlock keeps it to its folder.
    pub files: bool,
    /// Landlock refuses TCP.
    pub tcp: bool,
    /// It has a network of its own, with nothing in it.
    pub network: bool,
    /// Landlock keeps signals and abstract sockets away from other processes.
    pub processes: bool,
    /// The kernel limits its memory, files and threads.
    pub limits: bool,
    /// It is killed when its parent dies.
    pub parent: bool,
    /// seccomp refuses new processes and programs, sockets, and signals to others.
    pub calls: bool,
}

impl Protections {
    /// What this machine does not offer, in words for a warning; empty where all is well.
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (
                self.files,
                "the build can reach files outside of its folder (Landlock is missing, Linux 5.13)",
            ),
            (
                self.network || self.tcp,
                "the build can use the network (user namespaces are missing, or Landlock of Linux 6.7)",
            ),
            (
                self.limits,
                "the build has no limit on memory, files and threads (setrlimit is missing)",
            ),
            (
                self.parent,
                "the build can outlive the hub (PR_SET_PDEATHSIG is missing, Linux)",
            ),
            (
                self.calls,
                "the build can start processes and open sockets (seccomp is missing, Linux)",
            ),
        ]
        .into_iter()
        .filter_map(|(present, what)| (!present).then_some(what))
        .collect()
    }
}

/// What a child may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of one file.
    pub file: u64,
}

/// Open files. The engines keep a handful.
const OPEN_FILES: rlim_t = 256;
/// Threads: a compiler's for each processor, and some.
const THREADS: rlim_t = 256;
/// Room for memory that is reserved and not used, above the limit that is watched from outside.
const RESERVE: u64 = 1 << 30;

/// The first step: limits, no network, no signals, and from here on only `root` (to read) and `folder`.
/// Has to be called while the process has a single thread.
///
/// # Errors
/// When the parent is gone already.
pub fn enter(root: &Path, folder: &Path, limits: Limits, parent: u32) -> std::io::Result<Protections> {
    let mut protections = Protections {
        parent: die_with(parent)?,
        network: own_network(),
        ..Protections::default()
    };
    protections.limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
        (Resource::RLIMIT_FSIZE, limits.file),
    ]
    .into_iter()
    .all(|(what, limit)| limit_to(what, limit));
    #[cfg(target_os = "linux")]
    {
        // Address space that is reserved without being writable does not count here, as it would for
        // RLIMIT_AS: the engine reserves 4 GiB for each memory.
        protections.limits &= limit_to(Resource::RLIMIT_DATA, limits.memory.saturating_add(RESERVE));
        // Outside a namespace of its own, the threads of all of the user's processes would count.
        if protections.network {
            protections.limits &= limit_to(Resource::RLIMIT_NPROC, THREADS);
        }
        let held = landlock(&[root], folder);
        protections.files = held.files;
        protections.tcp = held.tcp;
        protections.processes = held.processes;
        // Last: it refuses what the steps above need.
        protections.calls = calls::refuse();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (root, folder, THREADS, RESERVE);
    Ok(protections)
}

/// The second step: from here on only `folder`. To be called before the source is run.
pub fn narrow(folder: &Path) {
    #[cfg(target_os = "linux")]
    landlock(&[], folder);
    #[cfg(not(target_os = "linux"))]
    let _ = folder;
}

fn limit_to(what: Resource, limit: rlim_t) -> bool {
    // A lower limit that is there already stays.
    let hard = nix::sys::resource::getrlimit(what).map_or(limit, |(_, hard)| hard.min(limit));
    setrlimit(what, hard, hard).is_ok()
}

#[cfg(target_os = "linux")]
fn die_with(parent: u32) -> std::io::Result<bool> {
    let set = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_ok();
    // It may have died before that.
    if u32::try_from(nix::unistd::getppid().as_raw()) == Ok(parent) {
        Ok(set)
    } else {
        Err(std::io::Error::other(
            "the process that started the build has ended",
        ))
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32) -> std::io::Result<bool> {
    Ok(false)
}

/// A network namespace has only a loopback device, which is down. A user namespace makes it possible without
/// privileges, where the system allows that.
#[cfg(target_os = "linux")]
fn own_network() -> bool {
    use nix::sched::{CloneFlags, unshare};
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    unshare(CloneFlags::CLONE_NEWUSER | spaces).is_ok() || unshare(spaces).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn own_network() -> bool {
    false
}

#[cfg(target_os = "linux")]
fn landlock(read: &[&Path], folder: &Path) -> Protections {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    };
    // Each on its own, so that an old kernel tells what it has.
    let restrict = |rules: Result<landlock::RulesetCreated, RulesetError>| {
        rules
            .and_then(landlock::RulesetCreated::restrict_self)
            .is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
    };
    let abi = ABI::V5;
    let files = (|| {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .create()?;
        let readable = AccessFs::ReadFile | AccessFs::ReadDir;
        // Not the right to run anything, in neither of them.
        let writable = AccessFs::from_all(abi) & !AccessFs::Execute & !AccessFs::IoctlDev;
        for (path, rights) in read
            .iter()
            .map(|path| (*path, readable))
            .chain([(folder, writable)])
        {
            // What cannot be opened stays closed.
            if let Ok(opened) = PathFd::new(path) {
                rules = rules.add_rule(PathBeneath::new(opened, rights))?;
            }
        }
        Ok(rules)
    })();
    let tcp = (|| {
        Ruleset::default()
            .handle_access(AccessNet::from_all(ABI::V4))?
            .create()
    })();
    let scope = (|| Ruleset::default().scope(Scope::from_all(ABI::V6))?.create())();
    Protections {
        files: restrict(files),
        tcp: restrict(tcp),
        processes: restrict(scope),
        ..Protections::default()
    }
}
