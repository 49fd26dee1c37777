//! `mcps`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aih_redact as redact;
use http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::Reader;
use crate::config::{
    cursor::At,
    forms::{ANY_VALUE, HTTP_URL, VALUE, header_name, http_url, is_header_value},
    model::{
        DisabledReason, Endpoint, EntryState, ExternalMcp, LocalMcp, Mcps, Protocol, Sessions, Text,
        ToolRules, Transport,
    },
    paste,
};

/// `timeout` of a call when the file says none.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// `start_timeout` when the file says none: `npm` without a network needs 72 s to say so.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(90);

impl Reader<'_> {
    pub(super) fn mcps(&mut self, root: &At<'_>) -> Mcps {
        let Some(mcps) = root.get("mcps") else {
            return Mcps::default();
        };
        Mcps {
            external: mcps.list("external").iter().map(|at| self.external(at)).collect(),
            local: mcps.list("local").iter().map(|at| self.local(at)).collect(),
        }
    }

    fn external(&mut self, at: &At<'_>) -> ExternalMcp {
        let name = at.string("name").unwrap_or_default();
        let what = format!("mcp `{name}`");
        let mut state = Self::state(at);
        let mut endpoints = Vec::new();
        for url in at.get("url").into_iter().chain(at.list("instances")) {
            let Some(text) = self.value(&url, &HTTP_URL, &what, &mut state) else {
                continue;
            };
            let Some(parsed) = http_url(text.expose()) else {
                continue;
            };
            endpoints.push(match text.is_secret() {
                true => Endpoint::from_variable(parsed),
                false => Endpoint::new(parsed),
            });
        }
        let headers = self.headers(at, &what, &mut state);
        let transports = [
            ("http", Transport::Http),
            ("sse", Transport::Sse),
            ("auto", Transport::Auto),
        ];
        ExternalMcp {
            endpoints,
            transport: at.word("transport", &transports).unwrap_or_default(),
            headers,
            call_timeout: at.duration("timeout").unwrap_or(CALL_TIMEOUT),
            concurrency: at.int("concurrency"),
            tools: self.tool_rules(at),
            sessions: sessions(at),
            protocol: protocol(at),
            state,
            name,
        }
    }

    /// `headers`, then `auth`.
    fn headers(
        &mut self,
        at: &At<'_>,
        what: &str,
        state: &mut EntryState,
    ) -> Vec<(HeaderName, SecretString)> {
        let mut headers: Vec<(HeaderName, SecretString)> = Vec::new();
        for (key, value) in at.map("headers") {
            let Some(name) = header_name(key) else { continue };
            if headers.iter().any(|(other, _)| *other == name) {
                self.problem(
                    &value,
                    format!("header `{name}` is given twice"),
                    "keep one of them",
                );
                continue;
            }
            let text = match value.node.is_null() {
                true => Some(SecretString::from("")),
                false => self.header_value(&value, "", what, state),
            };
            headers.extend(text.map(|text| (name, text)));
        }
        let Some(auth) = at.get("auth") else {
            return headers;
        };
        let (name, value, prefix) = match auth.get_text("type") {
            Some("bearer" | "oauth") => (Some(http::header::AUTHORIZATION), auth.get("token"), "Bearer "),
            Some("header") => (auth.get_text("name").and_then(header_name), auth.get("value"), ""),
            _ => return headers,
        };
        let (Some(name), Some(value)) = (name, value) else {
            return headers;
        };
        if headers.iter().any(|(other, _)| *other == name) {
            self.problem(
                &auth,
                format!("`headers` gives `{name}` too"),
                "keep it in `auth` only",
            );
            return headers;
        }
        let text = self.header_value(&value, prefix, what, state);
        if let Some(text) = &text {
            redact::learn_written("auth", text.expose_secret());
        }
        headers.extend(text.map(|text| (name, text)));
        headers
    }

    fn header_value(
        &mut self,
        at: &At<'_>,
        prefix: &str,
        what: &str,
        state: &mut EntryState,
    ) -> Option<SecretString> {
        let form = if prefix.is_empty() { &ANY_VALUE } else { &VALUE };
        let text = self.value(at, form, what, state)?;
        // A file or a shell often leaves a line break behind a token.
        let mut written = text.expose().trim();
        if let Some(token) = without_scheme(written, prefix) {
            written = token;
            let what = format!("the token begins with `{prefix}`, which the hub adds by itself");
            self.warn(at, what, "write the token alone; this run uses it so");
        }
        let value = format!("{prefix}{written}");
        if is_header_value(&value) {
            return Some(SecretString::from(value));
        }
        let broken = format!("{} has characters that a header cannot have", at.path);
        match text.is_secret() {
            true => self.disable(at, what, DisabledReason::Broken(broken), state),
            false => self.problem(
                at,
                "this has characters that a header cannot have".to_owned(),
                "write printable ASCII on one line",
            ),
        }
        None
    }

    fn local(&mut self, at: &At<'_>) -> LocalMcp {
        let name = at.string("name").unwrap_or_default();
        let what = format!("mcp `{name}`");
        let mut state = Self::state(at);
        let command = at
            .get("command")
            .and_then(|c| self.value(&c, &VALUE, &what, &mut state));
        if let Some(command) = &command {
            self.one_program(at, command, &what, &mut state);
        }
        let command = command.unwrap_or_else(|| Text::Plain(String::new()));
        let command = match command {
            Text::Plain(path) if path.contains(['/', '\\']) => {
                Text::Plain(self.path(&path).to_string_lossy().into_owned())
            }
            Text::Secret(path) if path.expose_secret().contains(['/', '\\']) => {
                let path = self.path(path.expose_secret());
                Text::Secret(path.to_string_lossy().into_owned().into())
            }
            command => command,
        };
        let args = at.list("args");
        let args: Vec<Text> = args
            .iter()
            .filter_map(|arg| self.value(arg, &ANY_VALUE, &what, &mut state))
            .collect();
        learn_arguments(&args);
        let mut env = Vec::new();
        for (key, value) in at.map("env") {
            let text = match value.node.is_null() {
                true => Some(Text::Plain(String::new())),
                false => self.value(&value, &ANY_VALUE, &what, &mut state),
            };
            // Tokens are often written here as they are.
            env.extend(text.map(|text| (key.to_owned(), Text::Secret(text.into_secret()))));
        }
        let cwd = at
            .get("cwd")
            .and_then(|c| self.value(&c, &VALUE, &what, &mut state));
        LocalMcp {
            command,
            args,
            env,
            cwd: self.path(cwd.as_ref().map_or(".", |c| c.expose())),
            instances: at.int("instances").unwrap_or(1),
            start_timeout: at.duration("start_timeout").unwrap_or(START_TIMEOUT),
            call_timeout: at.duration("timeout").unwrap_or(CALL_TIMEOUT),
            concurrency: at.int("concurrency"),
            tools: self.tool_rules(at),
            sessions: sessions(at),
            protocol: protocol(at),
            state,
            name,
        }
    }

    /// Finds a command line in `command`, which takes a program alone: no shell reads it.
    fn one_program(&mut self, entry: &At<'_>, command: &Text, what: &str, state: &mut EntryState) {
        let (Some(at), Some((program, arguments))) = (
            entry.get("command"),
            command.expose().trim().split_once(char::is_whitespace),
        ) else {
            return;
        };
        // A path may have blanks.
        if program.contains('/') && self.path(command.expose()).exists() {
            return;
        }
        if command.is_secret() {
            let why = "`command` holds arguments after its variables are filled in; `command` takes a program alone, and `args` its arguments";
            self.disable(&at, what, DisabledReason::Broken(why.to_owned()), state);
            return;
        }
        let args: Vec<_> = arguments.split_whitespace().map(paste::argument).collect();
        self.problem(
            &at,
            "`command` takes a program alone, and this holds arguments too".to_owned(),
            &format!("write `command: {program}` and `args: [{}]`", args.join(", ")),
        );
    }

    fn tool_rules(&mut self, at: &At<'_>) -> ToolRules {
        let Some(at) = at.get("tools") else {
            return ToolRules::default();
        };
        let mut rename = BTreeMap::new();
        let mut taken: HashMap<&str, &str> = HashMap::new();
        for (from, to) in at.map("rename") {
            let Some(new) = to.text() else { continue };
            match taken.insert(new, from) {
                Some(other) => {
                    let what = format!("`{other}` is renamed to `{new}` too");
                    self.problem(&to, what, "give each tool a name of its own");
                }
                None => {
                    rename.insert(from.to_owned(), new.to_owned());
                }
            }
        }
        ToolRules {
            allow: at.strings("allow"),
            deny: at.strings("deny"),
            rename,
        }
    }
}

