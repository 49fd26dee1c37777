//! Python.
//!
//! The engine imports modules from folders while it is snapshotted. Those folders are copies, made here, of
//! what the source can reach: the modules beside it and the packages that were installed for it.

mod immortal;
mod packages;
mod stage;

use std::collections::HashMap;

use componentize_py::ComponentGenerator;
use serde::Deserialize;

use crate::{
    BuildError, SourcePosition, embedded,
    job::{Input, Job},
};

/// Where the copies lie in the build folder.
const STAGE: &str = "py";
/// The folders of the stage, in the order in which modules are looked for in them.
const FOLDERS: [&str; 4] = ["entry", "sdk", "source", "packages"];
/// Where the source's own folder is in that order: the engine calls them `/0`, `/1`, ….
const SOURCE: usize = 2;
/// The same for what was installed.
const PACKAGES: usize = 3;
/// The module that the engine starts with.
const ENTRY: &str = "aih_entry";
/// What our own Python writes about a failure, in the entry's folder.
const REPORT: &str = "failure.json";
/// Most bytes of that.
const MAX_REPORT: u64 = 64 << 10;
/// Where it writes which objects are there, in the same folder.
const OBJECTS: &str = "objects";
/// Most bytes of that: those of two million objects, where `immortal.py` stops.
const MAX_OBJECTS: u64 = 16 << 20;

