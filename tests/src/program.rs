//! A program that a test runs: its output is kept, and it ends with the test.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};

use crate::{SOON, eventually};

/// See the module.
pub struct Program {
    name: String,
    child: Child,
    output: Arc<Mutex<String>>,
}

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output and standard error, line by line as they came.
    pub text: String,
}

impl Program {
    /// A command for `path` with an environment that does not depend on who runs the tests.
    pub fn command(path: &Path) -> Command {
        let mut command = Command::new(path);
        for name in [
            "AIH_CONFIG",
            "AIH_LISTEN",
            "AIH_LOG",
            "AIH_LOG_FORMAT",
            "NODE_OPTIONS",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Starts a program without input.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        let output = Arc::<Mutex<String>>::default();
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        Self {
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// It takes longer than `limit`.
    pub async fn run(name: &str, command: Command, limit: Duration) -> Output {
        let mut program = Self::spawn(name, command);
        let Some(status) = program.ended_within(limit).await else {
            panic!("{name} did not end; it said:\n{}", program.output());
        };
        // The readers see the end of the pipes right after the process.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Output {
            status,
            text: program.output(),
        }
    }

    /// What it said so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `part` and returns it.
    ///
    /// # Panics
    /// The program ended, or the line did not come.
    pub async fn wait_for_line(&self, part: &str) -> String {
        eventually(&format!("{} says `{part}`", self.name), || async {
            let alive = alive(self.pid());
            let output = self.output();
            let line = output
                .split_inclusive('\n')
                .find(|l| l.contains(part) && l.ends_with('\n'))
                .map(|l| l.trim().to_owned());
            assert!(line.is_some() || alive, "{} ended", self.name);
            line
        })
        .await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(pid(self.pid()), signal).unwrap();
    }

    /// Ends it as a crash would.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not come within [`SOON`].
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = self.ended_within(SOON).await;
        ended.unwrap_or_else(|| panic!("{} did not end", self.name))
    }

    /// Waits for its end; `None` if it does not come in time.
    pub async fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if tokio::time::Instant::now() >= end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().unwrap())
}

/// Whether a process is there and no zombie.
fn alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| {
        let state = stat.rsplit(')').next().unwrap_or_default();
        !state.trim_start().starts_with('Z')
    })
}

/// How many processors a program sees that is started after [`pin_machine`].
const PROCESSORS: usize = 2;

/// Lets programs that this thread starts from here on see [`PROCESSORS`] processors and no huge pages: what they hold in
/// memory then does not depend on the machine. Threads, and with them the pools of allocators, go by the number of
/// processors; a huge page counts as a whole.
///
/// # Panics
/// The kernel refuses it.
pub fn pin_machine() {
    let all = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut few = nix::sched::CpuSet::new();
    let mine = (0..nix::sched::CpuSet::count()).filter(|at| all.is_set(*at).unwrap());
    for at in mine.take(PROCESSORS) {
        few.set(at).unwrap();
    }
    nix::sched::sched_setaffinity(Pid::from_raw(0), &few).unwrap();
    nix::sys::prctl::set_thp_disable(true).unwrap();
}

/// What a process holds now in memory of its own, in kB. Pages of files, such as those of its program, do not count:
/// how many of them are there is the kernel's affair.
pub fn memory_now_kb(pid: u32) -> u64 {
    memory_kb(pid, "RssAnon")
}

/// The most that a process ever held in memory of its own, in kB.
pub fn memory_peak_kb(pid: u32) -> u64 {
    let others = memory_kb(pid, "RssFile") + memory_kb(pid, "RssShmem");
    memory_kb(pid, "VmHWM").saturating_sub(others)
}

/// A value of `/proc/PID/status`, in kB where it is one of memory (proc_pid_status(5)).
pub fn memory_kb(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // It may end by itself meanwhile.
            let _ = nix::sys::signal::kill(pid(self.pid()), Signal::SIGTERM);
            for _ in 0..100 {
                if self.child.try_wait().ok().flatten().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let output = self.output();
            let cut = output.len().saturating_sub(20_000);
            let tail = output.get(output.ceil_char_boundary(cut)..).unwrap_or_default();
            eprintln!("--- {} said:\n{tail}\n--- end of {}", self.name, self.name);
        }
    }
}

fn collect(from: impl Read + Send + 'static, to: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
