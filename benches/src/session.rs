//! The MCP side of a measurement: which requests are sent, and whether what comes back is right.
//!
//! Requests are written once and only their numbers are filled in afterwards. Every answer is checked for
//! its id and its text; now and then one is parsed whole. A wrong answer must never count as a call.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use serde_json::{Value, json};

use crate::BIG_BYTES;
use crate::http::Connection;

/// Ids have ten digits from the first on, so that a request's length never changes.
const FIRST_ID: u64 = 1_000_000_000;
/// Stands for the id where requests are written.
const ID: &str = "9876543210";
/// The revision that legacy sessions are opened with.
const LEGACY: &str = "2025-11-25";
/// The revision of modern requests.
const MODERN: &str = "2026-07-28";
/// One answer in so many is parsed whole.
const PARSE_EVERY: u64 = 1_000;

/// Which of the protocol's two eras is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize`, then a session id with every request.
    Legacy,
    /// No session; the revision is in headers and `_meta` of every request.
    Modern,
}

impl Era {
    /// The word for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// What is asked for again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// `tools/call` of `echo`: a few bytes both ways.
    Echo,
    /// `tools/call` of `big`: 100 kB come back.
    Big,
    /// `tools/list`; so many tools of the echo server must be in it.
    List {
        /// How many tools the echo server has.
        tools: usize,
    },
}

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The server.
    pub address: SocketAddr,
    /// Sent as `Authorization: Bearer`.
    pub key: Option<String>,
    /// What stands in front of a tool's name here.
    pub prefix: &'static str,
}

/// A request whose id can be changed.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    slots: Vec<usize>,
}

impl Template {
    fn new(request: &str) -> Self {
        Self {
            slots: memmem::find_iter(request.as_bytes(), ID.as_bytes()).collect(),
            bytes: request.as_bytes().to_vec(),
        }
    }

    fn fill(&mut self, id: &str) -> &[u8] {
        for slot in &self.slots {
            if let Some(place) = self.bytes.get_mut(*slot..*slot + id.len()) {
                place.copy_from_slice(id.as_bytes());
            }
        }
        &self.bytes
    }
}

/// A client: one connection, in legacy times one session.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    endpoint: Endpoint,
    work: Work,
    template: Template,
    session: Option<String>,
    next: u64,
}

impl Session {
    /// Connects, opens a session where the era has one, and makes one call.
    ///
    /// # Errors
    /// When the server refuses any of it or answers the call wrongly.
    pub async fn open(endpoint: &Endpoint, era: Era, work: Work) -> Result<Self> {
        let mut connection = Connection::open(endpoint.address).await?;
        let session = match era {
            Era::Legacy => greet(&mut connection, endpoint)
                .await
                .context("cannot open a session")?,
            Era::Modern => None,
        };
        let template = Template::new(&request(endpoint, era, session.as_deref(), work));
        let mut this = Self {
            connection,
            endpoint: endpoint.clone(),
            work,
            template,
            session,
            next: FIRST_ID,
        };
        this.call().await.context("the first call failed")?;
        Ok(this)
    }

