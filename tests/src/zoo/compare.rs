//! What a client gets of a server, directly and through the hub, field by field.
//!
//! At `/mcp/{name}` all must be equal. At `/mcp` the names have the server's name in front, each item says which server it
//! is of, and the addresses of resources are the hub's own.

use aih_tests::{Hub, real};
use serde_json::{Value, json};

use super::{
    direct::{Client, Direct, Era, greeting_through},
    servers::{Place, Server},
};

/// The lists of a server: method, member of the result, and what names an item.
const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "name"),
    ("prompts/list", "prompts", "name"),
    ("resources/list", "resources", "uri"),
    ("resources/templates/list", "resourceTemplates", "uriTemplate"),
];
/// How the addresses of the hub's own resources begin.
const OWN_SCHEMES: [&str; 2] = ["skill://", "config://"];
/// How many prompts and how many resources of a server are read.
const MAX_READ: usize = 10;
/// The most differences that are shown of one server.
const MAX_SHOWN: usize = 20;
/// What only one era says, or what a result says of the program that sends it: at the top of a result.
const OF_THE_ERA: [&str; 4] = ["resultType", "ttlMs", "cacheScope", "_meta"];

/// All that a client gets of a server.
struct Seen {
    greeting: Value,
    /// In the order of [`LISTS`].
    lists: Vec<Vec<Value>>,
    /// What was asked, and the answer: the calls of the table, then prompts and resources by their own names.
    answers: Vec<(String, Value)>,
}

/// What was found of one server.
pub(crate) struct Row {
    pub(crate) package: &'static str,
    pub(crate) version: String,
    /// The eras that it speaks.
    pub(crate) eras: Vec<Era>,
    /// The revision of the legacy era that it chooses.
    pub(crate) revision: String,
    /// How many tools, prompts, resources and templates it has.
    pub(crate) counts: Vec<usize>,
    pub(crate) greetings: Tally,
    pub(crate) lists: Tally,
    pub(crate) calls: Tally,
    /// What differs.
    pub(crate) differences: Vec<String>,
}

/// How many comparisons were made, and how many of them found no difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    made: usize,
    equal: usize,
}

impl Tally {
    fn count(&mut self, equal: bool) {
        self.made += 1;
        self.equal += usize::from(equal);
    }

    /// Whether there is nothing that differs.
    pub(crate) fn is_good(self) -> bool {
        self.made == self.equal
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.equal, self.made)
    }
}

/// Compares one server.
pub(crate) async fn compare(server: &Server) -> Row {
    let place = Place::new();
    let mut row = Row {
        package: server.package,
        version: String::new(),
        eras: Vec::new(),
        revision: String::new(),
        counts: Vec::new(),
        greetings: Tally::default(),
        lists: Tally::default(),
        calls: Tally::default(),
        differences: Vec::new(),
    };
    match server.version() {
        Ok(version) => row.version = version,
        Err(error) => {
            row.differences.push(error.to_string());
            return row;
        }
    }
    let mut alone = Vec::new();
    for era in [Era::Legacy, Era::Modern] {
        match Direct::start(server.command(&place), era).await {
            Ok(direct) => {
                row.eras.push(era);
                if let Some(revision) = direct.greeting["protocolVersion"].as_str() {
                    revision.clone_into(&mut row.revision);
                }
                alone.push((era, direct_seen(direct, server, &place).await));
            }
            // A server may be of one era; of none, it does not run here.
            Err(why) if era == Era::Legacy => row.differences.push(format!("directly: {why}")),
            Err(_) => {}
        }
    }
    if alone.is_empty() {
        return row;
    }
    row.counts = alone[0].1.lists.iter().map(Vec::len).collect();
    let hub = Hub::start(&real::mcps(&json!([server.entry(&place)]), &json!([]))).await;
    hub.until_up(server.name).await;
    for era in [Era::Legacy, Era::Modern] {
        // The server's own words in the era of the client, or in the one that it has.
        let direct: Vec<&Seen> = {
            let (same, other): (Vec<_>, Vec<_>) = alone.iter().partition(|(found, _)| *found == era);
            same.into_iter().chain(other).map(|(_, seen)| seen).collect()
        };
        let own = format!("/mcp/{}", server.name);
        let seen = seen_through(&hub, &own, "", era, server, &place).await;
        let at = format!("{era:?} at {own}");
        row.greeting(&at, &direct, &seen.greeting, server);
        row.compare(&at, "", &direct, &seen, server);
        let prefix = format!("{}__", server.name.replace('-', "_"));
        let seen = seen_through(&hub, "/mcp", &prefix, era, server, &place).await;
        row.compare(&format!("{era:?} at /mcp"), &prefix, &direct, &seen, server);
    }
    row
}