/// Copies what the source can reach into the build folder.
pub(crate) fn stage(job: &Job) -> Result<Vec<Input>, BuildError> {
    let reachable = stage::reach(job)?;
    if !job.scan {
        let stage = job.folder.join(STAGE);
        let write = || {
            for folder in FOLDERS {
                std::fs::create_dir_all(stage.join(folder))?;
            }
            embedded::unpack(embedded::PYTHON_SDK, &stage.join("sdk/aih_plugin"))?;
            embedded::unpack(embedded::WIT, &job.folder.join("wit"))?;
            let entry = stage.join("entry");
            let user = include_str!("user.py").replace("\"@FILE@\"", &python_string(&reachable.entry));
            std::fs::write(entry.join("_aih_user.py"), user)?;
            std::fs::write(entry.join("_aih_immortal.py"), include_str!("immortal.py"))?;
            std::fs::write(entry.join("_aih_dense.py"), include_str!("dense.py"))?;
            let world = if reachable.uses_sdk { job.world.name() } else { "" };
            let start = include_str!("entry.py").replace("\"@WORLD@\"", &python_string(world));
            std::fs::write(entry.join(format!("{ENTRY}.py")), start)?;
            for (path, content) in &reachable.files {
                let path = stage.join(path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(path, content)?;
            }
            let native = serde_json::to_vec(&reachable.native)?;
            std::fs::write(stage.join("native.json"), native)
        };
        write().map_err(|e| BuildError::io("cannot write into the build folder", &e))?;
    }
    Ok(reachable.inputs)
}

/// A text as a Python string literal.
fn python_string(text: &str) -> String {
    // Python reads JSON's escapes as JSON does.
    serde_json::Value::from(text).to_string()
}

/// Makes the component of what [`stage`] has left.
pub(crate) async fn build(job: &Job) -> Result<Vec<u8>, BuildError> {
    let stage = job.folder.join(STAGE);
    let wit = job.folder.join("wit");
    let output = job.folder.join("made.wasm");
    let folders: Vec<String> = FOLDERS
        .iter()
        .map(|folder| stage.join(folder).to_string_lossy().into_owned())
        .collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let none = HashMap::new();
    let made = ComponentGenerator {
        wit_paths: &[&wit],
        worlds: &[job.world.name()],
        features: &[],
        all_features: false,
        world_module: None,
        python_path: &folders,
        module_worlds: &[],
        app_name: ENTRY,
        output_path: &output,
        add_to_linker: None,
        stub_wasi: false,
        import_interface_names: &none,
        export_interface_names: &none,
        full_names: false,
        intersect_world: None,
    }
    .generate()
    .await;
    match made {
        Ok(()) => {
            let read = std::fs::read(&output);
            let mut component = read.map_err(|e| BuildError::io("cannot read the component", &e))?;
            // Without the list, or where it is of no use, calls are slower and no more.
            if let Ok(list) = crate::cache::read_made(&stage.join("entry").join(OBJECTS), MAX_OBJECTS) {
                let immortal = immortal::immortalize(&mut component, &list);
                tracing::debug!(?immortal, "objects of the snapshot");
            }
            Ok(component)
        }
        Err(error) => Err(failure(job, &error)),
    }
}

/// What `user.py` says of a failure. Under the control of the source: text, and nothing more.
#[derive(Debug, Deserialize)]
struct Report {
    kind: String,
    message: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    column: Option<u32>,
    /// What could not be imported.
    #[serde(default)]
    name: Option<String>,
    /// Whether that is part of Python elsewhere.
    #[serde(default)]
    standard: bool,
}

fn failure(job: &Job, error: &anyhow::Error) -> BuildError {
    let stage = job.folder.join(STAGE);
    let report = crate::cache::read_made(&stage.join("entry").join(REPORT), MAX_REPORT)
        .ok()
        .and_then(|text| serde_json::from_slice::<Report>(&text).ok());
    let own = job
        .file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let Some(report) = report else {
        let text = format!("{error:#}");
        if text.contains("MemoryError") {
            return BuildError::OutOfMemory(job.max_memory);
        }
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        return BuildError::TopLevel {
            position: SourcePosition {
                file: own,
                line: 0,
                column: 0,
            },
            message: line
                .unwrap_or("it failed without a message")
                .chars()
                .take(500)
                .collect(),
        };
    };
    let position = SourcePosition {
        file: report.file.as_deref().map_or(own, shown),
        line: report.line.unwrap_or(0),
        column: report.column.unwrap_or(0),
    };
    let message: String = report.message.chars().take(500).collect();
    match (report.kind.as_str(), report.name) {
        ("MemoryError", _) => BuildError::OutOfMemory(job.max_memory),
        ("SyntaxError" | "IndentationError" | "TabError", _) => BuildError::Syntax { position, message },
        ("ModuleNotFoundError" | "ImportError", Some(name)) => missing(
            job,
            position,
            &name.chars().take(200).collect::<String>(),
            report.standard,
        )
        .unwrap_or_else(|position| BuildError::TopLevel {
            position,
            message: format!("{}: {message}", report.kind),
        }),
        (kind, _) => BuildError::TopLevel {
            position,
            message: format!("{kind}: {message}"),
        },
    }
}

/// A failed import, or its place when the module itself is there and something of it is not.
fn missing(
    job: &Job,
    position: SourcePosition,
    name: &str,
    standard: bool,
) -> Result<BuildError, SourcePosition> {
    let top = name.split('.').next().unwrap_or(name).to_owned();
    let native: HashMap<String, String> = std::fs::read(job.folder.join(STAGE).join("native.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    if let Some(file) = native.get(&top) {
        return Ok(BuildError::Unsupported {
            position,
            name: top,
            hint: format!(
                "it has native code ({file}), which cannot run; look for a package in plain Python"
            ),
        });
    }
    if standard {
        return Ok(BuildError::Unsupported {
            position,
            name: name.to_owned(),
            hint: "this part of Python's library needs an operating system; use the SDK in its place"
                .to_owned(),
        });
    }
    let staged = job.folder.join(STAGE);
    let is_there = FOLDERS.iter().any(|folder| {
        let path = staged.join(folder).join(&top);
        path.is_dir() || path.with_extension("py").is_file()
    });
    if is_there && !name.contains('.') {
        return Err(position);
    }
    Ok(BuildError::MissingImport {
        position,
        hint: format!(
            "run `pip install {top} --target site-packages` in the plugin's folder (or put its wheel into `wheels`), and build again"
        ),
        name: name.to_owned(),
    })
}

/// A file of the engine's view, as the author knows it.
fn shown(file: &str) -> String {
    let inside = [SOURCE, PACKAGES]
        .into_iter()
        .find_map(|folder| file.strip_prefix(&format!("/{folder}/")));
    inside.unwrap_or(file).chars().take(300).collect()
}
