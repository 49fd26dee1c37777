//! An MCP server that tells everybody what it was given, in every way that it has: tool descriptions, instructions,
//! results, errors, notifications, standard error, and the reason why it ends.
//!
//! On stdio it tells its arguments, its folder and its environment; with `--http` it tells each request's head, after
//! printing its address. With `--dies` it tells all on standard error and ends.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fixture fails its test by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use aih_tests::spill::spellings;
use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--http") {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        for stream in listener.incoming() {
            std::thread::spawn(|| while_open(stream.unwrap()));
        }
        return;
    }
    let mut known: Vec<String> = arguments.clone();
    known.push(std::env::current_dir().unwrap().display().to_string());
    known.extend(std::env::vars().map(|(_, value)| value));
    let all = told(&known);
    for line in all.lines() {
        eprintln!("{line}");
    }
    // A long line, so that one of them lies where it is cut.
    eprintln!("{}", all.replace('\n', " "));
    if arguments.iter().any(|argument| argument == "--dies") {
        std::process::exit(7);
    }
    for line in std::io::stdin().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        println!("a line that is not a message: {}", all.replace('\n', " "));
        for answer in answers(&message, &all) {
            println!("{answer}");
        }
        if message["params"]["name"] == "end" {
            eprintln!("ends with {}", all.replace('\n', " "));
            std::process::exit(9);
        }
    }
}

/// Each text and its parts, in each spelling.
fn told(known: &[String]) -> String {
    let separators = |c: char| c.is_whitespace() || "=:/?&@".contains(c);
    let mut texts: Vec<&str> = known.iter().map(String::as_str).collect();
    texts.extend(known.iter().flat_map(|text| text.split(separators)));
    texts.retain(|text| text.len() >= 8);
    texts.sort_unstable();
    texts.dedup();
    let lines: Vec<String> = texts.iter().map(|text| spellings(text).join(" ")).collect();
    lines.join("\n")
}

/// What is sent for one message.
fn answers(message: &Value, all: &str) -> Vec<Value> {
    let Some(id) = message.get("id") else {
        return Vec::new();
    };
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let error = |text: &str| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32000, "message": text, "data": { "all": text } } });
    let log = json!({ "jsonrpc": "2.0", "method": "notifications/message",
        "params": { "level": "error", "logger": "spill", "data": all } });
    let answer = match message["method"].as_str().unwrap_or_default() {
        "initialize" => result(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {}, "resources": {}, "prompts": {}, "logging": {} },
            "serverInfo": { "name": "spill", "version": "1", "title": all }, "instructions": all,
        })),
        "tools/list" => {
            let schema = json!({ "type": "object", "description": all });
            let tool = |name: &str| json!({ "name": name, "description": all, "inputSchema": schema });
            result(
                json!({ "tools": [tool("result"), tool("structured"), tool("error"), tool("failed"), tool("end")] }),
            )
        }
        "resources/list" => {
            result(json!({ "resources": [{ "uri": "spill://all", "name": "all", "description": all }] }))
        }
        "resources/read" => result(json!({ "contents": [{ "uri": "spill://all", "text": all }] })),
        "prompts/list" => result(json!({ "prompts": [{ "name": "all", "description": all }] })),
        "prompts/get" => {
            result(json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": all } }] }))
        }
        "tools/call" => match message["params"]["name"].as_str().unwrap_or_default() {
            "error" => error(all),
            "end" => return vec![log],
            "structured" => result(json!({ "content": [], "structuredContent": { "all": all, all: [all] } })),
            name => {
                let text = json!({ "json": all }).to_string();
                result(
                    json!({ "content": [{ "type": "text", "text": all }, { "type": "text", "text": text }],
                    "isError": name == "failed" }),
                )
            }
        },
        "logging/setLevel" | "ping" => result(json!({})),
        method => error(&format!("no method {method} {all}")),
    };
    vec![log, answer]
}

/// Answers requests on one connection.
fn while_open(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut head = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
                head.push(value.trim().to_owned());
            } else {
                head.push(line.to_owned());
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let all = told(&head);
        // The first line of the head names the path.
        let fails = head[0].contains("/fails/");
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, kind, text) = if fails {
            ("500 Failed", "text/plain".to_owned(), all.replace('\n', " "))
        } else if head[0].starts_with("POST") {
            let answers = answers(&message, &all);
            match answers.last() {
                None => ("202 Accepted", "text/plain".to_owned(), String::new()),
                Some(_) => {
                    let events: String = answers
                        .iter()
                        .map(|answer| format!("data: {answer}\n\n"))
                        .collect();
                    ("200 OK", "text/event-stream".to_owned(), events)
                }
            }
        } else {
            ("405 Not Allowed", "text/plain".to_owned(), all.replace('\n', " "))
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-told: {}\r\n\r\n{text}",
            text.len(),
            all.lines().next().unwrap_or_default(),
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
