//! The HTTP client that all upstream connections share, and what its failures are called.
//!
//! It must never carry the credentials of one server to another, nor put them into an error. It is made for
//! many small calls to few servers: an address is taken apart once ([`HttpClient::target`]), and a call is
//! one task from its start to the answer (`connection.rs`).

mod connection;
mod dial;
mod encoding;
mod excerpt;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod pool;
mod proxy;
mod refusal;
mod response;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aih_redact as redact;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::Full;
use tokio_rustls::rustls;
use url::Url;

pub(in crate::upstream) use self::excerpt::excerpt;
use self::{
    connection::Body,
    dial::{Dialer, Forwarding, Origin},
    pool::{Connected, Pool},
};
pub(super) use self::{encoding::CODINGS, excerpt::excerpt_without, refusal::Refusal, response::Response};
use super::{Cause, TransportError};

/// How often in a row a redirect is followed.
const MAX_REDIRECTS: usize = 4;
const AGENT: &str = concat!("aih/", env!("CARGO_PKG_VERSION"));

/// A pooling client. It follows a redirect only to the same origin, or from `http` to `https` of the same host: the
/// credentials of one server must never reach another. A connection may take five seconds to open; there is no overall timeout: a stream
/// may stay open for days. `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count, but never for
/// loopback addresses. HTTP/2 is spoken where a server offers it over TLS.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    dialer: Dialer,
    /// Lives as long as something knows an address there.
    pools: Mutex<HashMap<Origin, Weak<Pool>>>,
}

/// A client that takes its proxies from the environment.
///
/// # Errors
/// The root certificates of the system cannot be had.
pub fn http_client() -> Result<HttpClient, rustls::Error> {
    let proxies = proxy::matcher(|name| {
        let lower = name.to_ascii_lowercase();
        let value = std::env::var(name).or_else(|_| std::env::var(lower)).ok()?;
        // It may hold a user and a password.
        redact::learn_written("proxy", &value);
        Some(value)
    });
    Ok(HttpClient(Arc::new(Shared {
        dialer: Dialer::new(proxies)?,
        pools: Mutex::default(),
    })))
}

impl HttpClient {
    /// Makes `url` ready to be asked. `headers` get what every request needs and does not say yet.
    ///
    /// # Errors
    /// [`TransportError::Connect`]: it is not an address of `http` or `https`.
    pub(super) fn target(&self, url: Url, headers: &mut HeaderMap) -> Result<Target, TransportError> {
        let unfit = || TransportError::Connect("the address is not one of http:// or https://".into());
        let origin = Origin::of(&url).ok_or_else(unfit)?;
        let address = RequestAddress::of(url).ok_or_else(unfit)?;
        for (name, value) in [(header::ACCEPT, "*/*"), (header::USER_AGENT, AGENT)] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if let Some(login) = login(&address.url) {
            headers.entry(header::AUTHORIZATION).or_insert(login);
        }
        Ok(Target {
            forwarding: self.0.dialer.forwarding(&origin),
            pool: self.pool(&origin),
            client: self.clone(),
            origin,
            address,
        })
    }

    fn pool(&self, origin: &Origin) -> Arc<Pool> {
        // One map operation a line: a panic cannot leave the map half-changed.
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(origin).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::<Pool>::default();
        pools.insert(origin.clone(), Arc::downgrade(&pool));
        pool
    }
}

