//! Sources that mean harm while they are built.

#![expect(clippy::panic, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use aih_builder::{BuildError, BuildOptions};
use common::{Project, RAW_JS, RAW_PY, options};

async fn error_of(name: &str, text: &str, options: &BuildOptions) -> BuildError {
    let project = Project::new(&[(name, text)]);
    match aih_builder::build(&project.source(name), options, |_| ()).await {
        Ok((component, _)) => panic!("{text:?} became a component of {} bytes", component.len()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_endless_loop_is_stopped() {
    let options = BuildOptions {
        time: Duration::from_secs(5),
        ..options()
    };
    let error = error_of("plugin.js", &format!("for (;;) {{}}\n{RAW_JS}"), &options).await;
    assert!(matches!(error, BuildError::TimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_memory_bomb_is_stopped() {
    let options = BuildOptions {
        memory: 512 << 20,
        ..options()
    };
    let js = format!("const all = []; for (;;) all.push(new Uint8Array(1 << 24).fill(1));\n{RAW_JS}");
    let error = error_of("plugin.js", &js, &options).await;
    assert!(matches!(error, BuildError::OutOfMemory(_)), "{error}");
}

#[tokio::test]
async fn a_source_that_is_nested_too_deeply_takes_only_its_build_down() {
    let text = format!("{}1{}\n{RAW_JS}", "[".repeat(2_000_000), "]".repeat(2_000_000));
    let error = error_of("plugin.js", &text, &options()).await;
    assert!(
        matches!(
            error,
            BuildError::Crashed(_)
                | BuildError::Syntax { .. }
                | BuildError::TopLevel { .. }
                | BuildError::OutOfMemory(_)
        ),
        "{error}"
    );
}

#[tokio::test]
async fn python_sees_neither_files_nor_a_network() {
    let text = format!(
        "import os\n\
         for path in ('/etc/passwd', '/proc/self/environ', '../../../etc/passwd', '/2/../../../../etc/passwd'):\n    \
             try:\n        open(path).read()\n    except OSError:\n        continue\n    \
             raise SystemExit('read ' + path)\n\
         assert not [name for name in os.environ if name not in ('PYTHONPATH', 'PYTHONHOME', 'PYTHONUNBUFFERED')], dict(os.environ)\n\
         import socket\n\
         try:\n    socket.create_connection(('127.0.0.1', 22), 1)\nexcept (OSError, AttributeError, NotImplementedError):\n    pass\nelse:\n    raise SystemExit('connected')\n\
         {RAW_PY}"
    );
    let project = Project::new(&[("plugin.py", &text)]);
    project.build("plugin.py").await.unwrap();
}

#[tokio::test]
async fn a_build_that_is_given_up_ends() {
    let project = Project::new(&[("plugin.js", &format!("for (;;) {{}}\n{RAW_JS}"))]);
    let scratch = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        scratch: scratch.path().to_owned(),
        ..options()
    };
    let source = project.source("plugin.js");
    let build = aih_builder::build(&source, &options, |_| ());
    assert!(tokio::time::timeout(Duration::from_secs(1), build).await.is_err());
    // The folder goes when the child has ended and the build's thread with it.
    let gone = || std::fs::read_dir(scratch.path()).unwrap().next().is_none();
    let mut left = 1000;
    while !gone() && left > 0 {
        left -= 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gone());
}
