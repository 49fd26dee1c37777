//! A program that a test runs: its output is kept, and it ends with the test.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::until;

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
        let end = tokio::time::Instant::now() + limit;
        let status = loop {
            if let Some(status) = program.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{name} did not end; it said:\n{}",
                program.output()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
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
        until(
            &format!("{} says `{part}`; it said:\n{}", self.name, self.output()),
            || async {
                let output = self.output();
                assert!(
                    crate::alive(self.pid()),
                    "{} ended; it said:\n{}",
                    self.name,
                    self.output()
                );
                output
                    .split_inclusive('\n')
                    .find(|l| l.contains(part) && l.ends_with('\n'))
                    .map(|l| l.trim().to_owned())
            },
        )
        .await
    }

    /// Sends a signal, by its name such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let child = &mut self.child;
        let end = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < end, "{name} did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            signal_quietly(self.pid(), "TERM");
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

fn signal_quietly(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
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
