//! Commands that print and end.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

use aih_tests::{Program, tools};

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for arguments in [
        &["key", "new", "somebody"][..],
        &["config", "schema"],
        &["config", "check", "nowhere.yaml"],
        &["--help"],
    ] {
        // The other end of standard output is gone before the command writes, as `| true` may leave it.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Program::command(&tools::binary("aih"));
        let command = command.args(arguments).stdin(Stdio::null()).stdout(writer);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "{arguments:?}");
        let expected = if arguments.contains(&"check") { 2 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn the_first_line_of_a_long_answer_can_be_taken_alone() {
    let mut command = Program::command(&tools::binary("aih"));
    let command = command.args(["config", "schema"]).stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "{\n");
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}
