//! What the hub itself holds: skills, configs, and the entries of plugins and hooks in the configuration.
//!
//! It is made once per configuration and does not change. A reload makes a new one. It holds no secret, and of the
//! operator's files only those that clients may get.

use std::path::Path;

use crate::catalogue::{
    configs::{ConfigSet, ConfigSource},
    skills::{SkillSet, SkillSource},
};
use crate::config::{Config, EntryState, LoadedConfig, Runtime};

/// Everything that the hub serves by itself.
#[derive(Clone, Debug, Default)]
pub struct BuiltinContent {
    /// `name` of the configuration: what the hub calls itself.
    pub name: String,
    /// The skills.
    pub skills: SkillSet,
    /// The configs.
    pub configs: ConfigSet,
    /// The hooks, in the order of the file.
    pub hooks: Vec<HookInfo>,
    /// The plugins, in the order of the file.
    pub plugins: Vec<PluginInfo>,
    /// Warnings about the configuration and the files of skills and configs, for keys that may read logs.
    pub warnings: Vec<String>,
}

/// One entry of `hooks`.
#[derive(Clone, Debug)]
pub struct HookInfo {
    /// Its name.
    pub name: String,
    /// The event that it runs on.
    pub trigger: String,
    /// Its file, relative to the configuration's folder where it lies below that.
    pub action: String,
    /// Why it does not serve, if it does not.
    pub disabled: Option<String>,
}

/// One entry of `plugins`.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its file, relative to the configuration's folder where it lies below that.
    pub file: String,
    /// The language of its source: `node`, `python` or `wasm`.
    pub runtime: &'static str,
    /// Why it does not serve, if it does not.
    pub disabled: Option<String>,
}

impl BuiltinContent {
    /// Reads the files that the configuration names. Blocks on file access; from async code use
    /// `spawn_blocking`. What cannot be read is listed with its error.
    pub fn load(loaded: &LoadedConfig) -> Self {
        let config = &loaded.config;
        let base = &loaded.base_dir;
        let relative = |path: &Path| shown(base, path);
        let skills = config.skills.iter().map(|skill| SkillSource {
            name: skill.name.clone(),
            description: skill.description.clone(),
            file: relative(&skill.file),
            tags: skill.tags.clone(),
            base_dir: base.clone(),
        });
        let configs = config.configs.iter().map(|entry| ConfigSource {
            key: entry.name.clone(),
            file: relative(&entry.file),
            base_dir: base.clone(),
        });
        let (skills, configs) = (SkillSet::load(skills), ConfigSet::load(configs));
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(of_files(config, &skills, &configs));
        Self {
            name: config.name.clone(),
            skills,
            configs,
            hooks: config
                .hooks
                .iter()
                .map(|hook| HookInfo {
                    name: hook.name.clone(),
                    trigger: hook.trigger.clone(),
                    action: relative(&hook.action),
                    disabled: reason(base, &hook.state),
                })
                .collect(),
            plugins: config
                .plugins
                .iter()
                .map(|plugin| PluginInfo {
                    name: plugin.name.clone(),
                    description: plugin.description.clone(),
                    file: relative(&plugin.file),
                    runtime: match plugin.runtime {
                        Runtime::Node => "node",
                        Runtime::Python => "python",
                        Runtime::Wasm => "wasm",
                    },
                    disabled: reason(base, &plugin.state),
                })
                .collect(),
            warnings,
        }
    }
}

/// What is wrong with the files of skills and configs. Of a file that is not there the configuration has warned.
fn of_files(config: &Config, skills: &SkillSet, configs: &ConfigSet) -> Vec<String> {
    let mut warnings = Vec::new();
    for skill in config.skills.iter().filter(|skill| skill.state.is_enabled()) {
        match skills.entry(&skill.name).map(|entry| &entry.outcome) {
            Some(Err(error)) => warnings.push(format!("skill `{}` is not served: {error}", skill.name)),
            Some(Ok(read)) => {
                let all = read.warnings.iter();
                warnings.extend(all.map(|warning| format!("skill `{}`: {warning}", skill.name)));
            }
            None => {}
        }
    }
    for entry in config.configs.iter().filter(|entry| entry.state.is_enabled()) {
        if let Some(Err(error)) = configs.entry(&entry.name).map(|entry| &entry.outcome) {
            warnings.push(format!("config `{}` is not served: {error}", entry.name));
        }
    }
    warnings
}

/// Why an entry does not serve, for everyone who may see it: where the hub's folder lies is not their affair.
fn reason(base: &Path, state: &EntryState) -> Option<String> {
    let folder = format!("{}/", base.display());
    state
        .reason()
        .map(|reason| reason.to_string().replace(&folder, ""))
}

/// `path` as people write it: relative to `base` where it lies below.
fn shown(base: &Path, path: &Path) -> String {
    path.strip_prefix(base).unwrap_or(path).display().to_string()
}
