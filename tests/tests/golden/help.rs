//! `--help` of every command.

use std::{fmt::Write as _, process::Stdio};

use aih_tests::{Program, tools};

/// The help of a command, the same on every machine.
fn help(path: &[String]) -> String {
    let mut command = Program::command(&tools::binary("aih"));
    let command = command
        .args(path)
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{path:?}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Further lines of a description stand deeper.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = names.filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn walk(path: &[String], out: &mut String) {
    let text = help(path);
    let name: String = path.iter().map(|part| format!(" {part}")).collect();
    write!(out, "$ aih{name} --help\n{text}\n").unwrap();
    for command in commands(&text) {
        walk(&[path, &[command]].concat(), out);
    }
}

#[test]
fn the_help_of_every_command_is_the_committed_one() {
    let mut out = String::new();
    walk(&[], &mut out);
    // A change of what help looks like must not make this test look at nothing.
    for known in [
        "$ aih serve",
        "$ aih config check",
        "$ aih plugin new",
        "$ aih hook dead",
    ] {
        assert!(out.contains(&format!("{known} --help\n")), "{known}:\n{out}");
    }
    super::compare("help.txt", &out);
}
