//! HTTP requests of components: `aih:host/http` and `wasi:http` under the same rules.
//!
//! A request is checked twice: its URL against the grants, redirects included, and the address that it would
//! dial against the table of public ones. A client belongs to one component: a connection that one may use is
//! never handed to another.

mod address;
mod connect;
mod redirect;
mod rule;
mod wasi;

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::Semaphore;
use url::Url;

pub use rule::{Rule, RuleError};
pub(crate) use wasi::WasiEgress;

use connect::{CheckedConnector, ConnectError, LOOKUPS};
use redirect::Sent;

use crate::bindings::base::aih::host::http::{
    Error as HttpError, Request as GuestRequest, Response as GuestResponse,
};

/// Bytes of one response.
pub(crate) const RESPONSE_LIMIT: usize = 16 << 20;
/// Redirects of one request.
const REDIRECTS: usize = 10;
/// Asks that a redirect is answered, not followed. Not sent on.
const MANUAL: &str = "aih-redirect";

type Body = UnsyncBoxBody<Bytes, wasmtime_wasi_http::Error>;

/// The HTTP client of one component.
#[derive(Clone, Debug)]
pub struct Egress {
    rules: Arc<[Rule]>,
    client: Client<HttpsConnector<CheckedConnector>, Body>,
}

/// TLS for every component: the certificate authorities of the machine.
///
/// # Errors
/// The machine's certificate verifier cannot be set up.
pub(crate) fn tls() -> std::io::Result<rustls::ClientConfig> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_platform_verifier()
        .map_err(std::io::Error::other)?;
    Ok(builder.with_no_client_auth())
}

impl Egress {
    /// A client with the grants of one component.
    pub(crate) fn new(rules: &[Rule], tls: rustls::ClientConfig) -> Self {
        let rules: Arc<[Rule]> = rules.into();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(CheckedConnector {
                rules: rules.clone(),
                lookups: Arc::new(Semaphore::new(LOOKUPS)),
            });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .http1_max_headers(256)
            .build(connector);
        Self { rules, client }
    }

    /// Whether the grants allow a URL.
    fn check(&self, url: &Url) -> Result<(), HttpError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpError::Invalid(format!("`{url}` is neither http nor https")));
        }
        if self.rules.iter().any(|rule| rule.allows(url)) {
            return Ok(());
        }
        Err(HttpError::NotGranted(format!(
            "grants.http does not allow {}",
            url.origin().ascii_serialization()
        )))
    }

    /// One request with its redirects, the whole response read.
    ///
    /// # Errors
    /// See `aih:host/http`.
    pub(crate) async fn send(&self, request: GuestRequest) -> Result<GuestResponse, HttpError> {
        let timeout = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let exchange = self.exchange(request);
        match timeout {
            Some(limit) => tokio::time::timeout(limit, exchange)
                .await
                .unwrap_or(Err(HttpError::TimedOut)),
            None => exchange.await,
        }
    }

    async fn exchange(&self, request: GuestRequest) -> Result<GuestResponse, HttpError> {
        let mut headers = guest_headers(&request.headers)?;
        let manual = headers.remove(MANUAL).is_some();
        let mut sent = Sent {
            method: Method::from_bytes(request.method.as_bytes())
                .map_err(|_| HttpError::Invalid(format!("`{}` is not a method", request.method)))?,
            url: parse_url(&request.url)?,
            headers,
            body: Bytes::from(request.body.unwrap_or_default()),
        };
        for _ in 0..=REDIRECTS {
            self.check(&sent.url)?;
            let response = self
                .client
                .request(build(&sent)?)
                .await
                .map_err(|error| client_error(&error))?;
            let Some(target) = redirect::target(&response, &sent.url).filter(|_| !manual) else {
                return read(response, sent.url).await;
            };
            sent.follow(response.status(), target?);
        }
        Err(HttpError::Other(format!(
            "more than {REDIRECTS} redirects, the last to {}",
            sent.url
        )))
    }
}

fn parse_url(text: &str) -> Result<Url, HttpError> {
    Url::parse(text).map_err(|error| HttpError::Invalid(format!("`{text}`: {error}")))
}

/// What a guest may not set: the connection is the host's.
fn is_forbidden(name: &HeaderName) -> bool {
    wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(name) || *name == header::CONTENT_LENGTH
}

fn guest_headers(headers: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HttpError::Invalid(format!("`{name}` is not a header name")))?;
        if is_forbidden(&name) {
            continue;
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| HttpError::Invalid(format!("the value of `{name}` is not a header value")))?;
        map.append(name, value);
    }
    Ok(map)
}

fn build(sent: &Sent) -> Result<Request<Body>, HttpError> {
    let mut target = sent.url.clone();
    target.set_fragment(None);
    // A user name in a URL would be sent nowhere; better said than lost.
    if !target.username().is_empty() || target.password().is_some() {
        return Err(HttpError::Invalid(
            "a URL with a user name: send an Authorization header".to_owned(),
        ));
    }
    let mut request = Request::builder().method(&sent.method).uri(target.as_str());
    if let Some(map) = request.headers_mut() {
        map.extend(sent.headers.clone());
        if !map.contains_key(header::USER_AGENT) {
            map.insert(header::USER_AGENT, HeaderValue::from_static("aih-plugin"));
        }
    }
    let body = Full::new(sent.body.clone())
        .map_err(|never| match never {})
        .boxed_unsync();
    request
        .body(body)
        .map_err(|error| HttpError::Invalid(error.to_string()))
}

async fn read(response: Response<hyper::body::Incoming>, url: Url) -> Result<GuestResponse, HttpError> {
    let (head, body) = response.into_parts();
    let too_large = || HttpError::TooLarge(RESPONSE_LIMIT as u64);
    let body = Limited::new(body, RESPONSE_LIMIT)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large()
            } else {
                HttpError::Connection(format!("the response ended early: {error}"))
            }
        })?;
    let headers = head.headers.iter();
    Ok(GuestResponse {
        status: head.status.as_u16(),
        url: url.into(),
        headers: headers
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), value.into_owned())
            })
            .collect(),
        body: body.to_bytes().into(),
    })
}

/// Finds our own refusal inside what the client answers.
fn client_error(error: &hyper_util::client::legacy::Error) -> HttpError {
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(inner) = source {
        if let Some(ours) = inner.downcast_ref::<ConnectError>() {
            return match ours {
                ConnectError::NotPublic { .. } => HttpError::NotGranted(ours.to_string()),
                ConnectError::NoHost => HttpError::Invalid(ours.to_string()),
                _ => HttpError::Connection(ours.to_string()),
            };
        }
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    HttpError::Connection(text)
}
