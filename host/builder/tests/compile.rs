//! The child that compiles components: what it may use, and what it may see. Its compiler is a stand-in.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use aih_builder::{BuildCache, BuildOptions, Builder, CompileError, MachineError};
use common::options;

async fn compile(component: &[u8], options: BuildOptions) -> Result<Vec<u8>, CompileError> {
    let folder = tempfile::tempdir().unwrap();
    let cache = BuildCache::new(folder.path().join("cache")).unwrap();
    Builder::new(cache, options).compile(component).await
}

async fn error_of(component: &[u8], options: BuildOptions) -> CompileError {
    match compile(component, options).await {
        Ok(code) => panic!("it became {} bytes of code", code.len()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn code_comes_back_and_a_refusal_says_why() {
    assert_eq!(compile(b"component", options()).await.unwrap(), b"COMPONENT");
    assert_eq!(error_of(b"bad", options()).await.to_string(), "it is bad");
}

#[tokio::test]
async fn a_component_that_takes_too_long_is_stopped() {
    let options = BuildOptions {
        time: Duration::from_secs(1),
        ..options()
    };
    let error = error_of(b"loop", options).await;
    assert!(matches!(error, CompileError::TimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_is_stopped() {
    let options = BuildOptions {
        memory: 256 << 20,
        ..options()
    };
    let error = error_of(b"memory", options).await;
    assert!(matches!(error, CompileError::OutOfMemory(_)), "{error}");
}

/// An error with its causes.
fn text(error: &(dyn std::error::Error + 'static)) -> String {
    MachineError::from(error).text
}

#[tokio::test]
async fn a_compiler_that_dies_takes_only_its_process_down() {
    let error = error_of(b"abort", options()).await;
    assert!(error.to_string().contains("SIGABRT"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_compiler_sees_no_files_but_its_own() {
    let error = text(&error_of(b"/etc/passwd", options()).await);
    assert!(error.contains("Permission denied"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_compiler_reaches_no_process_no_socket_and_no_other_folder() {
    let calls = {
        let project = common::Project::new(&[("plugin.js", common::RAW_JS)]);
        project.build("plugin.js").await.unwrap().1.calls
    };
    for attempt in ["write", "run", "tcp", "udp", "unix", "signal"] {
        // Files are kept by Landlock, the rest by seccomp.
        if attempt != "write" && !calls {
            eprintln!("skipped: {attempt}: no seccomp");
            continue;
        }
        let error = text(&error_of(attempt.as_bytes(), options()).await);
        let refused = ["Permission denied", "not permitted", "EPERM"];
        assert!(
            refused.iter().any(|word| error.contains(word)),
            "{attempt}: {error}"
        );
    }
    assert!(!std::path::Path::new("/tmp/written-by-a-build").exists());
    assert_eq!(compile(b"threads", options()).await.unwrap(), [6]);
}

#[tokio::test]
async fn a_build_that_fills_the_disk_is_stopped() {
    let scratch = tempfile::tempdir().unwrap();
    for (way, disk) in [("disk", 64 << 20), ("files", 1 << 30)] {
        let options = BuildOptions {
            disk,
            scratch: scratch.path().to_owned(),
            ..options()
        };
        let error = error_of(way.as_bytes(), options).await.to_string();
        assert!(error.contains("what the build wrote"), "{way}: {error}");
        assert!(
            std::fs::read_dir(scratch.path()).unwrap().next().is_none(),
            "{way}"
        );
    }
}