    /// One request and its checked answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is wrong; the text says what came.
    pub async fn call(&mut self) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let id = number.to_string();
        let head = self.connection.exchange(self.template.fill(&id)).await?;
        let body = self.connection.body();
        let fits = head.status == 200
            && memmem::find(body, format!("\"id\":{id}").as_bytes()).is_some()
            && match self.work {
                Work::Echo => memmem::find(body, format!("\"text\":\"echo-{id}\"").as_bytes()).is_some(),
                Work::Big => body.len() > BIG_BYTES,
                Work::List { tools } => body.len() > tools * 20,
            };
        if fits && !number.is_multiple_of(PARSE_EVERY) {
            return Ok(());
        }
        self.parse(head.status, head.event_stream, number)
            .with_context(|| format!("wrong answer, status {}: {}", head.status, excerpt(body)))
    }

    /// Checks the last answer as a whole.
    fn parse(&self, status: u16, event_stream: bool, id: u64) -> Result<()> {
        ensure!(status == 200, "the status is not 200");
        let answer = message(self.connection.body(), event_stream)?;
        ensure!(answer.get("id") == Some(&json!(id)), "the id is not {id}");
        let result = answer.get("result").context("there is no result")?;
        let text = || {
            result
                .pointer("/content/0/text")
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match self.work {
            Work::Echo => ensure!(text() == format!("echo-{id}"), "the text is not what was sent"),
            Work::Big => ensure!(text().len() == BIG_BYTES, "the text has {} bytes", text().len()),
            Work::List { tools } => {
                ensure!(result.get("nextCursor").is_none(), "the list comes in pages");
                let listed = result
                    .get("tools")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                let names = listed.filter_map(|tool| tool.get("name")?.as_str());
                let own = names
                    .filter(|name| name.starts_with(self.endpoint.prefix))
                    .count();
                ensure!(own == tools, "the list has {own} of the {tools} tools");
            }
        }
        Ok(())
    }

    /// Ends the session at the server, where there is one.
    ///
    /// # Errors
    /// When the connection breaks. A server may refuse the request (405): that is not an error.
    pub async fn close(mut self) -> Result<()> {
        if let Some(session) = &self.session {
            let head = head(&self.endpoint, "DELETE", &[("Mcp-Session-Id", session)]);
            self.connection.exchange(format!("{head}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    /// The names of all tools that the endpoint lists.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn tool_names(endpoint: &Endpoint) -> Result<Vec<String>> {
        let mut connection = Connection::open(endpoint.address).await?;
        let request = request(endpoint, Era::Modern, None, Work::List { tools: 0 });
        let head = connection.exchange(request.as_bytes()).await?;
        ensure!(
            head.status == 200,
            "status {}: {}",
            head.status,
            excerpt(connection.body())
        );
        let answer = message(connection.body(), head.event_stream)?;
        let tools = answer.pointer("/result/tools").and_then(Value::as_array);
        let names = tools
            .into_iter()
            .flatten()
            .filter_map(|tool| tool.get("name")?.as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

/// `initialize` and `notifications/initialized`; gives the session's id.
async fn greet(connection: &mut Connection, endpoint: &Endpoint) -> Result<Option<String>> {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}});
    let answered = connection
        .exchange(post(endpoint, &[], &hello).as_bytes())
        .await?;
    ensure!(
        answered.status == 200,
        "initialize: status {}: {}",
        answered.status,
        excerpt(connection.body())
    );
    let answer = message(connection.body(), answered.event_stream)?;
    ensure!(answer.get("result").is_some(), "initialize was refused: {answer}");

    let session = answered.session;
    let mut headers = vec![("MCP-Protocol-Version", LEGACY)];
    headers.extend(session.as_deref().map(|id| ("Mcp-Session-Id", id)));
    let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answered = connection
        .exchange(post(endpoint, &headers, &done).as_bytes())
        .await?;
    ensure!(
        answered.status == 202,
        "notifications/initialized: status {}: {}",
        answered.status,
        excerpt(connection.body())
    );
    Ok(session)
}

/// The request of a kind of work, with [`ID`] for its id.
fn request(endpoint: &Endpoint, era: Era, session: Option<&str>, work: Work) -> String {
    let name = |tool: &str| format!("{}{tool}", endpoint.prefix);
    let (method, name, mut params) = match work {
        Work::Echo => (
            "tools/call",
            Some(name("echo")),
            json!({"name": name("echo"), "arguments": {"text": format!("echo-{ID}")}}),
        ),
        Work::Big => (
            "tools/call",
            Some(name("big")),
            json!({"name": name("big"), "arguments": {}}),
        ),
        Work::List { .. } => ("tools/list", None, json!({})),
    };
    let mut headers = Vec::new();
    match era {
        Era::Legacy => {
            headers.push(("MCP-Protocol-Version", LEGACY));
            headers.extend(session.map(|id| ("Mcp-Session-Id", id)));
        }
        Era::Modern => {
            headers.extend([("MCP-Protocol-Version", MODERN), ("Mcp-Method", method)]);
            headers.extend(name.as_deref().map(|name| ("Mcp-Name", name)));
            if let Some(params) = params.as_object_mut() {
                params.insert(
                    "_meta".to_owned(),
                    json!({
                        "io.modelcontextprotocol/protocolVersion": MODERN,
                        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                        "io.modelcontextprotocol/clientCapabilities": {}
                    }),
                );
            }
        }
    }
    // The id goes in as a number of as many digits.
    let id: Value = ID.parse::<u64>().unwrap_or_default().into();
    post(
        endpoint,
        &headers,
        &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
    )
}

fn post(endpoint: &Endpoint, headers: &[(&str, &str)], body: &Value) -> String {
    let body = body.to_string();
    let head = head(endpoint, "POST", headers);
    format!(
        "{head}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Request line and headers, without the empty line.
fn head(endpoint: &Endpoint, verb: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{verb} /mcp HTTP/1.1\r\nHost: {}\r\n", endpoint.address);
    if let Some(key) = &endpoint.key {
        head.push_str(&format!("Authorization: Bearer {key}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// The JSON-RPC response in a body: the whole, or the last event with data.
fn message(body: &[u8], event_stream: bool) -> Result<Value> {
    if !event_stream {
        return serde_json::from_slice(body).context("the body is not JSON");
    }
    let text = std::str::from_utf8(body).context("the event stream is not text")?;
    let mut data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim);
    let Some(last) = data.rfind(|data| !data.is_empty()) else {
        bail!("the event stream has no message");
    };
    serde_json::from_str(last).context("the last event is not JSON")
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            address: "127.0.0.1:9".parse().unwrap(),
            key: Some("k".to_owned()),
            prefix: "echo__",
        }
    }

    #[test]
    fn a_filled_request_keeps_its_length() {
        let written = request(&endpoint(), Era::Modern, None, Work::Echo);
        let mut template = Template::new(&written);
        let filled = String::from_utf8(template.fill("1000000007").to_vec()).unwrap();
        assert_eq!(filled.len(), written.len());
        assert!(!filled.contains(ID));
        let body: Value = serde_json::from_str(filled.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["id"], 1_000_000_007);
        assert_eq!(body["params"]["arguments"]["text"], "echo-1000000007");
        assert!(filled.contains("Mcp-Name: echo__echo\r\n"));
    }

    #[test]
    fn the_message_is_the_last_event_with_data() {
        let body = b"id: 0\nretry: 3000\ndata: \n\nid: 1\ndata: {\"id\":1}\n\n";
        assert_eq!(message(body, true).unwrap(), json!({"id": 1}));
        assert!(message(b"data:\n\n", true).is_err());
    }
}
