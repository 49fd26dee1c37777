//! Name to connection: resolve, keep the addresses that are allowed, dial only those.
//!
//! The check is between the resolver and the socket, so a name that resolves differently a moment later
//! (DNS rebinding) is checked as it is dialled.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore};
use tower_service::Service;

use super::{address::is_public, rule::Rule};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that one component may have resolved at once. Each takes a thread of the hub until the resolver answers,
/// also when the call that wanted to know is over.
pub(super) const LOOKUPS: usize = 8;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the URL has no host")]
    NoHost,
    #[error("`{0}` cannot be resolved: {1}")]
    Resolve(String, io::Error),
    #[error(
        "`{host}` resolves to {address}, which is not a public address; grants.http allows it only by its address"
    )]
    NotPublic { host: String, address: IpAddr },
    #[error("cannot connect to `{0}`: {1}")]
    Connect(String, io::Error),
}

/// Makes connections for one component.
#[derive(Clone, Debug)]
pub(super) struct CheckedConnector {
    pub(super) rules: Arc<[Rule]>,
    pub(super) lookups: Arc<Semaphore>,
}

impl Service<Uri> for CheckedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new) })
    }
}

impl CheckedConnector {
    async fn connect(&self, uri: &Uri) -> Result<TcpStream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let allowed = self.resolve(host, port).await?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in allowed {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // An exchange is a few small writes; waiting to merge them only delays.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(ConnectError::Connect(host.to_owned(), last))
    }

    /// The addresses of a host that may be dialled; at least one.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => look_up(self.lookups.clone(), bare.to_owned(), port)
                .await
                .map_err(|error| ConnectError::Resolve(host.to_owned(), error))?,
        };
        let mut refused = None;
        let allowed: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| {
                let allowed =
                    is_public(address.ip()) || self.rules.iter().any(|rule| rule.grants_address(*address));
                if !allowed {
                    refused = Some(address.ip());
                }
                allowed
            })
            .collect();
        match refused {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(address) => Err(ConnectError::NotPublic {
                host: host.to_owned(),
                address,
            }),
            None => Err(ConnectError::Resolve(
                host.to_owned(),
                io::Error::other("no address"),
            )),
        }
    }
}

/// Asks the resolver, in a task that holds its place until the answer is there.
async fn look_up(lookups: Arc<Semaphore>, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
    let asked = tokio::spawn(async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        drop(place);
        io::Result::Ok(found?.collect())
    });
    asked.await.map_err(io::Error::other)?
}
