//! The hook against a receiver that listens on this machine and checks what comes as a real one would.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use aih_plugin::{
    testing::Fake,
    wit::{
        hooks,
        host::http::{Error as HttpError, Request, Response},
    },
};

use super::*;

/// What came: the headers in lower case, and the body.
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn read(stream: &TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Received { head, body }
}

/// Answers one request for each status: 401 instead where the signature is wrong.
fn receiver(statuses: &'static [u16]) -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, received) = mpsc::channel();
    thread::spawn(move || {
        for &status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read(&stream);
            let right = signature(b"shared", &request.body).unwrap();
            let status = if request.header("x-hub-signature-256") == Some(&right) {
                status
            } else {
                401
            };
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"
            )
            .unwrap();
            send.send(request).unwrap();
        }
    });
    (address, received)
}

/// The hub's part: one exchange over a real connection.
fn exchange(request: &Request) -> Result<Response, HttpError> {
    let connection = |error: std::io::Error| HttpError::Connection(error.to_string());
    let rest = request.url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).map_err(connection)?;
    let body = request.body.as_deref().unwrap_or_default();
    let mut head = format!("{} /{path} HTTP/1.1\r\nhost: {host}\r\n", request.method);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .map_err(connection)?;
    let answer = read(&stream);
    Ok(Response {
        status: answer.head.split(' ').nth(1).unwrap().parse().unwrap(),
        url: request.url.clone(),
        headers: Vec::new(),
        body: answer.body,
    })
}

fn hub(address: SocketAddr, secret: &str) -> Fake {
    Fake::new()
        .config("url", &json!(format!("http://{address}/events")))
        .secret("AUDIT_WEBHOOK_SECRET", secret)
        .http(exchange)
}

fn event(attempt: u32) -> Event {
    Event::new(hooks::Event {
        id: "019b".to_owned(),
        name: "tool.after".to_owned(),
        payload_json: json!({
            "id": "019b", "version": 1, "trigger": "tool.after", "server": "s", "tool": "t",
            "arguments": { "n": 1 }, "result": { "content": [{ "type": "text", "text": "ü" }] },
        })
        .to_string(),
        extras: vec![("attempt".to_owned(), attempt.to_string())],
    })
}

#[test]
fn an_event_arrives_signed_and_with_its_id() {
    let (address, received) = receiver(&[204]);
    hub(address, "shared").run(|| post(event(1)).unwrap());
    let request = received.recv().unwrap();
    assert!(request.head.starts_with("POST /events HTTP/1.1\r\n"));
    assert_eq!(request.header("idempotency-key"), Some("019b"));
    assert_eq!(request.header("x-aih-event"), Some("tool.after"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("aih-redirect"), Some("manual"));
    let body: Value = aih_plugin::serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["id"], "019b");
    assert_eq!(body["result"]["content"][0]["text"], "ü");
}

#[test]
fn what_is_not_taken_fails_and_comes_again_with_the_same_id() {
    let (address, received) = receiver(&[503, 302, 200]);
    hub(address, "shared").run(|| {
        let error = post(event(1)).unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        let error = post(event(2)).unwrap_err();
        assert!(error.to_string().contains("302"), "{error}");
        post(event(3)).unwrap();
    });
    let all: Vec<Received> = received.iter().take(3).collect();
    for (request, attempt) in all.iter().zip(["1", "2", "3"]) {
        assert_eq!(request.header("idempotency-key"), Some("019b"));
        assert_eq!(request.header("x-aih-attempt"), Some(attempt));
        assert_eq!(request.body, all[0].body);
    }
}

#[test]
fn another_secret_is_refused_and_members_can_be_left_out() {
    let (address, received) = receiver(&[200, 200]);
    hub(address, "other").run(|| {
        let error = post(event(1)).unwrap_err();
        assert!(error.to_string().contains("401"), "{error}");
    });
    hub(address, "shared")
        .config("omit", &json!(["arguments", "result"]))
        .run(|| post(event(1)).unwrap());
    let last = received.iter().nth(1).unwrap();
    let body: Value = aih_plugin::serde_json::from_slice(&last.body).unwrap();
    assert_eq!(body.get("arguments").or(body.get("result")), None);
    assert_eq!(body["tool"], "t");
}

#[test]
fn without_an_address_a_secret_or_a_receiver_it_says_so() {
    Fake::new().run(|| assert!(post(event(1)).unwrap_err().to_string().contains("config.url")));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Fake::new().config("url", &json!("https://a.example/")).run(|| {
        assert!(
            post(event(1))
                .unwrap_err()
                .to_string()
                .contains("AUDIT_WEBHOOK_SECRET")
        )
    });
    hub(closed, "shared").run(|| {
        assert!(
            post(event(1))
                .unwrap_err()
                .to_string()
                .contains("posting the event")
        )
    });
}

#[test]
fn the_signature_is_that_of_the_documentation_of_github() {
    assert_eq!(
        signature(b"It's a Secret to Everybody", b"Hello, World!").unwrap(),
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    );
}
