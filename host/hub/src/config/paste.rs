//! Servers in the words of an AI client, pasted into `aih-config.yaml`: shows the same in the words of this file.
//!
//! JSON is YAML, so what a README prints for a client can be pasted here as it is, and the names of its keys are others.
//! Such texts often hold tokens, and a message must hold none. So values of variables and headers are never shown, and
//! of arguments only those that look like no secret.

use std::fmt::Write as _;

use super::node::Node;

/// The keys under which AI clients keep their servers: Claude and many others, Codex, VS Code, Zed, opencode.
const KEYS: [&str; 5] = ["mcpServers", "mcp_servers", "servers", "context_servers", "mcp"];
/// Most servers of one message.
const MAX_SERVERS: usize = 20;

/// The YAML to write in place of the unknown key `key` with this value; `None` where it holds no servers of a client.
pub(crate) fn instead(key: &str, value: &Node) -> Option<String> {
    if !KEYS.contains(&key) {
        return None;
    }
    let (mut local, mut external) = (String::new(), String::new());
    for (name, server) in value.entries().iter().take(MAX_SERVERS) {
        if let Some(url) = ["url", "httpUrl", "serverUrl"]
            .iter()
            .find_map(|key| server.get(key)?.text())
        {
            let _ = write!(
                external,
                "\n    - name: {}\n      url: {}",
                scalar(&name.text),
                address(url)
            );
            variables(&mut external, "headers", server.get("headers"));
        } else if let Some(command) = server.get("command") {
            let line = command_line(command, server.get("args"));
            let Some((program, args)) = line.split_first() else {
                continue;
            };
            let _ = write!(
                local,
                "\n    - name: {}\n      command: {program}",
                scalar(&name.text)
            );
            if !args.is_empty() {
                let _ = write!(local, "\n      args: [{}]", args.join(", "));
            }
            variables(
                &mut local,
                "env",
                server.get("env").or_else(|| server.get("environment")),
            );
        }
    }
    if local.is_empty() && external.is_empty() {
        return None;
    }
    let mut yaml = "write these servers so, with the values of variables in `.env`:\nmcps:".to_owned();
    for (list, servers) in [("local", local), ("external", external)] {
        if !servers.is_empty() {
            let _ = write!(yaml, "\n  {list}:{servers}");
        }
    }
    Some(yaml)
}

/// The program and its arguments: a text and a list, or one list of both.
fn command_line(command: &Node, args: Option<&Node>) -> Vec<String> {
    let command = command
        .text()
        .into_iter()
        .chain(command.items().iter().filter_map(Node::text));
    let words: Vec<&str> = command
        .chain(
            args.map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text),
        )
        .collect();
    let mut before = "";
    let mut shown = Vec::new();
    for word in words {
        shown.push(
            match before.starts_with('-') && !before.contains('=') && aih_redact::names_secret(before) {
                true => HIDDEN.to_owned(),
                false => argument(word),
            },
        );
        before = word;
    }
    shown
}

/// What stands for a text that may be a secret.
const HIDDEN: &str = "\"${VARIABLE}\"";

/// An argument for a list in YAML, or a variable in place of one that may be a secret.
pub(crate) fn argument(word: &str) -> String {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let secret = aih_redact::is_written_secret(
        if value.is_empty() { "" } else { name },
        if value.is_empty() { name } else { value },
    );
    match secret || word.chars().count() > 200 {
        true => HIDDEN.to_owned(),
        false => scalar(word),
    }
}

/// An address without what may be secret in it.
fn address(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (shown, _) = url.split_at(end);
    match shown.contains('@')
        || aih_redact::is_written_secret("", shown.rsplit_once("://").map_or(shown, |(_, rest)| rest))
    {
        true => HIDDEN.to_owned(),
        false => scalar(shown),
    }
}

/// A map of names to variables of the same names.
fn variables(out: &mut String, key: &str, map: Option<&Node>) {
    let names: Vec<String> = map
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|(name, _)| {
            let variable: String = name
                .text
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() {
                        c.to_ascii_uppercase()
                    } else {
                        '_'
                    }
                })
                .collect();
            format!("{}: \"${{{variable}}}\"", scalar(&name.text))
        })
        .collect();
    if !names.is_empty() {
        let _ = write!(out, "\n      {key}: {{ {} }}", names.join(", "));
    }
}

/// A text as YAML has it, in quotes where they are needed.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | ':');
    let safe = text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !text.ends_with(':')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_lowercase().as_str());
    match safe {
        true => text.to_owned(),
        // Text in JSON is text in YAML.
        false => serde_json::Value::from(text.replace('$', "$$")).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node;

    fn shown(text: &str) -> Option<String> {
        let root = node::parse(text, &mut Vec::new()).unwrap();
        let (key, value) = &root.entries()[0];
        instead(&key.text, value)
    }

    #[test]
    fn servers_of_clients_are_shown_as_this_file_has_them() {
        let yaml = shown(
            r#"{"mcpServers": {
                "github": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-github"],
                           "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_hunter2hunter2"}},
                "linear": {"type": "http", "url": "https://mcp.linear.app/mcp?key=hunter2", "headers": {"X-Api-Key": "hunter2"}},
                "odd": {"command": "x", "args": ["--token", "hunter2", "--key=hunter2", "a b$c"]},
                "empty": {}}}"#,
        )
        .unwrap();
        assert_eq!(
            yaml,
            r#"write these servers so, with the values of variables in `.env`:
mcps:
  local:
    - name: github
      command: npx
      args: ["-y", "@modelcontextprotocol/server-github"]
      env: { GITHUB_PERSONAL_ACCESS_TOKEN: "${GITHUB_PERSONAL_ACCESS_TOKEN}" }
    - name: odd
      command: x
      args: ["--token", "${VARIABLE}", "${VARIABLE}", "a b$$c"]
  external:
    - name: linear
      url: https://mcp.linear.app/mcp
      headers: { X-Api-Key: "${X_API_KEY}" }"#
        );
        // Other clients: one list for program and arguments, other names.
        let yaml = shown(
            r#"{"mcp": {"a": {"type": "local", "command": ["bun", "x", "y"], "environment": {"A": "1"}}}}"#,
        );
        assert!(
            yaml.unwrap()
                .contains("command: bun\n      args: [x, \"y\"]\n      env: { A: \"${A}\" }")
        );
        let yaml = shown(r#"{"mcp_servers": {"a": {"serverUrl": "https://user:hunter2@h/mcp"}}}"#).unwrap();
        assert!(yaml.contains("url: \"${VARIABLE}\""), "{yaml}");
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let yaml =
            shown(r##"{"servers": {"true": {"command": "x", "args": ["", "-", "a: b", "#", "ä\n", "1"]}}}"##)
                .unwrap();
        let (_, yaml) = yaml.split_once('\n').unwrap();
        let node = node::parse(yaml, &mut Vec::new()).unwrap();
        let server = &node.get("mcps").unwrap().get("local").unwrap().items()[0];
        assert_eq!(server.get("name").unwrap().text(), Some("true"));
        let args: Vec<_> = server
            .get("args")
            .unwrap()
            .items()
            .iter()
            .map(|item| item.text())
            .collect();
        assert_eq!(
            args,
            [
                Some(""),
                Some("-"),
                Some("a: b"),
                Some("#"),
                Some("ä\n"),
                Some("1")
            ]
        );
    }

    #[test]
    fn other_keys_are_not_servers() {
        for text in [
            "servers: 3",
            "servers: {}",
            "servers: {a: {b: c}}",
            "other: {a: {command: x}}",
            "mcp: [x]",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
