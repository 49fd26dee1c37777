//! JavaScript and TypeScript.
//!
//! The engine loads ECMAScript modules by itself while it is snapshotted, so nothing is bundled into one file:
//! every module that the source reaches is copied into the build folder under its own name, with its imports
//! pointing at the copies. Types are stripped, CommonJS modules become functions that are called on demand,
//! JSON becomes a module. Lines stay where they are in what was JavaScript, so that a stack trace is right.
//!
//! A bundler would do the same and more, at the price of two dozen crates whose interface is not stable.

mod commonjs;
mod emit;
mod graph;
mod parse;
mod resolve;

use componentize_qjs::{ComponentizeOpts, Runtime, componentize};

use crate::{
    BuildError, SourcePosition, World, embedded,
    job::{Input, Job},
};

/// Stand-ins for modules of Node that packages for every platform commonly use.
pub(crate) static SHIMS: &[(&str, &str)] = &[
    ("cjs.js", include_str!("shims/cjs.js")),
    ("globals.js", include_str!("shims/globals.js")),
    ("assert.js", include_str!("shims/assert.js")),
    ("buffer.js", include_str!("shims/buffer.js")),
    ("events.js", include_str!("shims/events.js")),
    ("path.js", include_str!("shims/path.js")),
    ("process.js", include_str!("shims/process.js")),
    ("querystring.js", include_str!("shims/querystring.js")),
    ("timers.js", include_str!("shims/timers.js")),
    ("url.js", include_str!("shims/url.js")),
    ("util.js", include_str!("shims/util.js")),
];

/// Where the copies lie in the build folder.
const STAGE: &str = "js";
/// In the stage: what is not the author's.
const OURS: &str = ".aih";
/// In the stage: the module that the engine starts with.
const ENTRY: &str = ".aih/entry.js";

/// Copies what the source reaches into the build folder.
pub(crate) fn stage(job: &Job) -> Result<Vec<Input>, BuildError> {
    let mut graph = graph::Graph::new(&job.root, &job.file)?;
    graph.walk()?;
    if !job.scan {
        let stage = job.folder.join(STAGE);
        let write = || {
            let ours = stage.join(OURS);
            embedded::unpack(embedded::JAVASCRIPT_SDK, &ours.join("sdk"))?;
            embedded::unpack(SHIMS, &ours.join("node"))?;
            let wit = job.folder.join("wit");
            embedded::unpack(embedded::WIT, &wit)?;
            std::fs::write(wit.join("javascript.wit"), WORLDS)
        };
        write().map_err(|e| BuildError::io("cannot write into the build folder", &e))?;
        emit::emit(&graph, &stage, job.world)?;
    }
    Ok(graph.inputs())
}

/// Makes the component of what [`stage`] has left.
pub(crate) async fn build(job: &Job) -> Result<Vec<u8>, BuildError> {
    let stage = job.folder.join(STAGE);
    let entry = stage.join(ENTRY);
    let source =
        std::fs::read_to_string(&entry).map_err(|e| BuildError::io("cannot read the build folder", &e))?;
    let wit = job.folder.join("wit");
    componentize(&ComponentizeOpts {
        wit_path: &wit,
        js_source: &source,
        js_path: Some(&entry),
        module_root: Some(&stage),
        world_name: Some(world(job.world)),
        stub_wasi: false,
        disable_gc: false,
        runtime: Runtime::Default,
    })
    .await
    .map_err(|error| failure(job, &error))
}

/// The worlds of the contract as the engine needs them.
const WORLDS: &str = include_str!("worlds.wit");

/// The name of the world in [`WORLDS`].
fn world(world: World) -> &'static str {
    match world {
        World::Plugin => "javascript-plugin",
        World::Hook => "javascript-hook",
    }
}

/// The name of the world's export in a module.
fn export(world: World) -> &'static str {
    match world {
        World::Plugin => "tools",
        World::Hook => "hooks",
    }
}

