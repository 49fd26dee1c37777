//! Opens connections: name, address, proxy, TLS.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::{
    client::{legacy::connect::HttpConnector, proxy::matcher::Matcher},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls_pki_types::{IpAddr, ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig},
};
use tower::ServiceExt as _;
use url::{Host, Url};

use super::{
    connection::{Body, HttpConnection, Io},
    pool::Connected,
};
use crate::upstream::transport::{Cause, TransportError};

/// How long a connection may take to open, handshakes included.
const CONNECT: Duration = Duration::from_secs(5);

/// Where connections go: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    tls: bool,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of an address of `http` or `https`; `None` for any other.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        Some(Self {
            tls,
            host: url.host()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Whether `other` is this host over TLS: `http` and `https` at their own ports.
    pub(super) fn is_upgraded_by(&self, other: &Self) -> bool {
        let default = |tls| if tls { 443 } else { 80 };
        !self.tls
            && other.tls
            && self.host == other.host
            && [self, other]
                .iter()
                .all(|origin| origin.port == default(origin.tls))
    }

    /// Whether `other` would take the connection out of TLS.
    pub(super) fn is_downgraded_by(&self, other: &Self) -> bool {
        self.tls && !other.tls && self.host == other.host
    }

    fn uri(&self) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(if self.tls { "https" } else { "http" })
            .authority(format!("{}:{}", self.host, self.port))
            .path_and_query("/")
            .build()
    }

    fn server_name(&self) -> Result<ServerName<'static>, TransportError> {
        match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(cannot),
            Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from(*ip)))),
            Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from(*ip)))),
        }
    }
}

/// A plain HTTP proxy in front of an origin: requests name the whole address and carry this.
#[derive(Clone, Default)]
pub(super) struct Forwarding {
    /// Requests go to a proxy that reads them.
    pub(super) absolute: bool,
    /// `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

/// See the module.
pub(super) struct Dialer {
    tcp: HttpConnector,
    /// For servers: offers HTTP/2.
    tls: TlsConnector,
    /// For proxies: HTTP/1 only.
    proxy_tls: TlsConnector,
    proxies: Matcher,
}

impl Dialer {
    /// A dialer that uses the proxies of `proxies`.
    ///
    /// # Errors
    /// The system's root certificates cannot be had.
    pub(super) fn new(proxies: Matcher) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let mut two = config.clone();
        two.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            tcp,
            tls: TlsConnector::from(Arc::new(two)),
            proxy_tls: TlsConnector::from(Arc::new(config)),
            proxies,
        })
    }

    /// How requests to `origin` must look because of a proxy.
    pub(super) fn forwarding(&self, origin: &Origin) -> Forwarding {
        let proxy = origin.uri().ok().filter(|_| !origin.tls);
        match proxy.and_then(|uri| self.proxies.intercept(&uri)) {
            None => Forwarding::default(),
            Some(proxy) => Forwarding {
                absolute: true,
                authorization: proxy.basic_auth().cloned(),
            },
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`TransportError::Connect`].
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Connected, TransportError> {
        // Boxed: it is needed once a connection, and every call would carry its size.
        let connecting = Box::pin(self.connect(origin));
        tokio::time::timeout(CONNECT, connecting).await.map_err(|_| {
            TransportError::Connect(format!("no connection within {} s", CONNECT.as_secs()).into())
        })?
    }

    async fn connect(&self, origin: &Origin) -> Result<Connected, TransportError> {
        let uri = origin.uri().map_err(cannot)?;
        let io: Box<dyn Io> = match self.proxies.intercept(&uri) {
            None => self.tcp(uri).await?,
            Some(proxy) => {
                let io = self.to_proxy(proxy.uri()).await?;
                if origin.tls {
                    tunnel(io, origin, proxy.basic_auth()).await?
                } else {
                    io
                }
            }
        };
        if !origin.tls {
            return Ok(Connected::One(HttpConnection::open(io).await.map_err(cannot)?));
        }
        let stream = self.tls.connect(origin.server_name()?, io).await;
        let stream = stream.map_err(cannot)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let connection = HttpConnection::open(Box::new(stream)).await.map_err(cannot)?;
            return Ok(Connected::One(connection));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(cannot)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(target: "aih::upstream", %error, "an HTTP/2 connection broke");
            }
        });
        Ok(Connected::Two(sender))
    }

    async fn tcp(&self, uri: Uri) -> Result<Box<dyn Io>, TransportError> {
        let connected = self.tcp.clone().oneshot(uri).await;
        Ok(Box::new(connected.map_err(cannot)?.into_inner()))
    }

    async fn to_proxy(&self, proxy: &Uri) -> Result<Box<dyn Io>, TransportError> {
        let tls = match proxy.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(TransportError::Connect(
                    "the proxy must be one of http:// or https://".into(),
                ));
            }
        };
        let io = self.tcp(proxy.clone()).await?;
        if !tls {
            return Ok(io);
        }
        let name = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(name.to_owned()).map_err(cannot)?;
        let stream = self.proxy_tls.connect(name, io).await.map_err(cannot)?;
        Ok(Box::new(stream))
    }
}

/// Asks a proxy to pass bytes on to `origin` unread (RFC 9110, CONNECT).
async fn tunnel(
    io: Box<dyn Io>,
    origin: &Origin,
    authorization: Option<&HeaderValue>,
) -> Result<Box<dyn Io>, TransportError> {
    let address = format!("{}:{}", origin.host, origin.port);
    let mut request = Request::connect(&address).header(header::HOST, &address);
    if let Some(authorization) = authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Full::default()).map_err(cannot)?;
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(io))
        .await
        .map_err(cannot)?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(cannot)?;
    if !response.status().is_success() {
        return Err(TransportError::Connect(
            format!("the proxy answers {} to CONNECT", response.status()).into(),
        ));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(cannot)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

fn cannot(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Connect(Cause::of(error))
}
