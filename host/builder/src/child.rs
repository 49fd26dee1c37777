//! The child process: reads its task, confines itself, builds or compiles, and reports the result.
//!
//! It first reads a source, as a native process that sees the project's folder. Then it runs the source in WebAssembly, in
//! a process that sees only its build folder.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
    thread,
};

use crate::{
    BuildError, Language, Progress,
    confine::{self, Limits},
    javascript,
    job::{CODE, COMPONENT, Compile, Input, Job, Message, Task},
    link, python,
};

/// The first argument that makes a program the child. Not for people: it is in no help.
pub const CHILD_ARGUMENT: &str = "__build-component";
/// Longest job, in bytes.
const MAX_JOB: u64 = 64 << 10;
/// Stack of the thread that parses, in bytes: parsers go as deep as the source does.
const STACK: usize = 128 << 20;

/// Whether a first argument asks for [`child_main`].
pub fn is_child(argument: &OsStr) -> bool {
    argument == CHILD_ARGUMENT
}

/// Compiles a component for this machine, or says why it cannot be.
pub type Compiler = fn(&[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

/// The child: what `main` runs, and nothing else, when [`is_child`] says so. It must be called before any
/// thread is started. `compiler` is what [`crate::Builder::compile`] runs in it.
pub fn child_main(compiler: Compiler) -> ExitCode {
    let outcome = task().and_then(|task| match task {
        Task::Build(job) => build(&job),
        Task::Compile(job) => compile(&job, compiler),
    });
    let (message, code) = match outcome {
        Ok(()) => (Message::Done, ExitCode::SUCCESS),
        Err(error) => (Message::Failed(error), ExitCode::FAILURE),
    };
    say(&message);
    code
}

fn say(message: &Message) {
    // Who does not listen any more has ended, and so will this process.
    if let Ok(mut line) = serde_json::to_vec(message) {
        line.push(b'\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

fn task() -> Result<Task, BuildError> {
    let mut line = String::new();
    io::BufReader::new(io::stdin().take(MAX_JOB))
        .read_line(&mut line)
        .map_err(|e| BuildError::io("cannot read the job", &e))?;
    serde_json::from_str(&line).map_err(|e| {
        BuildError::Other(format!(
            "`{CHILD_ARGUMENT}` is for the hub's own use: it needs a job on its standard input ({e})"
        ))
    })
}

fn enter(root: &Path, folder: &Path, limits: Limits, parent: u32) -> Result<(), BuildError> {
    let protections = confine::enter(root, folder, limits, parent)
        .map_err(|e| BuildError::io("cannot confine the build", &e))?;
    say(&Message::Confined(protections));
    Ok(())
}

fn compile(job: &Compile, compiler: Compiler) -> Result<(), BuildError> {
    let limits = Limits {
        memory: job.max_memory,
        file: job.max_code,
    };
    enter(&job.folder, &job.folder, limits, job.parent)?;
    let component =
        fs::read(job.folder.join(COMPONENT)).map_err(|e| BuildError::io("cannot read the component", &e))?;
    let code = compiler(&component).map_err(|error| {
        let error: &(dyn std::error::Error + 'static) = &*error;
        BuildError::Refused(error.into())
    })?;
    fs::write(job.folder.join(CODE), code).map_err(|e| BuildError::io("cannot write the code", &e))
}

fn build(job: &Job) -> Result<(), BuildError> {
    let limits = Limits {
        memory: job.max_memory,
        file: job.max_component,
    };
    enter(&job.root, &job.folder, limits, job.parent)?;
    say(&Message::Progress(Progress::Reading));
    let mut staged = on_a_deep_stack(|| match job.language {
        Language::JavaScript | Language::TypeScript => javascript::stage(job),
        Language::Python => python::stage(job),
    })?;
    staged.sort();
    staged.dedup();
    say(&Message::Inputs(staged));
    if job.scan {
        return Ok(());
    }
    confine::narrow(&job.folder);
    say(&Message::Progress(Progress::Building));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| BuildError::io("cannot start the build", &e))?;
    let component = runtime.block_on(async {
        match job.language {
            Language::JavaScript | Language::TypeScript => javascript::build(job).await,
            Language::Python => python::build(job).await,
        }
    })?;
    let component = link::together(&component).unwrap_or_else(|why| {
        tracing::debug!(%why, "the component's libraries are not linked into one module");
        component
    });
    if component.len() as u64 > job.max_component {
        return Err(BuildError::TooLarge {
            what: "the component".to_owned(),
            limit: job.max_component,
        });
    }
    fs::write(job.folder.join(COMPONENT), component)
        .map_err(|e| BuildError::io("cannot write the component", &e))
}

/// The thread has ended when this returns: there is a single one again.
fn on_a_deep_stack(
    stage: impl FnOnce() -> Result<Vec<Input>, BuildError> + Send,
) -> Result<Vec<Input>, BuildError> {
    thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, stage)
            .map_err(|e| BuildError::io("cannot start the build", &e))?
            .join()
            .unwrap_or_else(|_| Err(BuildError::Crashed("the parser failed".to_owned())))
    })
}

/// Most bytes of one input.
pub(crate) const MAX_INPUT: u64 = 32 << 20;

/// Reads a file of the project, at most [`MAX_INPUT`] bytes. A link is followed within `root`, and not out of it; a pipe
/// or a device is not read.
pub(crate) fn read_input(root: &Path, path: &Path) -> Result<Vec<u8>, BuildError> {
    let cannot = |e: &io::Error| BuildError::io(&format!("cannot read {}", path.display()), e);
    let refused = |why: &str| BuildError::Source {
        file: path.to_owned(),
        why: why.to_owned(),
    };
    let real = path.canonicalize().map_err(|e| cannot(&e))?;
    if !real.starts_with(root) {
        return Err(refused(
            "it leads out of the project's folder; copy the file there",
        ));
    }
    let file = fs::File::options()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(&real)
        .map_err(|e| cannot(&e))?;
    if !file.metadata().map_err(|e| cannot(&e))?.is_file() {
        return Err(refused("it is not a plain file"));
    }
    let mut content = Vec::new();
    file.take(MAX_INPUT + 1)
        .read_to_end(&mut content)
        .map_err(|e| cannot(&e))?;
    if content.len() as u64 > MAX_INPUT {
        return Err(BuildError::TooLarge {
            what: path.display().to_string(),
            limit: MAX_INPUT,
        });
    }
    Ok(content)
}