async fn direct_seen(direct: Direct, server: &Server, place: &Place) -> Seen {
    let greeting = direct.greeting.clone();
    let mut client = Client::Direct(Box::new(direct));
    let seen = seen(greeting, &mut client, "", server, place).await;
    client.end().await;
    seen
}

async fn seen_through(hub: &Hub, path: &str, prefix: &str, era: Era, server: &Server, place: &Place) -> Seen {
    let greeting = greeting_through(hub, path, era).await;
    let mut client = Client::through(hub, path, era).await;
    seen(greeting, &mut client, prefix, server, place).await
}

async fn seen(greeting: Value, client: &mut Client, prefix: &str, server: &Server, place: &Place) -> Seen {
    let mut lists = Vec::new();
    for (method, member, _) in LISTS {
        lists.push(client.list(method, member).await);
    }
    let mut questions: Vec<(&str, Value)> = Vec::new();
    for (tool, arguments) in server.calls {
        let arguments: Value = serde_json::from_str(&place.filled(arguments)).unwrap();
        questions.push((
            "tools/call",
            json!({"name": format!("{prefix}{tool}"), "arguments": arguments}),
        ));
    }
    if prefix.is_empty() {
        let needs_nothing = |prompt: &&Value| {
            let arguments = prompt["arguments"].as_array();
            arguments.is_none_or(|all| all.iter().all(|argument| argument["required"] != true))
        };
        for prompt in lists[1].iter().filter(needs_nothing).take(MAX_READ) {
            questions.push(("prompts/get", json!({"name": prompt["name"]})));
        }
        for resource in lists[2].iter().take(MAX_READ) {
            questions.push(("resources/read", json!({"uri": resource["uri"]})));
        }
    }
    let mut answers = Vec::new();
    for (method, params) in questions {
        let what = format!(
            "{method} {}",
            params["name"]
                .as_str()
                .or(params["uri"].as_str())
                .unwrap_or_default()
        );
        let answer = client.ask(method, params).await;
        answers.push((what, answer.unwrap_or_else(|error| json!({"error": error}))));
    }
    Seen {
        greeting,
        lists,
        answers,
    }
}

impl Row {
    /// Whether all was equal.
    pub(crate) fn is_good(&self) -> bool {
        self.differences.is_empty() && !self.eras.is_empty()
    }

    /// `found` against each of `direct`: equal to one of them is equal.
    fn judge(&mut self, what: String, found: &Value, direct: &[Value], varies: &[&str]) -> bool {
        let differences = |direct: &Value| {
            let mut all = Vec::new();
            differences(&what, direct, found, varies, &mut all);
            all
        };
        let all: Vec<Vec<String>> = direct.iter().map(differences).collect();
        if all.iter().any(Vec::is_empty) {
            return true;
        }
        let room = MAX_SHOWN.saturating_sub(self.differences.len());
        let first = all.into_iter().next().unwrap_or_default();
        self.differences.extend(first.into_iter().take(room));
        false
    }

    fn greeting(&mut self, at: &str, direct: &[&Seen], found: &Value, server: &Server) {
        let said = |greeting: &Value| {
            let mut capabilities = greeting["capabilities"].clone();
            if let Some(capabilities) = capabilities.as_object_mut() {
                for capability in capabilities.values_mut().filter_map(Value::as_object_mut) {
                    // The hub tells each client of changes, whether the server does so or not.
                    capability.remove("listChanged");
                }
            }
            let mut info = greeting["serverInfo"].clone();
            if info.is_null() {
                // Where revision 2026-07-28 has it.
                info = greeting["_meta"]["io.modelcontextprotocol/serverInfo"].clone();
            }
            json!({"capabilities": capabilities, "serverInfo": info, "instructions": greeting["instructions"]})
        };
        let direct: Vec<Value> = direct.iter().map(|seen| said(&seen.greeting)).collect();
        let good = self.judge(format!("{at}: greeting"), &said(found), &direct, server.varies);
        self.greetings.count(good);
    }

    fn compare(&mut self, at: &str, prefix: &str, direct: &[&Seen], found: &Seen, server: &Server) {
        for (i, (method, _, key)) in LISTS.into_iter().enumerate() {
            let items: Vec<Value> = found.lists[i]
                .iter()
                .filter_map(|item| own(item, key, prefix))
                .collect();
            let lists: Vec<Value> = direct
                .iter()
                .map(|seen| by_name(seen.lists[i].clone(), key, prefix))
                .collect();
            let good = self.judge(
                format!("{at}: {method}"),
                &by_name(items, key, prefix),
                &lists,
                server.varies,
            );
            self.lists.count(good);
        }
        for (i, (what, answer)) in found.answers.iter().enumerate() {
            let answers: Vec<Value> = direct
                .iter()
                .filter_map(|seen| seen.answers.get(i))
                .map(|(_, answer)| without_era(answer))
                .collect();
            let good = self.judge(
                format!("{at}: {what}"),
                &without_era(answer),
                &answers,
                server.varies,
            );
            self.calls.count(good);
        }
    }
}

