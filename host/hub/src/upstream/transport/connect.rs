//! Makes the transports that the configuration of a server names.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;

use super::{
    Cause, Inbox, Transport, TransportError,
    connector::{Connector, TransportKind},
    http::HttpTransport,
    http_client::HttpClient,
    sse::SseTransport,
    stdio::StdioTransport,
};
use crate::{
    config::Text,
    upstream::spec::{ServerAddress, UpstreamSpec},
};

/// Connects to one configured server over the network or as a child process.
pub struct RealConnector {
    spec: UpstreamSpec,
    client: HttpClient,
}

impl RealConnector {
    /// A connector for `spec`; `client` is shared by all of them.
    pub fn new(spec: UpstreamSpec, client: HttpClient) -> Arc<Self> {
        Arc::new(Self { spec, client })
    }
}

#[async_trait]
impl Connector for RealConnector {
    async fn open(
        &self,
        transport_kind: TransportKind,
        instance: usize,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<dyn Transport>, TransportError> {
        match &self.spec.kind {
            ServerAddress::Http {
                endpoints, headers, ..
            } => {
                let endpoint = endpoints
                    .get(instance)
                    .ok_or_else(|| TransportError::Connect("no address is configured".into()))?;
                let url = endpoint.expose().clone();
                let mut map = HeaderMap::with_capacity(headers.len());
                for (name, value) in headers {
                    let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|error| {
                        let text = format!("the value of header `{name}` holds illegal characters");
                        TransportError::Connect(Cause::with_text(text, error))
                    })?;
                    value.set_sensitive(true);
                    map.append(name.clone(), value);
                }
                Ok(match transport_kind {
                    TransportKind::Sse => SseTransport::connect(&self.client, url, map, inbox).await?,
                    TransportKind::Http | TransportKind::Stdio => {
                        HttpTransport::new(&self.client, url, map, inbox)?
                    }
                })
            }
            ServerAddress::Stdio {
                command,
                args,
                env,
                cwd,
                ..
            } => {
                let args = args.iter().map(|a| a.expose().to_owned()).collect();
                let env = env
                    .iter()
                    .map(|(k, v)| (k.clone(), v.expose().to_owned().into()))
                    .collect();
                let spawned = StdioTransport::spawn(
                    &self.spec.name,
                    command.expose(),
                    args,
                    env,
                    Some(cwd.clone()),
                    inbox,
                )
                .await;
                Ok(spawned.map_err(|error| without_secret(error, command))?)
            }
        }
    }
}

/// A command that came from a variable is not named in an error.
fn without_secret(error: TransportError, command: &Text) -> TransportError {
    match error {
        TransportError::Connect(cause) if command.is_secret() => {
            TransportError::Connect(cause.text().replace(command.expose(), "[secret]").into())
        }
        other => other,
    }
}
