//! Behaviour of one upstream server against a scripted one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aih_mcp::{ErrorCode, ErrorObject, ProtocolVersion, RawJson, method::meta};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    UpstreamServer,
    testing::{
        FakeServer, RecordingPeer, Reply, call, client, client_of_with, client_with, http_spec, legacy,
        stdio_spec, up,
    },
    transport::TransportError,
};
use crate::{
    config::Protocol,
    provider::{LogLevel, Provider, ProviderState},
};

mod calls;
mod clients;
mod greetings;
mod health;

const LEGACY: ProtocolVersion = ProtocolVersion::V2025_11_25;
const MODERN: ProtocolVersion = ProtocolVersion::V2026_07_28;

fn raw(text: &str) -> Option<RawJson> {
    Some(RawJson::parse(text.to_owned()).unwrap())
}

fn recorder(name: &'static str) -> Arc<RecordingPeer> {
    Arc::new(RecordingPeer {
        name,
        ..RecordingPeer::default()
    })
}

/// Starts a call of tool `echo` in the background.
fn spawn_call(
    server: &Arc<UpstreamServer>,
    call: crate::provider::Call,
    params: &str,
) -> tokio::task::JoinHandle<Result<String, ErrorObject>> {
    let (server, params) = (server.clone(), raw(params));
    tokio::spawn(async move {
        server
            .request("tools/call", params, &call)
            .await
            .map(|a| a.result.text().into_owned())
    })
}
