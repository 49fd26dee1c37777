//! Projects in temporary folders, and builds of them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests, each of which uses a part of it"
)]

use std::{fs, path::PathBuf};

use aih_builder::{BuildError, BuildOptions, Protections, Source, World};
use tempfile::TempDir;

/// A project of files.
pub struct Project {
    pub folder: TempDir,
}

impl Project {
    /// The project with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn source(&self, name: &str) -> Source {
        Source::new(self.path(name), World::Plugin).unwrap()
    }

    /// Builds a file as a plugin.
    pub async fn build(&self, name: &str) -> Result<(Vec<u8>, Protections), BuildError> {
        aih_builder::build(&self.source(name), &options(), |_| ()).await
    }

    /// The error of a build that has to fail.
    pub async fn error(&self, name: &str) -> BuildError {
        match self.build(name).await {
            Ok((component, _)) => panic!("{name} became a component of {} bytes", component.len()),
            Err(error) => error,
        }
    }
}

/// Options with the child program of this crate.
pub fn options() -> BuildOptions {
    BuildOptions {
        program: env!("CARGO_BIN_EXE_aih-build-component").into(),
        ..BuildOptions::default()
    }
}

/// A JavaScript plugin in the shape of the contract, without the SDK.
pub const RAW_JS: &str = "export const tools = { listTools() { return []; }, async callTool(call) { return { content: [], structuredJson: undefined, isError: false, extras: [] }; } };\n";
/// The same in Python.
pub const RAW_PY: &str = "class Tools:\n    def list_tools(self):\n        return []\n\n    async def call_tool(self, call):\n        raise NotImplementedError\n";

/// How many dynamic libraries a component still consists of.
pub fn libraries(component: &[u8]) -> usize {
    let payloads = wasmparser::Parser::new(0)
        .parse_all(component)
        .map(Result::unwrap);
    let is_mark = |payload: &wasmparser::Payload<'_>| matches!(payload, wasmparser::Payload::CustomSection(custom) if custom.name() == "dylink.0");
    payloads.filter(is_mark).count()
}
