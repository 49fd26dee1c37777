//! What can be seen of a process that has not answered yet: whether it has read its input, and whether it works.
//!
//! A process that is slow and one that will never answer look alike to the hub, which sees no answer in either case.
//! Three things tell them apart. Bytes that stay in the pipe show that the process does not read yet: it is still
//! starting. Processor time of the process and of its descendants, and lines that it prints, show that it works.
//! Each is best effort: where the system does not say it, the field is `None`.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use nix::unistd::Pid;

/// How deep the tree of descendants is followed: `npx` alone makes three levels.
const MAX_DEPTH: usize = 8;
/// How many processes of the tree are looked at.
const MAX_PROCESSES: usize = 64;

/// What was seen at one moment. Counts only grow while a process lives; another value means that something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Whether the process has read all that was written to it.
    pub has_read: Option<bool>,
    /// Processor time that the process and its descendants have used, in ticks of the system (mostly 10 ms).
    pub processor: Option<u64>,
    /// Lines that it has printed, on standard output and standard error.
    pub printed: u64,
}

/// The state behind [`Activity`], shared by the tasks of one process.
#[derive(Default)]
pub(super) struct ActivityMonitor {
    /// A copy of the write end of the process's standard input. It must be gone before the input is to be closed:
    /// the process sees the end of its input only when no copy is left.
    input: Mutex<Option<OwnedFd>>,
    written: AtomicBool,
    has_read: AtomicBool,
    printed: AtomicU64,
}

impl ActivityMonitor {
    /// Watches `input` until [`ActivityMonitor::forget_input`]. Without a copy of it nothing is known of reading.
    pub(super) fn watch_input(&self, input: impl AsFd) {
        *self.input() = input.as_fd().try_clone_to_owned().ok();
    }

    /// Something was written to the process.
    pub(super) fn wrote(&self) {
        self.written.store(true, Ordering::Release);
    }

    /// The process printed a line.
    pub(super) fn printed(&self) {
        self.printed.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets go of the copy of the input. What was known last stays known.
    pub(super) fn forget_input(&self) {
        let mut input = self.input();
        if let Some(input) = input.take() {
            self.note_read(&input);
        }
    }

    /// What is to be seen now. `leader` is the process, while it is not reaped.
    pub(super) fn look(&self, leader: Option<Pid>) -> Activity {
        let has_read = match &*self.input() {
            Some(input) => self.note_read(input),
            None => Some(self.has_read.load(Ordering::Acquire)),
        };
        Activity {
            has_read,
            processor: leader.and_then(processor_time),
            printed: self.printed.load(Ordering::Relaxed),
        }
    }

    fn input(&self) -> std::sync::MutexGuard<'_, Option<OwnedFd>> {
        // One assignment happens under the lock: it cannot be left half-done.
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Linux tells at either end of a pipe how many bytes are in it (pipe(7), `FIONREAD`).
    fn note_read(&self, input: &OwnedFd) -> Option<bool> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let unread = rustix::io::ioctl_fionread(input).ok()?;
        let has_read = self.written.load(Ordering::Acquire) && unread == 0;
        self.has_read.store(has_read, Ordering::Release);
        Some(has_read)
    }
}

/// The processor time of a process and its descendants, those that have ended included (`proc_pid_stat(5)`).
fn processor_time(leader: Pid) -> Option<u64> {
    let mut sum = None;
    let mut level = vec![leader.as_raw()];
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for pid in level {
            seen += 1;
            if seen > MAX_PROCESSES {
                return sum;
            }
            let Some(time) = time_of(pid) else { continue };
            sum = Some(sum.unwrap_or(0) + time);
            children(pid, &mut next);
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    sum
}

/// User and system time of a process and of its children that it has waited for.
fn time_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in brackets and may hold anything. The times are fields 14 to 17.
    let fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let times = fields.skip(11).take(4).map(|field| field.parse::<u64>().ok());
    times
        .collect::<Option<Vec<u64>>>()
        .map(|times| times.iter().sum())
}

/// The children of all threads of a process.
fn children(pid: i32, out: &mut Vec<i32>) {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for thread in threads.flatten() {
        let Ok(list) = fs::read_to_string(thread.path().join("children")) else {
            continue;
        };
        out.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn what_was_written_is_read_or_not() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let monitor = ActivityMonitor::default();
        monitor.watch_input(&writer);
        assert_eq!(monitor.look(None).has_read, Some(false), "nothing was written");
        writer.write_all(b"hello").unwrap();
        monitor.wrote();
        assert_eq!(monitor.look(None).has_read, Some(false), "nobody has read it");
        reader.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(monitor.look(None).has_read, Some(true));
        // The reader sees the end although this was watched, and what was known stays known.
        monitor.forget_input();
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert_eq!(monitor.look(None).has_read, Some(true));
    }

    #[test]
    fn the_work_of_descendants_counts() {
        let spawn = |script: &str| {
            let mut command = Command::new("/bin/sh");
            let command = command.args(["-c", script]).stdin(Stdio::piped());
            command.spawn().unwrap()
        };
        let pid = |child: &std::process::Child| Pid::from_raw(child.id().try_into().unwrap());
        let mut busy = spawn("sh -c 'while true; do :; done' & wait");
        let mut idle = spawn("sleep 100");
        let until = Instant::now() + Duration::from_secs(30);
        while processor_time(pid(&busy)).unwrap_or(0) < 5 {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(processor_time(pid(&idle)).unwrap() < 5);
        for child in children_of(&busy) {
            let _ = nix::sys::signal::kill(Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
        }
        for child in [&mut busy, &mut idle] {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    fn children_of(child: &std::process::Child) -> Vec<i32> {
        let mut found = Vec::new();
        children(child.id().try_into().unwrap(), &mut found);
        found
    }
}
