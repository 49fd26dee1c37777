//! Attacks through the network.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use aih_plugin::{
    Error, Json, Result, arguments, http,
    serde_json::{Value, json},
    tool,
};
use wasip2::{
    http::{
        outgoing_handler,
        types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme},
    },
    io::poll::Pollable,
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp_create_socket::create_tcp_socket,
        udp::OutgoingDatagram,
        udp_create_socket::create_udp_socket,
    },
};

#[arguments]
pub struct Fetch {
    url: String,
    /// `GET` if left out.
    method: Option<String>,
    /// Headers that are sent along, such as a false `host`.
    headers: Option<Vec<(String, String)>>,
    /// What is sent.
    body: Option<String>,
    /// Gives redirects back instead of following them.
    manual: Option<bool>,
}

/// Fetches an address through the hub. The test chooses it: loopback, link-local, metadata, IPv4-mapped IPv6, a
/// name that resolves to one of these, a redirect there.
#[tool]
pub async fn fetch(args: Fetch) -> Result<Json<Value>, http::Error> {
    let mut request = http::request(args.method.unwrap_or_else(|| "GET".to_owned()), args.url);
    for (name, value) in args.headers.unwrap_or_default() {
        request = request.header(name, value);
    }
    if let Some(body) = args.body {
        request = request.body(body);
    }
    if args.manual == Some(true) {
        request = request.no_redirects();
    }
    let response = request.timeout(Duration::from_secs(10)).send()?;
    Ok(Json(json!({
        "status": response.status(),
        "url": response.url(),
        "bytes": response.bytes().len(),
        "body": String::from_utf8_lossy(response.bytes().get(..4096).unwrap_or(response.bytes())),
    })))
}

#[arguments]
pub struct Many {
    url: String,
    times: u32,
}

/// Fetches an address many times. Says how often that went well, and the last error.
#[tool]
pub async fn fetch_many(args: Many) -> String {
    let results = (0..args.times).map(|_| http::get(&args.url).send());
    let (mut good, mut last) = (0, None);
    for result in results {
        match result {
            Ok(_) => good += 1,
            Err(error) => last = Some(error),
        }
    }
    format!("{good} of {}, {last:?}", args.times)
}

#[arguments]
pub struct Headers {
    url: String,
    /// How many headers; 100,000 if left out.
    headers: Option<u32>,
    /// By `wasi:http` instead of the hub's own interface.
    wasi: Option<bool>,
}

/// Sends very many headers, one of them with a line end in it.
#[tool]
pub async fn header_flood(args: Headers) -> Result<String> {
    let headers = args.headers.unwrap_or(100_000);
    if args.wasi == Some(true) {
        let fields = Fields::new();
        for n in 0..headers {
            fields
                .append(&format!("x-flood-{n}"), &[b'v'; 100])
                .map_err(|error| Error::new(format!("after {n} headers: {error:?}")))?;
        }
        return Ok(format!("{headers} headers were taken"));
    }
    let mut request = http::get(args.url).header("x-split", "a\r\nx-injected: yes");
    for n in 0..headers {
        request = request.header(format!("x-flood-{n}"), "v".repeat(100));
    }
    Ok(request.send()?.status().to_string())
}

#[arguments]
pub struct Direct {
    /// `http` or `https`; `http` if left out.
    scheme: Option<String>,
    /// Host and port.
    authority: String,
    path: Option<String>,
    /// Headers that are sent along, such as a false `host`.
    headers: Option<Vec<(String, String)>>,
}