/// Makes the secrets in arguments known to the filter: `--token VALUE`, `--token=VALUE`, `Authorization: VALUE`, and
/// those in addresses.
fn learn_arguments(args: &[Text]) {
    let mut before = "";
    for arg in args.iter().map(Text::expose) {
        if let Some((name, value)) = arg.split_once(['=', ':']) {
            redact::learn_argument(name, value);
        }
        redact::learn_argument(before, arg);
        before = arg.strip_prefix('-').unwrap_or_default();
    }
}

/// What follows the scheme that a token begins with although the hub adds it (RFC 6750, section 2.1; in any letters).
fn without_scheme<'t>(written: &'t str, prefix: &str) -> Option<&'t str> {
    let scheme = prefix.trim_end();
    let (begin, token) = written.split_at_checked(scheme.len())?;
    let same = !scheme.is_empty() && begin.eq_ignore_ascii_case(scheme);
    (same && token.starts_with(char::is_whitespace)).then(|| token.trim_start())
}

fn sessions(at: &At<'_>) -> Sessions {
    let words = [
        ("auto", Sessions::Auto),
        ("shared", Sessions::Shared),
        ("per_client", Sessions::PerClient),
    ];
    at.word("sessions", &words).unwrap_or_default()
}

fn protocol(at: &At<'_>) -> Protocol {
    let words = [
        ("auto", Protocol::Auto),
        ("modern", Protocol::Modern),
        ("legacy", Protocol::Legacy),
    ];
    at.word("protocol", &words).unwrap_or_default()
}
