//! `aih plugin`: for authors, and for operators who look before they grant.

pub mod build;
pub mod inspect;
pub mod new;
pub mod run;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::Subcommand;

use crate::{components::ComponentLoader, config, plugins::manifest::Manifest, secrets::Secrets};

/// The subcommands of `aih plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a component exports, its tools, and the grants that it asks for.
    Inspect(inspect::Inspect),
    /// Call one tool without a hub.
    Run(run::Run),
    /// Make a WebAssembly component of a JavaScript, TypeScript or Python source.
    Build(build::Build),
    /// Make a folder with a plugin to start from.
    New(new::New),
}

/// Runs the command.
///
/// # Errors
/// As the command says.
pub fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        match command {
            PluginCommand::Inspect(command) => command.run().await,
            PluginCommand::Run(command) => command.run().await,
            PluginCommand::Build(command) => command.run().await,
            PluginCommand::New(command) => command.run(),
        }
    })
}

/// The tools of this command: what is built and compiled is kept in the user's cache folder.
pub(super) fn component_loader() -> anyhow::Result<ComponentLoader> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("aih");
    // One command calls little at once.
    ComponentLoader::new(&base, Some(8))
}

/// The language of a file by its extension.
fn language(file: &Path) -> anyhow::Result<config::Runtime> {
    if file.extension().is_some_and(|extension| extension == "wasm") {
        return Ok(config::Runtime::Wasm);
    }
    Ok(match aih_builder::Language::of(file) {
        Some(aih_builder::Language::Python) => config::Runtime::Python,
        Some(_) => config::Runtime::Node,
        None if file.is_dir() => config::Runtime::Node,
        None => anyhow::bail!("{}: give a .wasm, .js, .ts or .py file", file.display()),
    })
}

/// What a manifest asks for, granted or not: read as the entry that the operator would write.
///
/// # Errors
/// The manifest asks for what no entry can say, or a grant cannot be given.
fn entry(file: &Path, manifest: &Manifest, grant: bool) -> anyhow::Result<config::Plugin> {
    let name = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("plugin");
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let file = file
        .canonicalize()
        .with_context(|| format!("{} cannot be found", file.display()))?;
    let mut entry = serde_json::json!({
        "name": name, "file": file, "runtime": "wasm", "config": manifest.config,
    });
    if let (true, Some(object)) = (grant, entry.as_object_mut()) {
        object.insert("grants".to_owned(), manifest.grants.clone().into());
        object.insert("limits".to_owned(), manifest.limits.clone().into());
    }
    // JSON is YAML.
    let text = serde_json::json!({ "version": "1.0", "name": "aih", "plugins": [entry] }).to_string();
    let (secrets, _) = Secrets::from_environment(file.parent().unwrap_or(Path::new(".")));
    let loaded = config::Config::from_text(&text, &file.with_extension("aih.yaml"), secrets)?;
    let plugin = loaded.config.plugins.into_iter().next();
    plugin.context("the manifest names no plugin")
}