/// An item as the server has it, or `None` for one of the hub's own.
fn own(item: &Value, key: &str, prefix: &str) -> Option<Value> {
    let mut item = item.clone();
    let Some(namespace) = prefix.strip_suffix("__") else {
        return Some(item);
    };
    at_server(&mut item, &format!("ui://{namespace}/"));
    if key == "name" {
        let name = item["name"].as_str()?.strip_prefix(prefix)?.to_owned();
        item["name"] = json!(name);
    } else if OWN_SCHEMES
        .iter()
        .any(|scheme| item[key].as_str().is_some_and(|uri| uri.starts_with(scheme)))
    {
        return None;
    }
    let members = item.as_object_mut()?;
    // What the hub adds where several servers are together.
    members.remove("source");
    if let Some(meta) = members.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove("aih/source");
        if meta.is_empty() {
            members.remove("_meta");
        }
    }
    Some(item)
}

/// Puts the address of the server into each text that is an address of MCP Apps at the hub.
fn at_server(value: &mut Value, prefix: &str) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(prefix) {
                *text = format!("ui://{rest}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| at_server(item, prefix)),
        Value::Object(members) => members.values_mut().for_each(|member| at_server(member, prefix)),
        _ => {}
    }
}

/// A list as an object, by the names of its items.
///
/// At `/mcp` resources have addresses of the hub, and are compared by their own names without these.
fn by_name(items: Vec<Value>, key: &str, prefix: &str) -> Value {
    let at_all = !prefix.is_empty() && key != "name";
    let named = items.into_iter().map(|mut item| {
        let name = item[if at_all { "name" } else { key }]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if at_all && let Some(item) = item.as_object_mut() {
            item.remove(key);
        }
        (name, item)
    });
    Value::Object(named.collect())
}

fn without_era(result: &Value) -> Value {
    let mut result = result.clone();
    if let Some(result) = result.as_object_mut() {
        for member in OF_THE_ERA {
            result.remove(member);
        }
    }
    result
}

/// Adds each difference with its path; what ends with one of `varies` differs from one run to the next.
fn differences(path: &str, direct: &Value, found: &Value, varies: &[&str], all: &mut Vec<String>) {
    if direct == found || varies.iter().any(|end| path.ends_with(end)) {
        return;
    }
    match (direct, found) {
        (Value::Object(direct), Value::Object(found)) => {
            for (key, value) in direct {
                let other = found.get(key).unwrap_or(&ABSENT);
                differences(&format!("{path}.{key}"), value, other, varies, all);
            }
            for (key, value) in found.iter().filter(|(key, _)| !direct.contains_key(*key)) {
                differences(&format!("{path}.{key}"), &ABSENT, value, varies, all);
            }
        }
        (Value::Array(direct), Value::Array(found)) if direct.len() == found.len() => {
            for (i, (direct, found)) in direct.iter().zip(found).enumerate() {
                differences(&format!("{path}[{i}]"), direct, found, varies, all);
            }
        }
        _ => all.push(format!(
            "{path}: directly {:.150}, through the hub {:.150}",
            direct.to_string(),
            found.to_string()
        )),
    }
}

/// What stands for a member that is not there.
static ABSENT: Value = Value::Null;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(direct: Value, through: Value, varies: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        differences("x", &direct, &through, varies, &mut all);
        all
    }

    #[test]
    fn every_field_that_differs_is_named() {
        let direct = json!({"a": 1, "b": [1, {"c": "d"}], "e": {"f": true}});
        assert!(found(direct.clone(), direct.clone(), &[]).is_empty());
        let through = json!({"a": 1.5, "b": [1, {"c": "g"}], "h": 0});
        let all = found(direct, through, &[]);
        let paths: Vec<&str> = all.iter().filter_map(|d| d.split(": ").next()).collect();
        assert_eq!(paths, ["x.a", "x.b[1].c", "x.e", "x.h"]);
    }

    #[test]
    fn what_varies_is_left_out_and_nothing_else() {
        let all = found(json!({"at": 1, "on": 1}), json!({"at": 2, "on": 2}), &["x.at"]);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with("x.on"), "{all:?}");
    }
}