/// User and password of an address, as a header (RFC 7617).
fn login(url: &Url) -> Option<HeaderValue> {
    use base64::Engine as _;
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut text = decode(url.username());
    text.push(b':');
    text.extend(decode(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An address in the forms in which requests name it.
#[derive(Clone)]
struct RequestAddress {
    url: Arc<Url>,
    absolute: Uri,
    path: Uri,
    host: HeaderValue,
}

impl RequestAddress {
    fn of(mut url: Url) -> Option<Self> {
        url.set_fragment(None);
        let mut bare = url.clone();
        // Neither fails where there is a host.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let absolute: Uri = bare.as_str().parse().ok()?;
        let path = Uri::from(absolute.path_and_query()?.clone());
        let host = HeaderValue::from_str(absolute.authority()?.as_str()).ok()?;
        Some(Self {
            url: Arc::new(url),
            absolute,
            path,
            host,
        })
    }
}

/// An address that requests go to.
#[derive(Clone)]
pub(super) struct Target {
    client: HttpClient,
    pool: Arc<Pool>,
    origin: Origin,
    forwarding: Forwarding,
    address: RequestAddress,
}

impl Target {
    /// The address.
    pub(super) fn url(&self) -> &Url {
        &self.address.url
    }

    /// Sends a request and waits for the head of its answer. `headers` are those that
    /// [`HttpClient::target`] completed, and more.
    ///
    /// # Errors
    /// [`TransportError::Connect`] when nothing was sent, [`TransportError::Closed`] when something may have
    /// been, [`TransportError::Redirect`] where a redirect is not followed.
    pub(super) async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, TransportError> {
        let (kept, again) = (headers.clone(), body.clone());
        let response = self.send_to(&self.address, method.clone(), headers, body).await?;
        if response.status().is_redirection() {
            return Box::pin(self.redirected(response, method, kept, again)).await;
        }
        Ok(response)
    }

    /// Follows redirects as far as they stay with the origin, or go from `http` to `https` of one host.
    async fn redirected(
        &self,
        mut response: Response,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, TransportError> {
        let mut from = self.clone();
        for _ in 0..MAX_REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            from = match from.next(&response, &method) {
                Ok(url) => self.client.target(url, &mut headers.clone())?,
                Err(why) => return Err(self.not_followed(&response, &headers, why)),
            };
            response.finish();
            response = from
                .send_to(&from.address, method.clone(), headers.clone(), body.clone())
                .await?;
        }
        if response.status().is_redirection() {
            return Err(self.not_followed(&response, &headers, "it redirects again and again"));
        }
        Ok(response)
    }

    /// Where a redirect leads, if it is followed.
    ///
    /// # Errors
    /// Why it is not.
    fn next(&self, response: &Response, method: &Method) -> Result<Url, &'static str> {
        match response.status().as_u16() {
            // A POST stays one: a GET in its place would not carry the message (RFC 9110, 15.4, allows both).
            301 | 302 | 307 | 308 => {}
            303 if *method == Method::GET => {}
            303 => return Err("it would turn the message into a GET"),
            _ => return Err("the hub follows 301, 302, 307 and 308"),
        }
        let url = location(response).ok_or("it names no address")?;
        let to = Origin::of(&url).ok_or("it is not an address of http:// or https://")?;
        if to == self.origin || self.origin.is_upgraded_by(&to) {
            Ok(url)
        } else if self.origin.is_downgraded_by(&to) {
            Err(
                "it leads from HTTPS to HTTP. A proxy in front of the server probably does not say that it uses HTTPS",
            )
        } else {
            Err("it is another origin (scheme, host and port), which must not get the credentials")
        }
    }

    fn not_followed(&self, response: &Response, headers: &HeaderMap, why: &'static str) -> TransportError {
        let to = location(response).map_or_else(
            || "an address that it does not name".to_owned(),
            |mut url| {
                // They may hold keys.
                url.set_query(None);
                url.set_fragment(None);
                let _ = (url.set_username(""), url.set_password(None));
                format!(
                    "`{}`",
                    excerpt_without(url.as_str().as_bytes(), headers, self.url())
                )
            },
        );
        TransportError::Redirect {
            status: response.status().as_u16(),
            to: to.into(),
            why,
        }
    }

    async fn send_to(
        &self,
        address: &RequestAddress,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, TransportError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        loop {
            let (connected, used) = match self.pool.take() {
                Some(connected) => (connected, true),
                None => (self.client.0.dialer.dial(&self.origin).await?, false),
            };
            let sent = match connected {
                Connected::One(connection) => {
                    self.address(&mut request, address);
                    connection
                        .send(request)
                        .await
                        .map(|(response, connection)| (response, Some(connection)))
                }
                Connected::Two(mut sender) => {
                    if !used {
                        self.pool.share(&sender);
                    }
                    *request.uri_mut() = address.absolute.clone();
                    *request.version_mut() = Version::HTTP_2;
                    sender
                        .try_send_request(request)
                        .await
                        .map(|response| (response, None))
                }
            };
            match sent {
                Ok((response, connection)) => {
                    return Ok(Response::new(response, connection, &self.pool, &address.url));
                }
                Err(mut error) => match error.take_message() {
                    // Nothing of it was sent: the server closed the connection just before.
                    Some(unsent) if used => request = unsent,
                    _ => return Err(closed(error.into_error())),
                },
            }
        }
    }

    /// Fills in what HTTP/1 says of the address.
    fn address(&self, request: &mut Request<Body>, address: &RequestAddress) {
        let uri = if self.forwarding.absolute {
            &address.absolute
        } else {
            &address.path
        };
        *request.uri_mut() = uri.clone();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers
            .entry(header::HOST)
            .or_insert_with(|| address.host.clone());
        if let Some(authorization) = &self.forwarding.authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
    }
}

/// The address that an answer names in `Location`.
fn location(response: &Response) -> Option<Url> {
    let to = response.headers().get(header::LOCATION)?.to_str().ok()?;
    response.url().join(to).ok()
}

/// The error of a connection that broke after a request was, or may have been, sent over it.
fn closed(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Closed(Cause::of(error))
}

#[cfg(test)]
pub(super) mod fixture;

#[cfg(test)]
mod tests;