/// Fetches through `wasi:http` itself, past the hub's own interface.
#[tool]
pub async fn wasi_http(args: Direct) -> Result<String> {
    let wrong = |what: &str| Error::new(format!("the host refused the {what}"));
    let fields = Fields::new();
    for (name, value) in args.headers.unwrap_or_default() {
        fields
            .append(&name, value.as_bytes())
            .map_err(|e| Error::new(format!("header {name}: {e:?}")))?;
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(&Method::Get).map_err(|()| wrong("method"))?;
    let scheme = match args.scheme.as_deref() {
        Some("https") => Scheme::Https,
        Some("http") | None => Scheme::Http,
        Some(other) => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| wrong("scheme"))?;
    request
        .set_authority(Some(&args.authority))
        .map_err(|()| wrong("authority"))?;
    request
        .set_path_with_query(Some(args.path.as_deref().unwrap_or("/")))
        .map_err(|()| wrong("path"))?;
    let failed = |code| Error::new(format!("wasi:http: {code:?}"));
    let pending = outgoing_handler::handle(request, None).map_err(failed)?;
    let response = loop {
        if let Some(response) = pending.get() {
            break response.map_err(|()| wrong("second look"))?.map_err(failed)?;
        }
        pending.subscribe().block();
    };
    let status = response.status();
    let body = response.consume().map_err(|()| wrong("body"))?;
    let stream = body.stream().map_err(|()| wrong("stream"))?;
    let bytes = stream.blocking_read(4096).unwrap_or_default();
    Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
}

#[arguments]
pub struct Midway {
    /// Host and port of a server that sends without an end.
    authority: String,
    /// `read`: while it receives a body. `write`: while it sends one. `both`. With `-loop` behind it, such as
    /// `read-loop`, it computes for ever instead of a trap.
    how: String,
}

/// Fails while a body is on its way.
#[tool]
pub async fn fail_in_body(args: Midway) -> Result<String> {
    let wrong = |what: &str| Error::new(format!("the host refused the {what}"));
    let (writes, reads) = (!args.how.starts_with("read"), !args.how.starts_with("write"));
    let request = OutgoingRequest::new(Fields::new());
    let method = if writes { Method::Post } else { Method::Get };
    request.set_method(&method).map_err(|()| wrong("method"))?;
    request
        .set_scheme(Some(&Scheme::Http))
        .map_err(|()| wrong("scheme"))?;
    request
        .set_authority(Some(&args.authority))
        .map_err(|()| wrong("authority"))?;
    request
        .set_path_with_query(Some("/endless"))
        .map_err(|()| wrong("path"))?;
    let sent = request.body().map_err(|()| wrong("body"))?;
    let failed = |code| Error::new(format!("wasi:http: {code:?}"));
    let pending = outgoing_handler::handle(request, None).map_err(failed)?;
    let mut open = Vec::new();
    if writes {
        let stream = sent.write().map_err(|()| wrong("stream"))?;
        stream
            .blocking_write_and_flush(&[b'x'; 4096])
            .map_err(|error| Error::new(format!("write: {error:?}")))?;
        open.push(stream);
    } else {
        OutgoingBody::finish(sent, None).map_err(failed)?;
    }
    if reads {
        pending.subscribe().block();
        let response = pending.get().ok_or_else(|| wrong("answer"))?;
        let response = response.map_err(|()| wrong("second look"))?.map_err(failed)?;
        let body = response.consume().map_err(|()| wrong("body"))?;
        let stream = body.stream().map_err(|()| wrong("stream"))?;
        for _ in 0..4 {
            let read = stream.blocking_read(64 << 10);
            read.map_err(|error| Error::new(format!("read: {error:?}")))?;
        }
        if !args.how.ends_with("-loop") {
            panic!("in the middle of a body");
        }
        loop {
            std::hint::black_box(&stream);
        }
    }
    if !args.how.ends_with("-loop") {
        panic!("in the middle of a body");
    }
    loop {
        std::hint::black_box(&open);
    }
}

#[arguments]
pub struct Address {
    /// `host:port`.
    address: String,
}

/// Connects by TCP. The sockets here are WASI's own: not every C library for WebAssembly has others.
#[tool]
pub async fn tcp_connect(args: Address) -> Result<String> {
    let remote: SocketAddr = args.address.parse()?;
    let socket = create_tcp_socket(family(remote)).map_err(refused)?;
    socket
        .start_connect(&instance_network(), wasi(remote))
        .map_err(refused)?;
    wait(&socket.subscribe(), || socket.finish_connect()).map_err(refused)?;
    Ok(format!("connected to {remote}"))
}

/// Listens by TCP.
#[tool]
pub async fn tcp_listen(args: Address) -> Result<String> {
    let local: SocketAddr = args.address.parse()?;
    let socket = create_tcp_socket(family(local)).map_err(refused)?;
    socket
        .start_bind(&instance_network(), wasi(local))
        .map_err(refused)?;
    wait(&socket.subscribe(), || socket.finish_bind()).map_err(refused)?;
    socket.start_listen().map_err(refused)?;
    wait(&socket.subscribe(), || socket.finish_listen()).map_err(refused)?;
    Ok(format!("listening on {:?}", socket.local_address()))
}

/// Sends by UDP.
#[tool]
pub async fn udp_send(args: Address) -> Result<String> {
    let remote: SocketAddr = args.address.parse()?;
    let any = SocketAddr::from(match remote {
        SocketAddr::V4(_) => (IpAddr::from([0; 4]), 0),
        SocketAddr::V6(_) => (IpAddr::from([0; 16]), 0),
    });
    let socket = create_udp_socket(family(remote)).map_err(refused)?;
    socket
        .start_bind(&instance_network(), wasi(any))
        .map_err(refused)?;
    wait(&socket.subscribe(), || socket.finish_bind()).map_err(refused)?;
    let (_, outgoing) = socket.stream(None).map_err(refused)?;
    outgoing.check_send().map_err(refused)?;
    let datagram = OutgoingDatagram {
        data: b"hello".to_vec(),
        remote_address: Some(wasi(remote)),
    };
    let sent = outgoing.send(&[datagram]).map_err(refused)?;
    Ok(format!("{sent} datagrams sent"))
}

/// Resolves a name: that alone can carry a secret out. A port behind it is left out.
#[tool]
pub async fn dns_lookup(args: Address) -> Result<String> {
    let name = args.address.split(':').next().unwrap_or_default();
    let lookup = resolve_addresses(&instance_network(), name).map_err(refused)?;
    let mut addresses = Vec::new();
    while let Some(address) = wait(&lookup.subscribe(), || lookup.resolve_next_address()).map_err(refused)? {
        addresses.push(address);
    }
    Ok(format!("{addresses:?}"))
}

fn refused(code: ErrorCode) -> Error {
    Error::new(format!("wasi:sockets: {code}"))
}

/// Asks until the answer is another than "not yet".
fn wait<T>(pollable: &Pollable, mut ask: impl FnMut() -> Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    loop {
        match ask() {
            Err(ErrorCode::WouldBlock) => pollable.block(),
            answer => return answer,
        }
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    match address {
        SocketAddr::V4(_) => IpAddressFamily::Ipv4,
        SocketAddr::V6(_) => IpAddressFamily::Ipv6,
    }
}

fn wasi(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress {
                port: v4.port(),
                address: (a, b, c, d),
            })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: v6.scope_id(),
            })
        }
    }
}
