//! HTTP/2 by hand (RFC 9113), for what no client library sends.

use super::*;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// Preface and SETTINGS; `window` is what the server may send of each stream.
pub(super) fn hello(window: u32) -> Vec<u8> {
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()
}

pub(super) fn literal(index: u8, text: &str) -> Vec<u8> {
    let mut out = vec![index, u8::try_from(text.len()).unwrap()];
    out.extend(text.as_bytes());
    out
}

pub(super) fn head(method: u8, path: &str) -> Vec<u8> {
    // RFC 7541, appendix A: 2 GET, 3 POST, 6 http, 4 :path, 1 :authority.
    let mut out = vec![0x80 | method, 0x86];
    out.extend(literal(0x04, path));
    out.extend(literal(0x01, "x"));
    out
}

pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(2, path))
}

/// The next frame: kind, stream, payload. Nothing at the end of the connection.
pub(super) async fn next(socket: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    let read = tokio::time::timeout(SOON, socket.read_exact(&mut head)).await;
    read.expect("a frame or the end").ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.ok()?;
    Some((head[3], stream, payload))
}

/// Waits for a frame of this kind.
pub(super) async fn wait_for(socket: &mut TcpStream, kind: u8, stream: u32) -> Vec<u8> {
    loop {
        let (got, of, payload) = next(socket).await.expect("the connection goes on");
        if (got, of) == (kind, stream) {
            return payload;
        }
    }
}
