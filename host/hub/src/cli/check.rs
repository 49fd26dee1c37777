//! `aih config check [FILE]`.

use std::{path::PathBuf, process::ExitCode};

use super::{DEFAULT_CONFIG, report};
use crate::{config::Config, registry::BuiltinContent};

/// See the module.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The file to check.
    #[arg(default_value = DEFAULT_CONFIG, value_name = "FILE")]
    file: PathBuf,
}

impl Check {
    /// Prints every problem and warning. 0: the file can be run; 2: it has problems, or grants that cannot be given.
    pub fn run(&self) -> ExitCode {
        match Config::load(&self.file) {
            Ok(loaded) => {
                // Skills and configs are read as a start reads them.
                let warnings = BuiltinContent::load(&loaded).warnings;
                for warning in &warnings {
                    report::entry(&format!("warning: {warning}"));
                }
                for problem in &loaded.refused {
                    report::entry(&format!("error: {problem}"));
                }
                if !loaded.refused.is_empty() {
                    return self.problems(loaded.refused.len());
                }
                let warnings = match warnings.len() {
                    0 => String::new(),
                    1 => ", 1 warning".to_owned(),
                    n => format!(", {n} warnings"),
                };
                report::line(&format!("{}: ok{warnings}", self.file.display()));
                ExitCode::SUCCESS
            }
            Err(problems) => {
                for problem in &problems.0 {
                    report::entry(&format!("error: {problem}"));
                }
                self.problems(problems.0.len())
            }
        }
    }

    fn problems(&self, count: usize) -> ExitCode {
        let noun = if count == 1 { "problem" } else { "problems" };
        report::line(&format!("{}: {count} {noun}", self.file.display()));
        ExitCode::from(2)
    }
}