/// What the engine says when the top level failed: a message, and perhaps a stack with places in the stage.
fn failure(job: &Job, error: &anyhow::Error) -> BuildError {
    let text = format!("{error:#}");
    let position = text
        .lines()
        .filter_map(position_in)
        .find(|position| !position.file.starts_with(OURS))
        .unwrap_or_else(|| SourcePosition {
            file: entry_name(job),
            line: 0,
            column: 0,
        });
    let message = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("at "))
        .unwrap_or("it failed without a message");
    // The error comes with its causes in front.
    let message = message
        .rsplit_once("initialization failed: ")
        .map_or(message, |(_, last)| last);
    let message = without_causes(message);
    if text.contains("out of memory") {
        return BuildError::OutOfMemory(job.max_memory);
    }
    // A module that was required and cannot be had: see `emit::why_not`.
    let required = message.strip_prefix("Error: ").and_then(|said| {
        let (file, rest) = said.split_once(": `")?;
        let (name, hint) = rest.split_once("` cannot be used in a sandbox: ")?;
        Some(BuildError::Unsupported {
            position: SourcePosition {
                file: file.to_owned(),
                line: 0,
                column: 0,
            },
            name: name.to_owned(),
            hint: hint.chars().take(500).collect(),
        })
    });
    if let Some(required) = required {
        return required;
    }
    if let Some(message) = message.strip_prefix("SyntaxError: ") {
        return BuildError::Syntax {
            position,
            message: message.chars().take(500).collect(),
        };
    }
    BuildError::TopLevel {
        position,
        message: message.chars().take(500).collect(),
    }
}

/// What was thrown, without what the engine puts in front of it.
fn without_causes(message: &str) -> &str {
    let mut message = message;
    loop {
        let rest = message.trim_start_matches([':', ' ']);
        let cut = ENGINE_SAYS.iter().find_map(|said| rest.strip_prefix(said));
        match cut {
            Some(cut) => message = cut,
            None => return rest,
        }
    }
}

/// What the engine puts in front of what was thrown.
const ENGINE_SAYS: [&str; 5] = [
    "JS initialization failed",
    "Failed to evaluate user JavaScript module",
    "Failed to evaluate JavaScript module",
    "Failed to evaluate generated shim module",
    "Failed to finish JavaScript module evaluation",
];

/// The place in a line such as `    at f (/plugin.js:3:7)`.
fn position_in(line: &str) -> Option<SourcePosition> {
    let inner = line.trim().strip_prefix("at ")?;
    let inner = inner
        .rsplit_once('(')
        .map_or(inner, |(_, rest)| rest.trim_end_matches(')'));
    let mut parts = inner.rsplitn(3, ':');
    let (last, middle, file) = (parts.next()?, parts.next()?, parts.next());
    let (file, line, column) = match file {
        Some(file) => (file, middle.parse().ok()?, last.parse().ok()?),
        None => (middle, last.parse().ok()?, 0),
    };
    let file = file.strip_prefix('/')?;
    Some(SourcePosition {
        file: file.to_owned(),
        line,
        column,
    })
}

fn entry_name(job: &Job) -> String {
    job.file
        .strip_prefix(&job.root)
        .unwrap_or(&job.file)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_thrown_stands_alone() {
        for said in [
            "SyntaxError: a: b",
            ": Failed to evaluate user JavaScript module: Failed to finish JavaScript module evaluation: SyntaxError: a: b",
        ] {
            assert_eq!(without_causes(said), "SyntaxError: a: b");
        }
        assert_eq!(
            without_causes("Error: it failed: badly"),
            "Error: it failed: badly"
        );
    }

    #[test]
    fn a_place_is_read_from_a_stack() {
        let position = position_in("    at f (/lib/a.js:3:7)").unwrap();
        assert_eq!(position.to_string(), "lib/a.js:3:7");
        assert_eq!(position_in("    at /a.js:12").unwrap().to_string(), "a.js:12");
        assert!(position_in("TypeError: not a function").is_none());
        assert!(position_in("    at <eval> (native)").is_none());
    }
}
