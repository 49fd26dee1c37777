use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    fixture::{Server, answer, json_answer, soon},
    *,
};

fn with_proxies(env: impl Fn(&str) -> Option<String>) -> HttpClient {
    HttpClient(Arc::new(Shared {
        dialer: Dialer::new(proxy::matcher(env)).unwrap(),
        pools: Mutex::default(),
    }))
}

async fn get(client: &HttpClient, address: &str) -> Result<Response, TransportError> {
    let mut headers = HeaderMap::new();
    let target = client.target(Url::parse(address).unwrap(), &mut headers)?;
    soon(target.send(Method::GET, headers, Bytes::new())).await
}

/// Reads one request head and gives this answer.
async fn serve_once(listener: &tokio::net::TcpListener, answer: &str) -> (String, tokio::net::TcpStream) {
    let (mut socket, _) = soon(listener.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    socket.write_all(answer.as_bytes()).await.unwrap();
    (String::from_utf8(head).unwrap(), socket)
}

#[tokio::test]
async fn a_proxy_gets_other_hosts_and_never_loopback() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://me:pass@{}", proxy.local_addr().unwrap());
    let client = with_proxies(|name| (name == "ALL_PROXY").then(|| address.clone()));
    // Nothing listens on port 1: were it asked through the proxy, it would hang instead.
    for host in ["127.0.0.1", "localhost"] {
        let direct = get(&client, &format!("http://{host}:1/")).await;
        assert!(matches!(direct, Err(TransportError::Connect(_))), "{host}");
    }
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (got, (head, _)) = tokio::join!(get(&client, "http://mcp.invalid/p?q=1"), serve_once(&proxy, ok));
    assert_eq!(got.unwrap().status(), 200);
    assert!(
        head.starts_with("GET http://mcp.invalid/p?q=1 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: mcp.invalid\r\n"), "{head}");
    assert!(
        head.contains("proxy-authorization: Basic bWU6cGFzcw==\r\n"),
        "{head}"
    );

    let no = "HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n";
    let (got, (head, _)) = tokio::join!(get(&client, "https://mcp.invalid/p"), serve_once(&proxy, no));
    assert!(head.starts_with("CONNECT mcp.invalid:443 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("proxy-authorization: Basic bWU6cGFzcw==\r\n"),
        "{head}"
    );
    let Err(TransportError::Connect(error)) = got else {
        panic!("no tunnel, no connection");
    };
    assert!(error.text().contains("407"), "{error}");
}

#[test]
fn what_is_no_proxy_is_ignored() {
    let anywhere = http::Uri::from_static("https://mcp.invalid/");
    for (value, none) in [
        ("socks5://p:1", ""),
        ("ftp://p:1", ""),
        ("http://p:1", "*"),
        ("", ""),
    ] {
        let matcher = proxy::matcher(|name| match name {
            "HTTPS_PROXY" => Some(value.to_owned()),
            "NO_PROXY" => Some(none.to_owned()),
            _ => None,
        });
        assert!(matcher.intercept(&anywhere).is_none(), "{value}");
    }
}

#[tokio::test]
async fn calls_share_one_connection_and_a_closed_one_is_replaced() {
    let server = Server::start(|seen| async move {
        let mut response = json_answer("x".repeat(300_000));
        if seen.path == "/last" {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    })
    .await;
    let client = http_client().unwrap();
    // A pool lives as long as an address of its origin is in use.
    let _kept = client.target(server.url("/"), &mut HeaderMap::new()).unwrap();
    for path in ["/a", "/b", "/last", "/c", "/d"] {
        let mut response = get(&client, server.url(path).as_str()).await.unwrap();
        let mut bytes = 0;
        while let Some(chunk) = soon(response.chunk()).await.unwrap() {
            bytes += chunk.len();
        }
        assert_eq!(bytes, 300_000);
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_closed_an_idle_connection_loses_no_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let client = http_client().unwrap();
    let kept = client
        .target(Url::parse(&address).unwrap(), &mut HeaderMap::new())
        .unwrap();
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for _ in 0..3 {
        let (got, (_, mut socket)) = tokio::join!(get(&client, &address), serve_once(&listener, ok));
        let mut response = got.unwrap();
        while soon(response.chunk()).await.unwrap().is_some() {}
        assert_eq!(kept.pool.idle(), 1);
        socket.shutdown().await.unwrap();
        soon(async {
            while kept.pool.idle() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    drop(listener);
    assert!(matches!(
        get(&client, &address).await,
        Err(TransportError::Connect(_))
    ));
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_method_and_body() {
    let hops = Arc::<AtomicUsize>::default();
    let server = Server::start(move |seen| {
        let hop = hops.fetch_add(1, Ordering::SeqCst);
        async move {
            let (status, to) = match seen.path.as_str() {
                "/there" => {
                    return json_answer(
                        json!({"method": seen.method.as_str(), "body": seen.body.len()}).to_string(),
                    );
                }
                p if p.starts_with("/round") => (307, format!("/round?{hop}")),
                "/nowhere" => (307, String::new()),
                p => (p[1..].parse().unwrap(), "/there".to_owned()),
            };
            let mut response = answer(status, "", "");
            if !to.is_empty() {
                let to = to.parse().unwrap();
                response.headers_mut().insert(header::LOCATION, to);
            }
            response
        }
    })
    .await;
    let client = http_client().unwrap();
    let ask = async |method: Method, path: &str| {
        let mut headers = HeaderMap::new();
        let target = client.target(server.url(path), &mut headers).unwrap();
        soon(target.send(method, headers, Bytes::from_static(b"body"))).await
    };
    for (method, path) in [
        (Method::POST, "/301"),
        (Method::POST, "/302"),
        (Method::POST, "/307"),
        (Method::POST, "/308"),
        (Method::GET, "/303"),
    ] {
        let mut response = ask(method.clone(), path).await.unwrap();
        assert_eq!(response.url().as_str(), server.url("/there").as_str());
        let seen: serde_json::Value =
            serde_json::from_slice(&response.chunk().await.unwrap().unwrap()).unwrap();
        assert_eq!(seen, json!({"method": method.as_str(), "body": 4}), "{path}");
    }
    for (path, why) in [
        ("/303", "GET"),
        ("/300", "follows 301, 302, 307 and 308"),
        ("/nowhere", "names no address"),
        ("/round", "again and again"),
    ] {
        let error = ask(Method::POST, path).await.err().unwrap();
        assert!(
            matches!(error, TransportError::Redirect { .. }),
            "{path}: {error}"
        );
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
    assert_eq!(server.count(|s| s.path.starts_with("/round")), 1 + MAX_REDIRECTS);
}

#[test]
fn only_the_same_host_over_tls_counts_as_the_same_server() {
    let origin = |url: &str| Origin::of(&Url::parse(url).unwrap()).unwrap();
    for (from, to, upgraded) in [
        ("http://h.test/mcp", "https://h.test/other", true),
        ("http://h.test:80/mcp", "https://h.test:443/mcp", true),
        ("http://h.test/mcp", "https://h.test:8443/mcp", false),
        ("http://h.test:8080/mcp", "https://h.test/mcp", false),
        ("http://h.test/mcp", "https://www.h.test/mcp", false),
        ("https://h.test/mcp", "http://h.test/mcp", false),
        ("https://h.test/mcp", "https://h.test/mcp", false),
    ] {
        assert_eq!(
            origin(from).is_upgraded_by(&origin(to)),
            upgraded,
            "{from} to {to}"
        );
    }
    assert!(origin("https://h.test/").is_downgraded_by(&origin("http://h.test/")));
    assert!(!origin("https://h.test/").is_downgraded_by(&origin("http://other.test/")));
}

#[test]
fn user_and_password_of_an_address_become_a_secret_header() {
    let client = http_client().unwrap();
    let mut headers = HeaderMap::new();
    let url = Url::parse("http://me:p%40ss@h.test/mcp").unwrap();
    let target = client.target(url, &mut headers).unwrap();
    let login = headers.get(header::AUTHORIZATION).unwrap();
    assert!(login.is_sensitive());
    assert_eq!(login, "Basic bWU6cEBzcw==");
    assert_eq!(target.address.absolute, "http://h.test/mcp");
    assert!(
        client
            .target(Url::parse("ftp://h.test/").unwrap(), &mut headers)
            .is_err()
    );
}
